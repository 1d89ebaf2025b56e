"""Keys and their order: what two keys share, and ranges of them as sorted lists that bisect works on."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter

_LOW = itemgetter(0)


def coalesce(ranges: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The same keys in ranges that ascend and neither overlap nor touch; empty ones are gone. O(n log n)."""
    made: list[tuple[bytes, bytes]] = []
    for low, high in sorted(ranges):
        if low >= high:
            continue
        if made and low <= made[-1][1]:
            if high > made[-1][1]:
                made[-1] = (made[-1][0], high)
        else:
            made.append((low, high))
    return made


def shared_length(one: bytes, other: bytes) -> int:
    """How many bytes two keys have in common at their beginning. O(length), in C."""
    length = min(len(one), len(other))
    difference = int.from_bytes(one[:length], "big") ^ int.from_bytes(other[:length], "big")
    return length - (difference.bit_length() + 7) // 8


def covers(ranges: Sequence[tuple[bytes, bytes]], key: bytes) -> bool:
    """Whether `key` is in one of the ranges, which ascend and do not overlap. O(log n)."""
    position = bisect_right(ranges, key, key=_LOW) - 1
    return position >= 0 and key < ranges[position][1]


class Ranges:
    """A set of keys made of ranges."""

    __slots__ = ("highs", "lows")

    def __init__(self, ranges: Iterable[tuple[bytes, bytes]]) -> None:
        pairs = coalesce(ranges)
        self.lows = [low for low, _ in pairs]
        self.highs = [high for _, high in pairs]

    def uncovered(self, keys: Sequence[bytes], start: int, end: int) -> list[tuple[int, int]]:
        """The positions of the ascending keys[start:end] that are in none of the ranges, as (start, end) pairs.

        O(log keys + log ranges) for each range met.
        """
        kept: list[tuple[int, int]] = []
        if start >= end:
            return kept
        lows, highs = self.lows, self.highs
        # The first range that ends behind the first key.
        position = bisect_right(highs, keys[start])
        last = keys[end - 1]
        while position < len(lows) and lows[position] <= last:
            cut = bisect_left(keys, lows[position], start, end)
            if cut > start:
                kept.append((start, cut))
            start = bisect_left(keys, highs[position], cut, end)
            position += 1
        if start < end:
            kept.append((start, end))
        return kept
