"""The same as Go's `time` does it; the expected values come from its documentation and its tests' idea of edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.api.consul.durations import format_duration, milliseconds, parse_duration

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("5s", 5 * S),
        ("30s", 30 * S),
        ("1m30s", 90 * S),
        ("-5s", -5 * S),
        ("+5s", 5 * S),
        ("-0", 0),
        ("5.0s", 5 * S),
        ("5.6s", 5_600_000_000),
        ("5.s", 5 * S),
        (".5s", S // 2),
        ("10ns", 10),
        ("11us", 11_000),
        ("12µs", 12_000),
        ("12μs", 12_000),
        ("13ms", 13_000_000),
        ("15m", 900 * S),
        ("16h", 16 * 3600 * S),
        ("3h30m", 12_600 * S),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ("9223372036854775807ns", 2**63 - 1),
        ("0.3333333333333333333h", 1_199_999_999_999),
    ],
)
def test_what_go_reads(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("10", 'time: missing unit in duration "10"'),
        ("10d", 'time: unknown unit "d" in duration "10d"'),
        ("-", 'time: invalid duration "-"'),
        ("s", 'time: invalid duration "s"'),
        (".s", 'time: invalid duration ".s"'),
        ("+.s", 'time: invalid duration "+.s"'),
        ("1s2", 'time: missing unit in duration "1s2"'),
        ("5 s", 'time: unknown unit " s" in duration "5 s"'),
        ("٣s", 'time: invalid duration "٣s"'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("3000000h", 'time: invalid duration "3000000h"'),
    ],
)
def test_what_go_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_duration(text)
    assert str(refused.value) == message


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        nanoseconds = parse_duration(text)
    except ValueError as error:
        said = str(error)
    else:
        assert abs(nanoseconds) <= 2**63 - 1
        return
    assert said.startswith("time: ")


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (250, "250ms"), (1500, "1.5s"), (10_000, "10s"), (90_000, "1m30s"), (3_600_000, "1h0m0s"),
     (3_661_001, "1h1m1.001s"), (600_000, "10m0s")],
)  # fmt: skip
def test_what_go_prints(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@given(st.integers(0, 10**11))
def test_what_is_printed_is_read(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms * 1_000_000


def test_a_part_of_a_millisecond_counts_as_a_whole_one() -> None:
    assert [milliseconds(nanoseconds) for nanoseconds in (0, 1, 1_000_000, 1_000_001)] == [0, 1, 1, 2]
