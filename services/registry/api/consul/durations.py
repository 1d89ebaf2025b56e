"""Durations as Go writes and reads them (package `time`: ParseDuration, Duration.String).

Strictly: what Go refuses is refused, in Go's words, since users know them from Consul.
"""

NANOSECONDS_MAX = 2**63 - 1
TEXT_CHARACTERS_MAX = 64
"""Nobody writes a longer one by hand; it bounds the work."""

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DIGITS = frozenset("0123456789")


def parse_duration(text: str) -> int:
    """Nanoseconds, possibly negative. Raises ValueError with the message of Go's ParseDuration."""
    invalid = ValueError(f'time: invalid duration "{text[:TEXT_CHARACTERS_MAX]}"')
    if len(text) > TEXT_CHARACTERS_MAX:
        raise invalid
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise invalid
    total_ns = 0
    while rest:
        whole, rest = _take(rest, digits=True)
        fraction = ""
        if rest.startswith("."):
            fraction, rest = _take(rest[1:], digits=True)
        if not whole and not fraction:
            raise invalid
        unit, rest = _take(rest, digits=False)
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        factor_ns = _UNITS_NS.get(unit)
        if factor_ns is None:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total_ns += int(whole or "0") * factor_ns
        if fraction:
            total_ns += int(fraction) * factor_ns // 10 ** len(fraction)
        if total_ns > NANOSECONDS_MAX:
            raise invalid
    return -total_ns if text.startswith("-") else total_ns


def _take(text: str, *, digits: bool) -> tuple[str, str]:
    """Splits off the digits at the front, or what is neither a digit nor a point."""
    end = 0
    while end < len(text) and ((text[end] in _DIGITS) if digits else (text[end] not in _DIGITS and text[end] != ".")):
        end += 1
    return text[:end], text[end:]


def format_duration(ms: int) -> str:
    """Milliseconds, not negative, as Go prints a Duration: `1m30s`, `1.5s`, `250ms`, `0s`."""
    if ms == 0:
        return "0s"
    if ms < 1000:
        return f"{ms}ms"
    seconds, milliseconds = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{milliseconds:03}".rstrip("0") if milliseconds else ""
    text = f"{seconds}{fraction}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def milliseconds(nanoseconds: int) -> int:
    """The same in whole milliseconds, rounded up: what is kept must not be shorter than what was asked for."""
    return -(-nanoseconds // 1_000_000)
