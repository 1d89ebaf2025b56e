"""Distinct keys that come in any order and are walked in order now and then.

Theory of operation: one sorted list of a million keys would cost a long call of `list.sort`, or a memmove of megabytes
for each insertion. So the keys stand in pieces of some thousand, each sorted by one short call, and a walk takes the
next few keys of every piece and lets `list.sort`, which finds the sorted runs, merge them. No call into C takes more
than a few milliseconds, whatever is added: whoever shares the interpreter waits no longer.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

PIECE_KEYS = 8192
"""A piece has so many keys; sorting that many takes about 3 ms."""
INSERTED_KEYS_MAX = 16
"""So many new keys are inserted one by one into the piece that still grows; more are worth a sort of it."""
FIRST_STEP_KEYS = 64
"""What a walk takes at first: most walks are short."""
STEP_KEYS_MAX = 4096
"""What a walk takes at a time once it has proven long."""


class SortedPieces:
    """Adding n keys costs O(n log PIECE_KEYS); a walk of k keys over p pieces O(p log PIECE_KEYS + k log p)."""

    __slots__ = ("_pieces", "_tail")

    def __init__(self) -> None:
        self._pieces: list[list[bytes]] = []
        self._tail: list[bytes] = []

    def add(self, keys: list[bytes]) -> None:
        """Adds keys that are distinct, and are not in it."""
        tail = self._tail
        if len(keys) <= INSERTED_KEYS_MAX:
            for key in keys:
                insort(tail, key)
        else:
            start = 0
            while start < len(keys):
                end = start + PIECE_KEYS - len(tail)
                tail += keys[start:end]
                tail.sort()
                start = end
                if len(tail) >= PIECE_KEYS:
                    self._pieces.append(tail)
                    tail = self._tail = []
        if len(tail) >= PIECE_KEYS:
            self._pieces.append(tail)
            self._tail = []

    def walk(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[list[bytes]]:
        """The keys with low <= key < high, some at a time, each list ascending; with `reverse` the last list first.

        Every step looks for its place by key, so keys may be added meanwhile: those behind the place it has reached
        are met, the others are not.
        """
        step = FIRST_STEP_KEYS
        while True:
            if reverse:
                keys, bound = self._last(low, high, step)
                done = bound == low
                high = bound
            else:
                keys, bound = self._first(low, high, step)
                done = bound == high
                low = bound
            if keys:
                yield keys
            if done:
                return
            step = min(step * 2, max(FIRST_STEP_KEYS, STEP_KEYS_MAX // (len(self._pieces) + 1)))

    def _first(self, low: bytes | None, high: bytes | None, step: int) -> tuple[list[bytes], bytes | None]:
        """At least `step` keys from `low` on, if there are so many, and the key that they end before."""
        bound = high
        starts: list[tuple[list[bytes], int]] = []
        for piece in (*self._pieces, self._tail):
            start = 0 if low is None else bisect_left(piece, low)
            starts.append((piece, start))
            if start + step < len(piece) and (bound is None or piece[start + step] < bound):
                bound = piece[start + step]
        keys: list[bytes] = []
        for piece, start in starts:
            keys += piece[start:] if bound is None else piece[start : bisect_left(piece, bound, start)]
        keys.sort()
        return keys, bound

    def _last(self, low: bytes | None, high: bytes | None, step: int) -> tuple[list[bytes], bytes | None]:
        """At least `step` keys below `high`, if there are so many, and the key that they begin at."""
        bound = low
        ends: list[tuple[list[bytes], int]] = []
        for piece in (*self._pieces, self._tail):
            end = len(piece) if high is None else bisect_left(piece, high)
            ends.append((piece, end))
            if end > step and (bound is None or piece[end - step] > bound):
                bound = piece[end - step]
        keys: list[bytes] = []
        for piece, end in ends:
            keys += piece[:end] if bound is None else piece[bisect_left(piece, bound, 0, end) : end]
        keys.sort()
        return keys, bound

    def __len__(self) -> int:
        return sum(map(len, self._pieces)) + len(self._tail)
