from collections.abc import Callable, Sequence

import pytest

from orrery.checkers.history import History, Json, Key
from orrery.checkers.judge import judge
from orrery.checkers.machine import ModelMismatch

Row = tuple[int, str, str, Json, Key]
Made = Callable[[Sequence[Row]], History]


def done(process: int, f: str, asked: Json, told: Json, key: Key = None) -> list[Row]:
    return [(process, "invoke", f, asked, key), (process, "ok", f, told, key)]


FAILED_WRITE: list[Row] = [(0, "invoke", "write", 1, None), (0, "fail", "write", 1, None)]
LOST_WRITE: list[Row] = [(0, "invoke", "write", 1, None), (0, "info", "write", None, None)]
FAILED_READ: list[Row] = [(0, "invoke", "read", None, None), (0, "fail", "read", None, None)]
FAILED_CAS: list[Row] = [(0, "invoke", "cas", [1, 2], None), (0, "fail", "cas", [1, 2], None)]


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        pytest.param(done(0, "read", None, None), "yes", id="null at first"),
        pytest.param(done(0, "read", None, 1), "no", id="nothing written"),
        pytest.param([*done(0, "write", 1, 1), *done(1, "read", None, 1)], "yes", id="read what was written"),
        pytest.param([*done(0, "write", 1, 1), *done(1, "read", None, None)], "no", id="stale"),
        pytest.param([*done(0, "write", 1, 1), *done(1, "read", None, True)], "no", id="true is not 1"),
        pytest.param([*FAILED_WRITE, *done(1, "read", None, 1)], "no", id="a failed write never happens"),
        pytest.param([*LOST_WRITE, *done(1, "read", None, None)], "yes", id="a lost write may not have happened"),
        pytest.param(
            [*LOST_WRITE, *done(1, "read", None, None), *done(1, "read", None, 1)], "yes", id="or happen late"
        ),
        pytest.param(
            [*LOST_WRITE, *done(1, "read", None, 1), *done(1, "read", None, None)], "no", id="but not be undone"
        ),
        pytest.param(
            [*LOST_WRITE, *done(1, "read", None, 1), *done(1, "write", 2, 2), *done(1, "read", None, 1)],
            "no",
            id="nor happen twice",
        ),
        pytest.param([*FAILED_READ, *done(1, "read", None, None)], "yes", id="a failed read is dropped"),
        pytest.param([*done(0, "write", 1, 1), *done(0, "cas", [1, 2], [1, 2])], "yes", id="cas"),
        pytest.param([*done(0, "write", 2, 2), *done(0, "cas", [1, 2], [1, 2])], "no", id="cas from what is not there"),
        pytest.param([*done(0, "write", 2, 2), *done(0, "cas", [1, 2], False)], "yes", id="refused rightly"),
        pytest.param([*done(0, "write", 1, 1), *done(0, "cas", [1, 2], False)], "no", id="refused wrongly"),
        pytest.param([*FAILED_CAS, *done(0, "write", 1, 1)], "yes", id="a failed cas tells nothing"),
        pytest.param([*done(0, "write", 1, 1, "a"), *done(0, "read", None, None, "b")], "yes", id="keys are apart"),
        pytest.param([*done(0, "write", 1, 1, 1), *done(0, "read", None, None, "1")], "yes", id="so are 1 and '1'"),
    ],
)
def test_register(made: Made, rows: list[Row], answer: str) -> None:
    assert judge("cas-register", made(rows)).answer == answer
    if not any(row[2] == "cas" for row in rows):
        assert judge("register", made(rows)).answer == answer


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        ("register", [(0, "invoke", "cas", [1, 2], None)]),
        ("cas-register", [(0, "invoke", "cas", [1], None)]),
        ("register", [(0, "invoke", "put", 1, None)]),
    ],
)
def test_what_is_no_register_history_is_refused(made: Made, model: str, rows: list[Row]) -> None:
    with pytest.raises(ModelMismatch, match="line 1, no answer: "):
        judge(model, made(rows))
