"""Deadlines of many keys, of which the next one is wanted: a binary heap with lazy deletion.

A key that gets a new deadline, or is removed, leaves its old entry in the heap, where it is recognised and dropped when
it comes up. When the dead entries outnumber the living, the heap is built anew, so that memory stays proportional to
the living. set and remove O(log n) amortised; next O(1) amortised.
"""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", int, str, bytes)

REBUILD_AT_ENTRIES = 64
"""Below this many entries the dead are not worth the work."""


class DeadlineHeap(Generic[KeyT]):
    """At most one deadline a key. Units of time are the caller's; ties come out in order of keys."""

    __slots__ = ("_deadlines", "_heap")

    def __init__(self) -> None:
        self._deadlines: dict[KeyT, float] = {}
        self._heap: list[tuple[float, KeyT]] = []

    def __len__(self) -> int:
        return len(self._deadlines)

    def __contains__(self, key: KeyT) -> bool:
        return key in self._deadlines

    def get(self, key: KeyT) -> float | None:
        """The deadline of `key`, or None."""
        return self._deadlines.get(key)

    def set(self, key: KeyT, deadline: float) -> None:
        """Gives `key` a deadline in place of any it had."""
        self._deadlines[key] = deadline
        heappush(self._heap, (deadline, key))
        if len(self._heap) > REBUILD_AT_ENTRIES and len(self._heap) > 2 * len(self._deadlines):
            self._heap = [(time, name) for name, time in self._deadlines.items()]
            heapify(self._heap)

    def remove(self, key: KeyT) -> None:
        """Forgets `key`; one that is not here is fine."""
        self._deadlines.pop(key, None)

    def clear(self) -> None:
        """Forgets everything."""
        self._deadlines.clear()
        self._heap.clear()

    def next_deadline(self) -> float | None:
        """The earliest deadline, or None when there is none."""
        heap = self._heap
        while heap:
            deadline, key = heap[0]
            if self._deadlines.get(key) == deadline:
                return deadline
            heappop(heap)
        return None

    def pop_due(self, now: float, limit: int) -> list[KeyT]:
        """Takes out the keys whose deadline is `now` or earlier, earliest first, at most `limit` of them."""
        due: list[KeyT] = []
        while len(due) < limit:
            deadline = self.next_deadline()
            if deadline is None or deadline > now:
                break
            _, key = heappop(self._heap)
            del self._deadlines[key]
            due.append(key)
        return due
