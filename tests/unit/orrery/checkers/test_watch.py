from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orrery.checkers.correct_objects import Store, make_history
from orrery.checkers.history import History, Json, Key
from orrery.checkers.judge import judge
from orrery.checkers.machine import ModelMismatch

Row = tuple[int, str, str, Json, Key]
Made = Callable[[Sequence[Row]], History]


def done(process: int, f: str, asked: Json, told: Json, key: Key = None) -> list[Row]:
    return [(process, "invoke", f, asked, key), (process, "ok", f, told, key)]


def put(value: int, revision: int, key: str = "a") -> list[Row]:
    return done(0, "put", value, {"revision": revision}, key)


def event(value: Json, revision: int, key: str = "a") -> Json:
    return {"type": "delete" if value is None else "put", "key": key, "value": value, "revision": revision}


def watch(asked: Json, *events: Json, until: int | None = None, kind: str = "ok") -> list[Row]:
    told: dict[str, Json] = {"events": [*events]}
    if until is not None:
        told["revision"] = until
    return [(9, "invoke", "watch", asked, None), (9, kind, "watch", told, None)]


TWO = [*put(1, 2), *put(2, 3)]
OPEN: list[Row] = [(5, "invoke", "put", 7, "a"), (5, "info", "put", None, "a")]
FAILED: list[Row] = [(5, "invoke", "put", 7, "a"), (5, "fail", "put", None, "a")]
TXN = done(0, "txn", {"then": [["put", "a", 1], ["put", "b", 1], ["put", "a", 2]]}, {"succeeded": True, "revision": 2})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([*TWO, *watch({"from": 1}, event(1, 2), event(2, 3))], [], id="fine"),
        pytest.param([*TWO, *watch({"from": 3}, event(2, 3))], [], id="from the middle"),
        pytest.param([*TWO, *watch({"from": 1}, event(1, 2))], [], id="not there yet"),
        pytest.param([*TWO, *watch({"from": 1}, event(2, 3))], ["missed"], id="the first is missing"),
        pytest.param([*TWO, *watch({"from": 1}, event(1, 2), until=3)], ["missed"], id="the last is missing"),
        pytest.param(
            [*TWO, *watch({"from": 1}, until=3, kind="info")], ["missed", "missed"], id="a broken one tells, too"
        ),
        pytest.param([*TWO, *watch({"from": 1}, event(2, 3), event(1, 2))], ["reordered"], id="out of order"),
        pytest.param([*TWO, *watch({"from": 1}, event(1, 2), event(1, 2), event(2, 3))], ["duplicated"], id="twice"),
        pytest.param([*TWO, *watch({"from": 3}, event(1, 2), event(2, 3))], ["before-start"], id="too early"),
        pytest.param([*TWO, *watch({"from": 1}, event(1, 2), event(9, 3))], ["wrong-event"], id="another value"),
        pytest.param([*TWO, *watch({"from": 1}, event(1, 2), event(None, 3))], ["wrong-event"], id="another type"),
        pytest.param([*TWO, *watch({"from": 1, "key": "b"}, event(1, 2))], ["not-asked-for"], id="another key"),
        pytest.param([*TWO, *watch({"from": 1, "key": "b"}, until=3)], [], id="nothing of that key"),
        pytest.param(
            [*put(1, 2, "ab"), *put(1, 3, "b"), *watch({"from": 1, "prefix": "a"}, event(1, 2, "ab"), until=3)],
            [],
            id="a prefix",
        ),
        pytest.param(
            [*put(1, 2, "ab"), *watch({"from": 1, "prefix": "a"}, until=3)], ["missed"], id="missing in a prefix"
        ),
        pytest.param(watch({"from": 1}, event(1, 2)), ["phantom"], id="from nowhere"),
        pytest.param([*OPEN, *watch({"from": 1}, event(7, 2))], [], id="a put without an answer"),
        pytest.param([*FAILED, *watch({"from": 1}, event(7, 2))], ["failed-change"], id="a put that failed"),
        pytest.param([*watch({"from": 1}, event(1, 2)), *put(1, 2)], ["event-before-change"], id="from the future"),
        pytest.param(
            [*TXN, *watch({"from": 1}, event(2, 2, "a"), event(1, 2, "b"))], [], id="a transaction's last values"
        ),
        pytest.param([*TXN, *watch({"from": 1}, event(1, 2, "b"))], ["missed"], id="half a transaction"),
        pytest.param([*TWO, *watch({}, event(2, 3))], [], id="from now"),
        pytest.param(
            [*TWO, *put(3, 4), *put(4, 5), *watch({}, event(2, 3), event(4, 5))], ["missed"], id="a gap from now"
        ),
        pytest.param([*TWO, *watch({"from": 1}, until=1)[:1]], [], id="nothing told"),
    ],
)
def test_an_anomaly_is_told_by_its_name(made: Made, rows: list[Row], expected: list[str]) -> None:
    verdict = judge("watch", made(rows))
    assert [anomaly.name for anomaly in verdict.anomalies] == expected
    if expected:
        assert verdict.answer == "no"


