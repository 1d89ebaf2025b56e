import pytest

from orrery.checkers.history import Event, EventType, History, Json, pair
from orrery.checkers.judge import guess_model, judge
from orrery.checkers.machine import ModelMismatch

Row = tuple[float, float, str, Json, EventType, Json]
"""Invoked and completed at, in seconds; f, value, type of the completion, its value."""


def history(*rows: Row, lease: str = "7") -> History:
    """One process each, so that they may overlap."""
    events = []
    for number, (invoked_s, completed_s, f, value, kind, told) in enumerate(rows):
        events.append((invoked_s, 0, number, "invoke", f, value))
        events.append((completed_s, 1, number, kind, f, told))
    events.sort(key=lambda event: event[:2])
    return pair(
        Event(line, number, kind, f, lease, value, int(at_s * 1e9))  # type: ignore[arg-type]
        for line, (at_s, _, number, kind, f, value) in enumerate(events, 1)
    )


def grant(at_s: float, ttl_s: int = 3) -> Row:
    return (at_s, at_s + 0.1, "grant", {"ttl_s": ttl_s}, "ok", {"ttl_s": ttl_s})


def attach(at_s: float, key: str = "a", there: bool = True) -> Row:
    return (at_s, at_s + 0.1, "attach", key, "ok", {"there": there})


def keepalive(at_s: float, ttl_s: int = 3) -> Row:
    return (at_s, at_s + 0.1, "keepalive", None, "ok", {"ttl_s": ttl_s})


def revoke(at_s: float, kind: EventType = "ok") -> Row:
    return (at_s, at_s + 0.1, "revoke", None, kind, {"there": True} if kind == "ok" else None)


def look(at_s: float, *keys: str) -> Row:
    return (at_s, at_s + 0.1, "look", None, "ok", {"keys": [*keys]})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([grant(0), attach(1), look(2, "a"), look(4)], [], id="ends in time"),
        pytest.param([grant(0), attach(1), look(9, "a")], [], id="may live longer"),
        pytest.param([grant(0), attach(1), look(2)], ["ended-early"], id="ends early"),
        pytest.param([grant(0), attach(1), keepalive(2), look(4.8)], ["ended-early"], id="although it was renewed"),
        pytest.param([grant(0), attach(1), keepalive(2), look(5.1)], [], id="after its renewal"),
        pytest.param([grant(0), look(1)], [], id="nothing is attached"),
        pytest.param([grant(0), (0.5, 1, "attach", "a", "info", None), look(1)], [], id="maybe nothing is attached"),
        pytest.param([grant(0), keepalive(1, 0)], ["ended-early"], id="a renewal sees it gone"),
        pytest.param([grant(0), attach(1, there=False)], ["ended-early"], id="a put sees it gone"),
        pytest.param([grant(0), attach(1), revoke(1.5), look(2)], [], id="revoked"),
        pytest.param([grant(0), attach(1), revoke(1.5, "info"), look(2)], [], id="maybe revoked"),
        pytest.param([grant(0), attach(1), revoke(1.5, "fail"), look(2)], ["ended-early"], id="surely not revoked"),
        pytest.param([grant(0), attach(1), revoke(1.5), look(2, "a")], ["came-back"], id="a revoked one is there"),
        pytest.param([grant(0), keepalive(4, 0), keepalive(5)], ["came-back"], id="one that has ended is renewed"),
        pytest.param([grant(0), attach(1), attach(1.2, "b"), look(2, "a")], ["torn-end"], id="half of it"),
        pytest.param([grant(0), attach(1), attach(1.2, "b"), look(2, "a", "b")], [], id="all of it"),
        pytest.param([grant(0), keepalive(2), (2.05, 2.2, "look", None, "ok", {"keys": []})], [], id="at once"),
    ],
)
def test_an_anomaly_is_told_by_its_name(rows: list[Row], expected: list[str]) -> None:
    verdict = judge("lease", history(*rows))
    assert [anomaly.name for anomaly in verdict.anomalies] == expected
    assert verdict.answer == ("no" if expected else "yes")
    assert guess_model(history(*rows)) == "lease"


def test_a_clock_may_be_fast_by_a_little() -> None:
    assert judge("lease", history(grant(0, 100), attach(1), look(98))).answer == "yes"
    assert judge("lease", history(grant(0, 100), attach(1), look(97))).answer == "no"


@pytest.mark.parametrize(
    "row",
    [
        (0, 1, "acquire", None, "ok", {}),
        (0, 1, "grant", None, "ok", {}),
        (0, 1, "grant", None, "ok", {"ttl_s": True}),
        (0, 1, "keepalive", None, "ok", 3),
        (0, 1, "look", None, "ok", {"keys": "a"}),
        (0, 1, "revoke", None, "ok", {"there": 1}),
    ],
)
def test_what_cannot_be_read_is_refused(row: Row) -> None:
    with pytest.raises(ModelMismatch):
        judge("lease", history(row))
