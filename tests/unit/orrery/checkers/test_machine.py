from collections.abc import Callable, Sequence

from orrery.checkers.history import History, Json
from orrery.checkers.machine import Problem, prepared, removable, without_useless
from orrery.checkers.registers import register_problems

Row = tuple[int, str, str, Json]
Made = Callable[[Sequence[Row]], History]


def problem(history: History) -> Problem:
    [found] = register_problems(history, with_cas=True)
    return found


def shown(places: list[int], found: Problem) -> list[str]:
    return [found.machine.describe(found.items[place].call) for place in places]


def done(process: int, f: str, asked: Json, told: Json) -> list[Row]:
    return [(process, "invoke", f, asked), (process, "ok", f, told)]


def test_what_nobody_sees_can_be_struck_out(made: Made) -> None:
    found = problem(
        made([*done(0, "write", 1, 1), *done(0, "write", 2, 2), *done(0, "write", 3, 3), *done(0, "read", None, 2)])
    )
    assert shown(removable(found.items, found.machine), found) == ["write 1", "write 3", "read 2"]


def test_what_was_overwritten_before_anybody_looked_goes_but_the_newest_of_its_value(made: Made) -> None:
    rows = [*done(0, "write", 1, 1), *done(0, "write", 2, 2), *done(0, "write", 1, 1), *done(0, "read", None, 1)]
    found = problem(made(rows))
    assert removable(found.items, found.machine) == [0, 1, 3]


def test_what_may_be_seen_stays(made: Made) -> None:
    """The first write may stand behind the second, which runs at the same time; the third may stand behind the read."""
    rows: list[Row] = [
        (0, "invoke", "write", 1),
        *done(1, "write", 2, 2),
        (0, "ok", "write", 1),
        (2, "invoke", "write", 1),
        *done(0, "read", None, 1),
        (2, "ok", "write", 1),
    ]
    found = problem(made(rows))
    assert shown(removable(found.items, found.machine), found) == ["write 2", "read 1"]


def test_a_comparison_that_failed_may_depend_on_any_write(made: Made) -> None:
    found = problem(made([*done(0, "write", 1, 1), *done(0, "cas", [5, 6], False)]))
    assert shown(removable(found.items, found.machine), found) == ["cas from 5 refused"]


def test_pending_operations_that_no_order_needs_are_not_tried(made: Made) -> None:
    """Nobody reads 9, so nobody needs the cas from 8 to 9, so nobody needs the write of 8."""
    rows: list[Row] = [
        (1, "invoke", "write", 8),
        (2, "invoke", "cas", [8, 9]),
        (3, "invoke", "write", 7),
        *done(0, "read", None, 7),
    ]
    found = without_useless(problem(made(rows)))
    assert [found.machine.describe(item.call) for item in found.items] == ["write 7", "read 7"]


def test_what_an_answer_proves_has_happened_is_not_pending_any_more(made: Made) -> None:
    rows: list[Row] = [(1, "invoke", "cas", [None, 7]), (2, "invoke", "write", 8), *done(0, "read", None, 7)]
    [cas, _read] = prepared(problem(made(rows))).items
    assert (cas.pending, cas.completed, cas.to_be_seen) == (False, 4, True)


def test_what_several_may_have_written_stays_pending(made: Made) -> None:
    rows: list[Row] = [(1, "invoke", "write", 7), (2, "invoke", "write", 7), *done(0, "read", None, 7)]
    assert [item.pending for item in prepared(problem(made(rows))).items] == [True, True, False]


def test_values_that_nobody_names_are_one(made: Made) -> None:
    """They cannot be left out: the comparison that failed may have found any of them."""
    rows: list[Row] = [(n, "invoke", "write", n) for n in range(1, 5)]
    found = prepared(problem(made([*rows, *done(9, "write", 0, 0), *done(9, "cas", [0, 4], False)])))
    assert len({item.call for item in found.items if item.pending}) == 1
    assert len([item for item in found.items if item.pending]) == 4
