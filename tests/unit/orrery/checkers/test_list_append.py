"""Anomalies by hand under their names; and against every order tried one by one, on a store with weak isolation."""

from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from random import Random
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orrery.checkers.correct_objects import Lists, make_history
from orrery.checkers.history import Event, History, Json, Operation, pair
from orrery.checkers.judge import judge
from orrery.checkers.machine import ModelMismatch

Row = tuple[int, str, str, Json]
Made = Callable[[Sequence[Row]], History]


def asked(steps: Json) -> Json:
    return [[kind, key, None if kind == "r" else value] for kind, key, value in cast("list[list[Json]]", steps)]


def done(process: int, *steps: Json) -> list[Row]:
    return [(process, "invoke", "txn", asked([*steps])), (process, "ok", "txn", [*steps])]


def together(*txns: list[Row]) -> list[Row]:
    """All of them at the same time."""
    return [txn[0] for txn in txns] + [txn[1] for txn in txns]


def names(history: History) -> set[str]:
    verdict = judge("list-append", history)
    assert (verdict.answer == "no") == bool(verdict.anomalies)
    return {anomaly.name for anomaly in verdict.anomalies}


# The final read that orders the versions of x and y.
def final(x: Json = None, y: Json = None) -> list[Row]:
    steps: list[Json] = [["r", key, elements] for key, elements in (("x", x), ("y", y)) if elements]
    return done(9, *steps)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([*done(0, ["append", "x", 1]), *done(1, ["r", "x", [1]])], set(), id="fine"),
        pytest.param(
            together(done(0, ["append", "x", 1], ["append", "y", 2]), done(1, ["append", "x", 2], ["append", "y", 1]))
            + final([1, 2], [1, 2]),
            {"G0"},
            id="G0: writes cross",
        ),
        pytest.param(
            [(0, "invoke", "txn", [["append", "x", 1]]), (0, "fail", "txn", None), *done(1, ["r", "x", [1]])],
            {"G1a"},
            id="G1a: an aborted append is read",
        ),
        pytest.param(
            together(done(0, ["append", "x", 1], ["append", "x", 2]), done(1, ["r", "x", [1]])) + final([1, 2]),
            {"G1b", "G-single"},
            id="G1b: half a transaction is read",
        ),
        pytest.param(
            together(
                done(0, ["append", "x", 1], ["r", "y", [1]]),
                done(1, ["append", "y", 1], ["r", "x", [1]]),
            ),
            {"G1c"},
            id="G1c: each reads from the other",
        ),
        pytest.param(
            together(
                done(0, ["append", "x", 1], ["append", "y", 1]),
                done(1, ["r", "x", [1]], ["r", "y", []]),
            )
            + final([1], [1]),
            {"G-single"},
            id="G-single: read skew",
        ),
        pytest.param(
            together(done(0, ["r", "x", []], ["append", "y", 1]), done(1, ["r", "y", []], ["append", "x", 1]))
            + final([1], [1]),
            {"G2"},
            id="G2: write skew",
        ),
        pytest.param(
            together(done(0, ["r", "x", []], ["append", "x", 1]), done(1, ["r", "x", []], ["append", "x", 2]))
            + final([1, 2]),
            {"lost-update", "G-single"},
            id="lost update",
        ),
        pytest.param(
            [*done(0, ["append", "x", 1]), *done(1, ["r", "x", []]), *final([1])],
            {"G-single-realtime"},
            id="a stale read",
        ),
        pytest.param(
            [*done(0, ["append", "x", 1]), *done(0, ["r", "x", []]), *final([1])],
            {"G-single-process"},
            id="a process does not read its own write",
        ),
        pytest.param(
            [*done(0, ["append", "x", 1]), *done(0, ["append", "x", 2]), *final([2, 1])],
            {"G0-process"},
            id="appends of a process swapped",
        ),
        pytest.param(
            [*done(0, ["append", "x", 1]), *done(1, ["append", "x", 2]), *done(2, ["r", "x", [2]])],
            {"G-single-realtime"},
            id="an acknowledged append that nobody ever sees",
        ),
        pytest.param(
            together(done(0, ["append", "x", 1]), done(1, ["append", "x", 2]))
            + together(done(2, ["r", "x", [1, 2]]), done(3, ["r", "x", [2, 1]])),
            {"incompatible-order"},
            id="two readers see two orders",
        ),
        pytest.param(done(0, ["r", "x", [7]]), {"unwritten"}, id="from nowhere"),
        pytest.param([*done(0, ["append", "x", 1]), *done(1, ["r", "x", [1, 1]])], {"duplicate-elements"}, id="twice"),
        pytest.param(done(0, ["append", "x", 1], ["r", "x", []]), {"internal"}, id="own append unseen"),
        pytest.param(
            [*done(0, ["append", "x", 1]), *done(1, ["r", "x", []], ["r", "x", [1]])],
            {"internal", "G-single-realtime"},
            id="not repeatable",
        ),
    ],
)
def test_an_anomaly_is_told_by_its_name(made: Made, rows: list[Row], expected: set[str]) -> None:
    found = names(made(rows))
    assert expected <= found
    # What else is told belongs to the same thing: a cycle that also has a weaker name.
    assert bool(found) == bool(expected)
    if not {name for name in expected if name.startswith("G")} - {"G1a", "G1b"}:
        assert not {name for name in found if name.startswith(("G0", "G1c"))}


