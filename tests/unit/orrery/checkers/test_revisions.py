from collections.abc import Callable, Sequence

import pytest

from orrery.checkers.history import History, Json, Key
from orrery.checkers.revisions import check_revisions, told_revisions

Made = Callable[[Sequence[tuple[int, str, str, Json, Key]]], History]
Rows = list[tuple[int, str, str, Json, Key]]


def done(process: int, f: str, asked: Json, told: Json, key: Key) -> Rows:
    return [(process, "invoke", f, asked, key), (process, "ok", f, told, key)]


def names(history: History) -> list[str]:
    return [anomaly.name for anomaly in check_revisions(told_revisions(history))]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (done(1, "put", 1, {"revision": 6}, "b"), []),
        (done(1, "put", 1, {"revision": 5}, "b"), ["revision-given-twice", "revision-went-back"]),
        (done(1, "put", 1, {"revision": 4}, "b"), ["revision-went-back"]),
        (done(1, "get", None, {"value": 1, "revision": 5}, "b"), []),
        (done(1, "get", None, {"value": 1, "revision": 4}, "b"), ["revision-went-back"]),
        (done(1, "delete", None, {"deleted": 0, "revision": 5}, "b"), []),
        (done(1, "delete", None, {"deleted": 1, "revision": 5}, "b"), ["revision-given-twice", "revision-went-back"]),
        (done(1, "cas", [1, 2], {"succeeded": False, "revision": 5}, "b"), []),
    ],
)
def test_across_keys_revisions_are_unique_and_rise_with_real_time(
    made: Made, second: Rows, expected: list[str]
) -> None:
    assert names(made([*done(0, "put", 1, {"revision": 5}, "a"), *second])) == expected


def test_what_runs_at_the_same_time_may_tell_revisions_in_any_order(made: Made) -> None:
    rows: Rows = [
        (0, "invoke", "put", 1, "a"),
        *done(1, "put", 1, {"revision": 6}, "b"),
        (0, "ok", "put", {"revision": 5}, "a"),
    ]
    assert names(made(rows)) == []
