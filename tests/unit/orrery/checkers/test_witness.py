"""The witness proves what it says, decides what a correct store does, and says nothing of what is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.checkers.correct_objects import Store, make_history
from orrery.checkers.history import History, Json, Key
from orrery.checkers.judge import judge
from orrery.checkers.kv import kv_problems
from orrery.checkers.linearizability import Budget, linearize
from orrery.checkers.verdict import Limits
from orrery.checkers.witness import is_explained, seen_revisions

Row = tuple[int, str, str, Json, Key]
Made = Callable[[Sequence[Row]], History]


def done(process: int, f: str, asked: Json, told: Json, key: Key = "a") -> list[Row]:
    return [(process, "invoke", f, asked, key), (process, "ok", f, told, key)]


def lost(process: int, f: str, asked: Json, key: Key = "a") -> list[Row]:
    return [(process, "invoke", f, asked, key), (process, "info", f, None, key)]


def put(value: int, revision: int, key: Key = "a") -> list[Row]:
    return done(0, "put", value, {"revision": revision}, key)


def get(value: Json, mod: int, revision: int, key: Key = "a") -> list[Row]:
    told: dict[str, Json] = {"value": value, "revision": revision}
    if mod:
        told["mod_revision"] = mod
    return done(1, "get", None, told, key)


def watch(*events: Json) -> list[Row]:
    return [(9, "invoke", "watch", {"from": 1}, None), (9, "info", "watch", {"events": [*events]}, None)]


def event(value: Json, revision: int, key: str = "a") -> Json:
    return {"type": "delete" if value is None else "put", "key": key, "value": value, "revision": revision}


def explained(history: History) -> bool:
    seen = seen_revisions(history)
    return all(is_explained(problem, seen) for problem in kv_problems(history))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([*put(1, 2), *get(1, 2, 2)], True, id="one after another"),
        pytest.param([*put(1, 2), *put(2, 4, "b"), *get(1, 2, 4)], True, id="others write, too"),
        pytest.param([*put(1, 2), *put(2, 3), *get(1, 2, 2)], False, id="stale"),
        pytest.param([*lost(5, "put", 7), *get(7, 4, 4)], True, id="a lost put that was read"),
        pytest.param([*get(7, 4, 4), *lost(5, "put", 7)], False, id="read before it was asked for"),
        pytest.param([*put(1, 2), *lost(5, "put", 7), *get(1, 2, 2)], True, id="a lost put that nobody saw"),
        pytest.param([*put(1, 2), *lost(5, "delete", None), *get(None, 0, 3)], False, id="a lost delete unseen"),
        pytest.param(
            [*put(1, 2), *lost(5, "delete", None), *get(None, 0, 3), *watch(event(None, 3))],
            True,
            id="a lost delete that was watched",
        ),
        pytest.param([*done(0, "get", None, None)], False, id="no revision is told"),
        pytest.param([*put(1, 2), *done(1, "delete", None, {"deleted": 0, "revision": 3})], False, id="not there"),
    ],
)
def test_the_order_of_revisions_is_tried(made: Made, rows: list[Row], expected: bool) -> None:
    assert explained(made(rows)) is expected


def test_of_two_that_may_have_done_it_each_does_it_once(made: Made) -> None:
    rows = [*lost(5, "delete", None), *lost(6, "delete", None)]
    rows = [*put(1, 2), *rows, *put(2, 4), *watch(event(None, 3), event(None, 5))]
    assert sorted(seen_revisions(made(rows)).values()) == [3, 5]
    rows = [*put(1, 2), *lost(5, "delete", None), *watch(event(None, 3), event(None, 5))]
    assert sorted(seen_revisions(made(rows)).values()) == [3]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.3]))
def test_what_it_explains_the_search_explains(seed: int, lost_part: float) -> None:
    """Any history, right or wrong: a yes of the witness is never a no of the search."""
    history = make_history(Store(), Random(seed), operations=24, lost=lost_part)
    source = Random(seed)
    operations = list(history.operations)
    if source.random() < 0.5:
        # Answers of two operations of a kind change places.
        gets = [place for place, each in enumerate(operations) if each.f == "get" and each.outcome == "ok"]
        if len(gets) > 1:
            one, other = source.sample(gets, 2)
            first, second = operations[one], operations[other]
            operations[one] = replace(first, output=second.output)
            operations[other] = replace(second, output=first.output)
    history = History(tuple(operations))
    seen = seen_revisions(history)
    for problem in kv_problems(history):
        if is_explained(problem, seen):
            assert linearize(problem, Budget(Limits(seconds_max=5), monotonic)).answer != "no"


def test_one_history_is_judged_as_kv_and_as_watch(made: Made) -> None:
    history = made([*put(1, 2), *get(1, 2, 2), *watch(event(1, 2))])
    assert judge("kv", history).answer == "yes"
    assert judge("kv", history).steps == 0
    assert judge("watch", history).answer == "yes"