def test_a_cycle_is_told_with_its_edges_and_nothing_else(made: Made) -> None:
    rows = [*done(5, ["append", "z", 1]), *done(0, ["append", "x", 1]), *done(1, ["r", "x", []]), *final([1])]
    [anomaly] = judge("list-append", made(rows)).anomalies
    assert [operation.process for operation in anomaly.operations] == [0, 1]
    assert {(edge.source, edge.target, edge.label) for edge in anomaly.edges} == {(1, 2, "realtime"), (2, 1, "rw")}
    assert 'it read "x" without 1' in anomaly.text


def test_an_append_without_an_answer_may_be_seen_or_not(made: Made) -> None:
    lost: list[Row] = [(0, "invoke", "txn", [["append", "x", 1]]), (0, "info", "txn", None)]
    assert names(made([*lost, *done(1, ["r", "x", []]), *done(1, ["r", "x", [1]])])) == set()
    assert names(made([*lost, *done(1, ["r", "x", [1]]), *done(1, ["r", "x", []])])) == {"G-single-process"}


def test_an_append_without_an_answer_took_place_whole_when_a_part_of_it_is_seen(made: Made) -> None:
    lost: list[Row] = [(0, "invoke", "txn", [["append", "x", 1], ["append", "y", 2]]), (0, "info", "txn", None)]
    rows = [*lost, *done(1, ["r", "x", [1]]), *done(1, ["r", "y", []])]
    assert names(made(rows)) == {"G-single-process"}
    assert names(made([*lost, *done(1, ["r", "y", []]), *done(1, ["r", "x", [1]])])) == set()


@pytest.mark.parametrize(
    ("asked_steps", "told"),
    [
        ([["append", "x", 1], ["append", "x", 1]], [["append", "x", 1], ["append", "x", 1]]),
        ([["r", "x", None]], [["r", "y", []]]),
        ([["r", "x", None]], []),
        ([["r", "x", None]], [["r", "x", 3]]),
        ([["w", "x", 1]], [["w", "x", 1]]),
        ([["r", "x"]], [["r", "x"]]),
        (7, 7),
        ([["r", "x", None]] * 5000, [["r", "x", []]] * 5000),
    ],
)
def test_what_is_no_list_append_history_is_refused(made: Made, asked_steps: Json, told: Json) -> None:
    with pytest.raises(ModelMismatch, match=r"^lines 1-2: txn: "):
        judge("list-append", made([(0, "invoke", "txn", asked_steps), (0, "ok", "txn", told)]))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_correct_lists_pass(seed: int, processes: int) -> None:
    history = make_history(Lists(), Random(seed), operations=50, processes=processes)
    assert judge("list-append", history).answer == "yes"


# --- the oracle -----------------------------------------------------------------------------------


def lists_allow(order: Sequence[Operation]) -> bool:
    lists: dict[str, list[Json]] = {}
    for operation in order:
        steps = operation.output if operation.outcome == "ok" else operation.input
        for kind, key, value in cast("list[tuple[str, str, Json]]", steps):
            if kind == "append":
                lists.setdefault(key, []).append(value)
            elif operation.outcome == "ok" and lists.get(key, []) != value:
                return False
    return True


def has_order(operations: Sequence[Operation]) -> bool:
    answered = [each for each in operations if each.outcome == "ok"]
    pending = [each for each in operations if each.outcome == "info"]
    for size in range(len(pending) + 1):
        for chosen in combinations(pending, size):
            for order in permutations([*answered, *chosen]):
                late = any(b.completed < a.invoked for i, a in enumerate(order) for b in order[i + 1 :])
                if not late and lists_allow(order):
                    return True
    return False


def weak_history(random: Random) -> History:
    """Reads come from the state at the invocation or now, appends go to the present state: conflicts go unnoticed."""
    events: list[Event] = []
    lists: dict[str, list[Json]] = {"x": [], "y": []}
    busy: dict[int, tuple[list[list[Json]], dict[str, list[Json]]]] = {}
    begun = issued = 0
    while begun < 5 or busy:
        process = random.randrange(3)
        line = len(events) + 1
        if process not in busy and begun < 5:
            begun += 1
            steps: list[list[Json]] = []
            for _ in range(random.randrange(1, 4)):
                issued += 1
                key: Json = random.choice("xy")
                steps.append(random.choice([["r", key, None], ["append", key, issued]]))
            busy[process] = (steps, {key: list(elements) for key, elements in lists.items()})
            events.append(Event(line, process, "invoke", "txn", None, [*steps], line))
        elif process in busy:
            steps, snapshot = busy.pop(process)
            if random.random() < 0.5:
                snapshot = {key: list(elements) for key, elements in lists.items()}
            told: list[Json] = []
            for kind, where, value in steps:
                if kind == "append":
                    snapshot[str(where)].append(value)
                    lists[str(where)].append(value)
                told.append([kind, where, list(snapshot[str(where)]) if kind == "r" else value])
            lost = random.random() < 0.15
            events.append(Event(line, process, "info" if lost else "ok", "txn", None, None if lost else told, line))
    return pair(events)


@settings(max_examples=250, deadline=None)
@example(Random(25))
@example(Random(44))
@example(Random(2819))
@given(st.randoms(use_true_random=False))
def test_the_judge_agrees_with_every_order_tried_one_by_one(random: Random) -> None:
    history = weak_history(random)
    answered = any(each.outcome == "ok" for each in history.operations)
    expected = ("yes" if has_order(history.operations) else "no") if answered else "unknown"
    assert judge("list-append", history).answer == expected
