from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orrery.checkers.correct_objects import Broker, make_history
from orrery.checkers.history import History, Json, Key
from orrery.checkers.judge import judge
from orrery.checkers.machine import ModelMismatch

Row = tuple[int, str, str, Json, Key]
Made = Callable[[Sequence[Row]], History]


def send(process: int, message: Json, offset: int | None, key: Key = "p") -> list[Row]:
    told: Json = None if offset is None else [offset, message]
    return [(process, "invoke", "send", message, key), (process, "ok", "send", told, key)]


def read(process: int, *messages: Json, f: str = "poll", key: Key = "p") -> list[Row]:
    return [(process, "invoke", f, None, key), (process, "ok", f, [*messages], key)]


def assign(process: int, key: Key = None) -> list[Row]:
    return [(process, "invoke", "assign", None, key), (process, "ok", "assign", None, key)]


ABC = [*send(0, "a", 0), *send(0, "b", 1), *send(0, "c", 2)]
OPEN: list[Row] = [(7, "invoke", "send", "x", "p"), (7, "info", "send", None, "p")]
ABORTED: list[Row] = [(7, "invoke", "send", "x", "p"), (7, "fail", "send", None, "p")]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([*ABC, *read(1, [0, "a"], [1, "b"], [2, "c"])], [], id="fine"),
        pytest.param([*ABC, *read(1, [0, "a"], [2, "c"])], ["lost"], id="a poll passes over it"),
        pytest.param([*ABC, *read(1, [0, "a"]), *read(1, [2, "c"])], ["lost"], id="two polls pass over it"),
        pytest.param([*ABC, *read(1, [0, "a"]), *assign(1), *read(1, [2, "c"])], [], id="it may have moved on"),
        pytest.param(
            [*ABC, *read(1, [0, "a"]), *assign(1, "q"), *read(1, [2, "c"])], ["lost"], id="in another partition"
        ),
        pytest.param([*ABC, *read(2, [1, "b"]), *read(1, [0, "a"], [2, "c"])], ["skipped"], id="others have it"),
        pytest.param([*ABC, *read(1, [0, "a"], [1, "b"], f="drain")], ["lost"], id="the last one is gone"),
        pytest.param([*send(0, "a", None), *read(1, f="drain")], ["lost"], id="without an offset, too"),
        pytest.param([*OPEN, *ABC, *read(1, [0, "a"], [1, "b"], [2, "c"], f="drain")], [], id="nobody knows"),
        pytest.param([*ABC, *read(1, [0, "a"], [1, "b"], [2, "c"], [3, "a"])], ["duplicated"], id="at two offsets"),
        pytest.param([*ABC, *read(1, [0, "a"], [0, "a"], [1, "b"])], ["redelivered"], id="twice in a poll"),
        pytest.param([*ABC, *read(1, [0, "a"]), *read(1, [0, "a"])], ["redelivered"], id="twice in two polls"),
        pytest.param([*ABC, *read(1, [0, "a"]), *assign(1), *read(1, [0, "a"])], [], id="after a rebalance it may"),
        pytest.param([*ABC, *read(1, [1, "b"], [0, "a"])], ["reordered"], id="backwards"),
        pytest.param([*send(0, "a", 1), *send(1, "b", 0)], ["reordered"], id="against real time"),
        pytest.param([*send(0, "a", 0), *send(1, "b", 0)], ["inconsistent-offset"], id="one offset, two messages"),
        pytest.param(
            [*ABC, *read(1, [0, "a"], [1, "x"], [2, "c"]), *OPEN], ["inconsistent-offset"], id="another there"
        ),
        pytest.param([*ABORTED, *read(1, [0, "x"])], ["aborted-read"], id="aborted"),
        pytest.param(read(1, [0, "x"]), ["unwritten"], id="from nowhere"),
        pytest.param([*read(1, [0, "a"]), *send(0, "a", 0)], ["read-before-sent"], id="from the future"),
        pytest.param([*send(0, 1, 0, "p"), *send(0, 1, 0, "q")], [], id="partitions are apart"),
    ],
)
def test_an_anomaly_is_told_by_its_name(made: Made, rows: list[Row], expected: list[str]) -> None:
    verdict = judge("log", made(rows))
    names = {anomaly.name for anomaly in verdict.anomalies}
    assert set(expected) <= names
    assert bool(names) == bool(expected)
    assert verdict.answer == ("no" if expected else "yes")


def test_transactions_send_and_poll(made: Made) -> None:
    asked: Json = [["send", "p", "a"], ["send", "q", "b"], ["poll", "r", None]]
    told: Json = [["send", "p", [0, "a"]], ["send", "q", [0, "b"]], ["poll", "r", []]]
    good: list[Row] = [(0, "invoke", "txn", asked, None), (0, "ok", "txn", told, None)]
    assert judge("log", made([*good, *read(1, [0, "b"], key="q")])).answer == "yes"
    aborted: list[Row] = [(0, "invoke", "txn", asked, None), (0, "fail", "txn", None, None)]
    verdict = judge("log", made([*aborted, *read(1, [0, "b"], key="q")]))
    assert [anomaly.name for anomaly in verdict.anomalies] == ["aborted-read"]
    assert 'partition "q": "b" at offset 0' in verdict.anomalies[0].text


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_correct_broker_passes(seed: int, processes: int) -> None:
    history = make_history(Broker(), Random(seed), operations=60, processes=processes)
    assert judge("log", history).answer == "yes"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["drop", "swap", "foreign"]))
def test_an_altered_drain_fails(seed: int, alteration: str) -> None:
    """A drain that began after a message was acknowledged and misses it, tells two in the wrong order, or a third."""
    history = make_history(Broker(partitions=1), Random(seed), operations=60)
    acknowledged = [each for each in history.operations if each.f == "send" and each.outcome == "ok"]
    drains = [
        each
        for each in history.operations
        if each.f == "drain" and each.outcome == "ok" and len(cast("list[Json]", each.output)) > 1
    ]
    pairs = [(sent, drain) for drain in drains for sent in acknowledged if sent.precedes(drain)]
    assume(pairs)
    sent, drain = Random(seed).choice(pairs)
    told = list(cast("list[Json]", drain.output))
    if alteration == "drop":
        told.remove(sent.output)
    elif alteration == "swap":
        told[0], told[1] = told[1], told[0]
    else:
        told.append([10**6, "foreign"])
    wrong = replace(drain, output=told)
    verdict = judge("log", History(tuple(wrong if each is drain else each for each in history.operations)))
    assert verdict.answer == "no"
    assert drain.number in {number for anomaly in verdict.anomalies for number in anomaly.culprits}


@pytest.mark.parametrize(
    "rows",
    [
        [*send(0, "a", 0), *send(0, "a", 1)],
        [(0, "invoke", "send", "a", "p"), (0, "ok", "send", [0, "b"], "p")],
        [(0, "invoke", "send", "a", "p"), (0, "ok", "send", ["0", "a"], "p")],
        [(0, "invoke", "poll", None, "p"), (0, "ok", "poll", 7, "p")],
        [(0, "invoke", "poll", None, "p"), (0, "ok", "poll", [7], "p")],
        [(0, "invoke", "pull", None, "p")],
        [(0, "invoke", "txn", 7, None)],
        [(0, "invoke", "txn", [["send", "p"]], None)],
        [(0, "invoke", "txn", [["drain", "p", None]], None)],
    ],
)
def test_what_is_no_log_history_is_refused(made: Made, rows: list[Row]) -> None:
    with pytest.raises(ModelMismatch, match="line"):
        judge("log", made(rows))
