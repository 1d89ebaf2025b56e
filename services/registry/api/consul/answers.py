"""Answers as bytes, kept until the index of what they tell has changed.

Encoding a service with a hundred instances costs a millisecond; that many clients ask for it whenever it changes.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeAlias

ENTRIES_MAX = 2048
BYTES_MAX = 32 * 1024 * 1024
"""Of all bodies together."""

Key: TypeAlias = Hashable


class EncodedAnswers:
    """The least recently used go first."""

    def __init__(self, entries_max: int = ENTRIES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[Key, tuple[int, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forgets all: what an index stood for may have changed, since kv was set up anew."""
        self._kept.clear()
        self._bytes = 0

    def get(self, key: Key, index: int, encode: Callable[[], bytes]) -> bytes:
        """The body that was encoded under this key and index; encodes it when there is none. O(1) otherwise."""
        kept = self._kept.get(key)
        if kept is not None:
            if kept[0] == index:
                self._kept.move_to_end(key)
                return kept[1]
            del self._kept[key]
            self._bytes -= len(kept[1])
        body = encode()
        if len(body) > self._bytes_max:
            return body
        self._kept[key] = (index, body)
        self._bytes += len(body)
        while len(self._kept) > self._entries_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._kept.popitem(last=False)[1][1])
        return body