def test_compacted_history_is_not_owed(made: Made) -> None:
    rows = [*TWO, *done(9, "watch", {"from": 1}, {"events": [], "revision": 3, "compacted": 2})]
    assert [anomaly.text.split(" but ")[1][:17] for anomaly in judge("watch", made(rows)).anomalies] == [
        '2 for "a" at revi'
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event(2, 3), event(3, 4)], []),
        ([event(3, 4)], ["missed"]),
        ([event(1, 2), event(2, 3), event(3, 4)], ["before-start"]),
    ],
)
def test_a_watch_from_now_that_knows_when_that_was_owes_all_from_there(
    made: Made, events: list[Json], expected: list[str]
) -> None:
    told = done(9, "watch", {}, {"events": events, "revision": 4, "since": 2})
    assert [each.name for each in judge("watch", made([*TWO, *put(3, 4), *told])).anomalies] == expected


def test_what_was_compacted_is_not_owed_by_the_watch_that_goes_on(made: Made) -> None:
    broken = done(9, "watch", {"from": 1, "id": 1}, {"events": [], "compacted": 2})
    rows = [*TWO, *put(3, 4), *broken, *watch({"from": 3, "id": 1}, event(2, 3), event(3, 4))]
    assert judge("watch", made(rows)).anomalies == ()
    rows = [*TWO, *put(3, 4), *broken, *watch({"from": 4, "id": 1}, event(3, 4))]
    assert [anomaly.name for anomaly in judge("watch", made(rows)).anomalies] == ["missed"]


def test_what_was_asked_for_once_is_applied_once(made: Made) -> None:
    twice = watch({"from": 1}, event(7, 2), event(7, 4))
    assert [each.name for each in judge("watch", made([*OPEN, *twice])).anomalies] == ["applied-twice"]
    asked_twice = [*OPEN, *[(6, *row[1:]) for row in OPEN]]
    assert judge("watch", made([*asked_twice, *twice])).anomalies == ()


def test_watchers_that_disagree_are_both_shown(made: Made) -> None:
    rows = [*OPEN, *[(6, *row[1:]) if row[0] == 5 else row for row in OPEN]]
    rows[2] = (6, "invoke", "put", 8, "a")
    verdict = judge("watch", made([*rows, *watch({"from": 1}, event(7, 2)), *watch({"from": 1}, event(8, 2))]))
    assert [anomaly.name for anomaly in verdict.anomalies] == ["disagreement"]
    assert len(verdict.anomalies[0].operations) == 2


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (watch({"id": 1, "from": 3}, event(2, 3)), []),
        (watch({"id": 1, "from": 2}, event(1, 2), event(2, 3)), []),
        (watch({"id": 1, "from": 4}, until=5), ["missed"]),
        (watch({"id": 1, "from": 3}, event(1, 2), event(2, 3)), ["before-start", "duplicated"]),
    ],
)
def test_a_broken_watch_is_resumed_without_a_gap(made: Made, second: list[Row], expected: list[str]) -> None:
    first = watch({"id": 1, "from": 1}, event(1, 2), kind="info")
    assert [each.name for each in judge("watch", made([*TWO, *first, *second])).anomalies] == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_watches_of_a_correct_store_pass(seed: int, processes: int) -> None:
    history = make_history(Store(with_watch=True), Random(seed), operations=60, processes=processes)
    watched = any(each.f == "watch" and each.outcome == "ok" for each in history.operations)
    assert judge("watch", history).answer == ("yes" if watched else "unknown")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["drop", "swap", "repeat", "value"]))
def test_altered_watches_fail(seed: int, alteration: str) -> None:
    """No answer is lost, so every event is a known change: one gone, moved, told twice or other is found."""
    history = make_history(Store(with_watch=True, with_txn=False), Random(seed), operations=60, lost=0)
    watches = [each for each in history.operations if each.f == "watch" and each.outcome == "ok"]
    watches = [each for each in watches if len(cast("dict[str, list[Json]]", each.output)["events"]) > 1]
    assume(watches)
    wrong = Random(seed).choice(watches)
    told = cast("dict[str, list[Json]]", wrong.output)
    events = list(told["events"])
    place = Random(seed).randrange(len(events) - 1)
    if alteration == "drop":
        del events[place]
    elif alteration == "swap":
        events[place], events[place + 1] = events[place + 1], events[place]
    elif alteration == "repeat":
        events.insert(place, events[place])
    else:
        events[place] = cast("dict[str, Json]", events[place]) | {"type": "put", "value": 10**6}
    output = cast("Json", dict(told) | {"events": events})
    altered = replace(wrong, output=output)
    verdict = judge("watch", History(tuple(altered if each is wrong else each for each in history.operations)))
    assert verdict.answer == "no"
    assert all(wrong.number in {operation.number for operation in anomaly.operations} for anomaly in verdict.anomalies)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (7, {}),
        ({"from": "1"}, {}),
        ({"prefix": 1}, {}),
        ({}, {"events": 7}),
        ({}, {"events": [7]}),
        ({}, {"events": [{"type": "put", "key": "a"}]}),
        ({}, {"events": [{"type": "set", "key": "a", "revision": 1}]}),
        ({}, {"revision": "x"}),
    ],
)
def test_what_is_no_watch_history_is_refused(made: Made, asked: Json, told: Json) -> None:
    with pytest.raises(ModelMismatch, match="lines 1-2: watch: "):
        judge("watch", made(done(0, "watch", asked, told)))
