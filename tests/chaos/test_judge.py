"""The judge finds what is wrong, and only that."""

from pathlib import Path

import pytest

from tests.chaos.history import Event, History, Type, read
from tests.chaos.judge import judge


def put(op: int, start: int, end: int, revision: int, outcome: Type = "ok") -> list[Event]:
    process = f"client-{op}"
    return [
        Event(process, "invoke", "put", op, start, key=f"k{op}", value=f"v{op}"),
        Event(process, outcome, "put", op, end, revision=revision if outcome == "ok" else 0),
    ]


def get(op: int, key: str, start: int, end: int, revision: int) -> list[Event]:
    return [
        Event("reader", "invoke", "get", op, start, key=key),
        Event("reader", "ok", "get", op, end, revision=revision),
    ]


def in_time(*operations: list[Event]) -> list[Event]:
    return sorted((event for operation in operations for event in operation), key=lambda event: event.time_ns)


GOOD = in_time(put(1, 0, 10, 2), put(2, 20, 30, 3), get(3, "k1", 40, 50, 2))
STORE = {"k1": ("v1", 2), "k2": ("v2", 3)}


def test_a_good_history() -> None:
    verdict = judge(GOOD, STORE)
    assert verdict.faults == []
    assert (verdict.acknowledged, verdict.reads) == (2, 1)


@pytest.mark.parametrize(
    ("store", "word"),
    [
        ({"k1": ("v1", 2)}, "lost"),
        ({"k1": ("v1", 2), "k2": ("other", 3)}, "changed"),
        ({"k1": ("v1", 2), "k2": ("v2", 4)}, "changed"),
        ({**STORE, "k9": ("v9", 9)}, "invented"),
    ],
)
def test_a_bad_store(store: dict[str, tuple[str, int]], word: str) -> None:
    (fault,) = judge(GOOD, store).faults
    assert fault.startswith(word)


def test_an_acknowledged_put_that_got_a_smaller_revision_later() -> None:
    history = in_time(put(1, 0, 10, 3), put(2, 20, 30, 2))
    (fault,) = judge(history, {"k1": ("v1", 3), "k2": ("v2", 2)}).faults
    assert fault.startswith("disorder")


def test_concurrent_puts_may_take_effect_in_any_order() -> None:
    history = in_time(put(1, 0, 30, 3), put(2, 10, 20, 2))
    assert judge(history, {"k1": ("v1", 3), "k2": ("v2", 2)}).faults == []


def test_two_puts_at_one_revision() -> None:
    history = in_time(put(1, 0, 30, 2), put(2, 10, 20, 2))
    assert [f.split(":")[0] for f in judge(history, {"k1": ("v1", 2), "k2": ("v2", 2)}).faults] == ["twice"]


def test_a_stale_read() -> None:
    history = in_time(put(1, 0, 10, 2), get(3, "k1", 20, 30, 0))
    (fault,) = judge(history, {"k1": ("v1", 2)}).faults
    assert fault.startswith("stale")


def test_a_read_beside_a_put_may_miss_it() -> None:
    history = in_time(put(1, 0, 25, 2), get(3, "k1", 20, 30, 0))
    assert judge(history, {"k1": ("v1", 2)}).faults == []


def test_an_unknown_put_may_or_may_not_be_there() -> None:
    history = in_time(put(1, 0, 10, 0, "info"))
    assert judge(history, {}).faults == []
    verdict = judge(history, {"k1": ("v1", 2)})
    assert (verdict.faults, verdict.unknown, verdict.unknown_that_took_effect) == ([], 1, 1)


def test_a_failed_put_must_not_be_there() -> None:
    history = in_time(put(1, 0, 10, 0, "fail"))
    (fault,) = judge(history, {"k1": ("v1", 2)}).faults
    assert fault.startswith("undead")


def test_the_gap_is_measured_between_acknowledgements() -> None:
    second = 1_000_000_000
    history = in_time(put(1, 0, second, 2), put(2, 2 * second, 4 * second, 3), put(3, 4 * second, 5 * second, 4))
    verdict = judge(history, {f"k{i}": (f"v{i}", i + 1) for i in (1, 2, 3)})
    assert (verdict.gap_s_max, verdict.gap_began_s) == (3.0, 1.0)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    with History(tmp_path / "history.jsonl") as history:
        written = [
            history.record("client-1", "invoke", "put", 1, key="k", value="v"),
            history.record("client-1", "ok", "put", 1, revision=7),
        ]
    assert read(tmp_path / "history.jsonl") == written
