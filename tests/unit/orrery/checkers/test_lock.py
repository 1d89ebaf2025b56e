from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orrery.checkers.correct_objects import LockService, make_history
from orrery.checkers.history import History, Json, Key
from orrery.checkers.judge import judge
from orrery.checkers.machine import ModelMismatch

Row = tuple[int, str, str, Json, Key]
Made = Callable[[Sequence[Row]], History]


def acquire(process: int, token: int, key: Key = "l") -> list[Row]:
    return [(process, "invoke", "acquire", None, key), (process, "ok", "acquire", token, key)]


def use(process: int, f: str, token: int, kind: str = "ok", key: Key = "l") -> list[Row]:
    return [(process, "invoke", f, token, key), (process, kind, f, None, key)]


LOST: list[Row] = [(7, "invoke", "acquire", None, "l"), (7, "info", "acquire", None, "l")]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            [*acquire(0, 1), *use(0, "fenced-write", 1), *use(0, "release", 1), *acquire(1, 2)], [], id="fine"
        ),
        pytest.param([*acquire(0, 1), *acquire(1, 2), *use(1, "release", 2)], [], id="a lease may run out"),
        pytest.param([*acquire(0, 1), *acquire(1, 2), *use(0, "fenced-write", 1, "fail")], [], id="and is fenced then"),
        pytest.param([*acquire(0, 1), *acquire(1, 2), *use(0, "fenced-write", 1, "info")], [], id="or nobody knows"),
        pytest.param([*acquire(0, 1), *acquire(1, 2), *use(0, "fenced-write", 1)], ["two-holders"], id="a stale write"),
        pytest.param([*acquire(0, 1), *acquire(1, 2), *use(0, "renew", 1)], ["two-holders"], id="a stale renewal"),
        pytest.param([*acquire(0, 1), *acquire(1, 2), *use(0, "release", 1)], ["two-holders"], id="a stale release"),
        pytest.param([*acquire(0, 2), *acquire(1, 1)], ["token-went-back"], id="tokens fall"),
        pytest.param([*acquire(0, 1), *acquire(1, 1)], ["token-given-twice"], id="tokens repeat"),
        pytest.param([*acquire(0, 2, "l"), *acquire(1, 1, "m")], [], id="locks are apart"),
        pytest.param(use(0, "fenced-write", 3), ["token-never-given"], id="an invented token"),
        pytest.param([*LOST, *use(0, "fenced-write", 3)], [], id="a token whose grant nobody saw"),
        pytest.param(
            [*use(0, "fenced-write", 3), *acquire(0, 3)], ["token-never-given"], id="used before it was given"
        ),
        pytest.param(
            [*acquire(0, 1), *use(0, "release", 1), *use(0, "fenced-write", 1)], ["used-after-release"], id="released"
        ),
        pytest.param(
            [*acquire(0, 1), *use(0, "release", 1), *use(0, "release", 1)], ["used-after-release"], id="twice"
        ),
    ],
)
def test_an_anomaly_is_told_by_its_name(made: Made, rows: list[Row], expected: list[str]) -> None:
    verdict = judge("lock", made(rows))
    assert [anomaly.name for anomaly in verdict.anomalies] == expected
    assert verdict.answer == ("no" if expected else "yes")


def test_what_runs_at_the_same_time_is_no_anomaly(made: Made) -> None:
    rows: list[Row] = [
        *acquire(0, 1),
        (0, "invoke", "fenced-write", 1, "l"),
        *acquire(1, 2),
        (0, "ok", "fenced-write", None, "l"),
        (2, "invoke", "acquire", None, "l"),
        *acquire(3, 4),
        (2, "ok", "acquire", 3, "l"),
    ]
    assert judge("lock", made(rows)).answer == "yes"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_correct_lock_service_passes(seed: int, processes: int) -> None:
    history = make_history(
        LockService(), Random(seed), operations=60, processes=processes, refused=lambda f, answer: answer is False
    )
    answered = any(each.outcome == "ok" for each in history.operations)
    assert judge("lock", history).answer == ("yes" if answered else "unknown")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_stale_token_that_was_accepted_fails(seed: int) -> None:
    """A refused use, which began after a later token was given, is recorded as accepted."""
    history = make_history(LockService(locks=1), Random(seed), operations=80, refused=lambda f, answer: answer is False)
    grants = [each for each in history.operations if each.f == "acquire" and each.outcome == "ok"]
    stale = [
        each
        for each in history.operations
        if each.outcome == "fail" and type(each.input) is int
        if any(type(g.output) is int and g.output > each.input and g.precedes(each) for g in grants)
    ]
    assume(stale)
    wrong = Random(seed).choice(stale)
    accepted = replace(wrong, outcome="ok", output=None)
    verdict = judge("lock", History(tuple(accepted if each is wrong else each for each in history.operations)))
    assert verdict.answer == "no"
    assert any(anomaly.name == "two-holders" and wrong.number in anomaly.culprits for anomaly in verdict.anomalies)


@pytest.mark.parametrize(
    "rows",
    [
        [(0, "invoke", "acquire", None, "l"), (0, "ok", "acquire", "7", "l")],
        [(0, "invoke", "renew", None, "l"), (0, "ok", "renew", None, "l")],
        [(0, "invoke", "steal", None, "l")],
    ],
)
def test_what_is_no_lock_history_is_refused(made: Made, rows: list[Row]) -> None:
    with pytest.raises(ModelMismatch, match="line"):
        judge("lock", made(rows))
