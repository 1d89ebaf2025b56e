"""A cache of bytes by bytes in two generations: a hit on the young one is one dict lookup.

Theory of operation: what is found goes into the young dict. When that has taken half of the budget it becomes the old
one, and what was old goes. What is used while it is old comes back to the young one, so what is used once in half a
budget's worth of new things stays. That keeps about what LRU keeps, without moving anything on a hit.
"""

from collections.abc import Iterable

ENTRY_OVERHEAD_BYTES = 140
"""What an entry takes beside the bytes of key and value: their headers and a dict's share."""


class GenerationCache:
    """`young` is for the caller to look into first; `get` asks both."""

    __slots__ = ("_old", "_room", "capacity_bytes", "rotations", "young")

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.young: dict[bytes, bytes] = {}
        """The younger half. Callers read this."""
        self.rotations = 0
        """How often the old half has gone."""
        self._old: dict[bytes, bytes] = {}
        self._room = capacity_bytes // 2

    def get(self, key: bytes) -> bytes | None:
        """What is kept for `key`, or None. O(1)."""
        value = self.young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Keeps a value, or does not when there is no budget. O(1), and now and then the end of half of the cache."""
        self._room -= len(key) + len(value) + ENTRY_OVERHEAD_BYTES
        if self._room < 0:
            self._old, self.young = self.young, {}
            self.rotations += 1
            self._room = self.capacity_bytes // 2 - (len(key) + len(value) + ENTRY_OVERHEAD_BYTES)
            if self._room < 0:
                return
        self.young[key] = value

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forgets these keys. O(the smaller of them and the cache), in C, for a dict or a set."""
        for generation in (self.young, self._old):
            if generation:
                for key in generation.keys() & keys:
                    del generation[key]

    def clear(self) -> None:
        """Forgets everything."""
        self.young.clear()
        self._old.clear()
        self._room = self.capacity_bytes // 2

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())
