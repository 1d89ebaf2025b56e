"""A set of keys that is a union of ranges: what a sequence of range deletions has covered."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class RangeSet:
    """Disjoint half-open ranges [low, high), kept sorted; ranges that overlap or touch become one."""

    __slots__ = ("_highs", "_lows")

    def __init__(self, ranges: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._lows: list[bytes] = []
        self._highs: list[bytes] = []
        for low, high in ranges:
            self.add(low, high)

    def add(self, low: bytes, high: bytes) -> None:
        """Adds low <= key < high; an empty range is fine. O(log n) to find the place, O(n) pointers to move."""
        if low >= high:
            return
        first = bisect_left(self._highs, low)
        end = bisect_right(self._lows, high)
        if first < end:
            low = min(low, self._lows[first])
            high = max(high, self._highs[end - 1])
        self._lows[first:end] = [low]
        self._highs[first:end] = [high]

    def covers(self, key: bytes) -> bool:
        """Whether `key` is in one of the ranges. O(log n)."""
        index = bisect_right(self._lows, key) - 1
        return index >= 0 and key < self._highs[index]

    def ranges(self) -> list[tuple[bytes, bytes]]:
        """The ranges, ascending."""
        return list(zip(self._lows, self._highs, strict=True))

    def clipped(self, low: bytes | None, high: bytes | None) -> list[tuple[bytes, bytes]]:
        """What lies between `low` and `high`; None leaves that end open."""
        found: list[tuple[bytes, bytes]] = []
        for own_low, own_high in zip(self._lows, self._highs, strict=True):
            start = own_low if low is None else max(low, own_low)
            end = own_high if high is None else min(high, own_high)
            if start < end:
                found.append((start, end))
        return found

    def __len__(self) -> int:
        return len(self._lows)
