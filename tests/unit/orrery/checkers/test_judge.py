from collections.abc import Callable, Sequence
from itertools import count
from random import Random

import pytest

from orrery.checkers.correct_objects import (
    Broker,
    CorrectObject,
    Lists,
    LockService,
    Register,
    Store,
    make_history,
)
from orrery.checkers.history import History, Json, Key
from orrery.checkers.judge import guess_model, judge
from orrery.checkers.models import MODELS
from orrery.checkers.verdict import Limits

Row = tuple[int, str, str, Json, Key]
Made = Callable[[Sequence[Row]], History]


@pytest.mark.parametrize("model", MODELS)
def test_an_empty_history_proves_nothing(model: str) -> None:
    assert judge(model, History(())).answer == "unknown"


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="there are register, cas-register, kv"):
        judge("queue", History(()))


@pytest.mark.parametrize(
    ("subject", "model"),
    [
        (Register(with_cas=False), "register"),
        (Register(), "cas-register"),
        (Store(), "kv"),
        (Store(with_watch=True), "watch"),
        (Lists(), "list-append"),
        (Broker(), "log"),
        (LockService(), "lock"),
    ],
)
def test_the_model_is_told_by_the_operations(subject: CorrectObject, model: str) -> None:
    history = make_history(subject, Random(1), operations=40, refused=lambda f, answer: answer is False)
    assert guess_model(history) == model


def test_what_fits_no_model_is_not_guessed(made: Made) -> None:
    assert guess_model(History(())) is None
    assert guess_model(made([(0, "invoke", "increment", 1, None)])) is None


def test_the_parts_that_fail_are_told_the_smallest_first_and_few(made: Made) -> None:
    rows: list[Row] = []
    for key in range(30):
        wrong = 5 if key % 2 else 1
        rows += [(0, "invoke", "write", 1, key), (0, "ok", "write", 1, key)]
        rows += [(0, "invoke", "read", None, key), (0, "ok", "read", wrong, key)]
    verdict = judge("register", made(rows), Limits(anomalies_max=4))
    assert verdict.summary == "not linearizable in 15 of 30 parts"
    assert len(verdict.anomalies) == 4
    assert all(len(anomaly.operations) <= 2 for anomaly in verdict.anomalies)


def test_a_part_that_fails_outweighs_one_that_is_unknown(made: Made) -> None:
    """The first part is decided without a search, the second would need steps."""
    hard: list[Row] = [(process, "invoke", "write", process, "b") for process in range(2)]
    hard += [(process, "ok", "write", process, "b") for process in range(2)]
    wrong: list[Row] = [(5, "invoke", "read", None, "a"), (5, "ok", "read", 7, "a")]
    limits = Limits(steps_max=0)
    assert judge("register", made(hard), limits).answer == "unknown"
    assert judge("register", made([*hard, *wrong]), limits).answer == "no"


def test_the_time_that_it_took_is_told() -> None:
    readings = count(10, 5)
    verdict = judge("lock", History(()), monotonic_s=lambda: float(next(readings)))
    assert verdict.elapsed_s == 5.0
