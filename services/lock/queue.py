"""Who holds a lock, given who stands in its queue: pure.

The queue is all keys below `<name>/`, in the order in which they were created, as in etcd's recipes. Those who hold the
lock are always a first part of it, since nobody overtakes:

| at the head | then hold as well |
|---|---|
| exclusive | nobody |
| shared | every shared place that follows without another kind between |
| semaphore | every semaphore place that follows, as long as all permits fit into the least limit that one states |

Two rules follow, on which all else stands. A place can only move forward, because nobody is ever put before it: so a
state that is behind may call a place waiting which is granted, but never the reverse, as long as the key is there. And
grants happen in the order of create revisions: so the create revision is a fencing token that strictly increases.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Mode = Literal["exclusive", "shared", "semaphore"]

PERMITS_MAX = 1_000_000
"""The largest limit of a semaphore."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in the queue."""

    key: bytes
    create_revision: int
    mod_revision: int
    lease: int
    mode: Mode
    permits: int = 1
    limit: int = 1
    owner: str = ""
    holds: tuple[int, ...] = ()
    """The holds of the session on this key; empty for keys of other clients."""
    until_ms: int = 0
    """The wall time at which it is taken away; 0: never."""
    foreign: bool = False
    """Put there by another client of etcd's recipes; it is exclusive then."""


def granted(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Those who hold the lock, given the queue in order. O(holders)."""
    mode: Mode | None = None
    limit, used = PERMITS_MAX, 0
    for entry in entries:
        if mode is None:
            mode = entry.mode
        elif entry.mode != mode or mode == "exclusive":
            return
        if mode == "semaphore":
            # The least limit that a holder was told: no holder is ever one of more than it agreed to. One that takes
            # more permits than that waits until it is alone.
            limit = min(limit, entry.limit)
            if used and used + entry.permits > limit:
                return
            used += entry.permits
        yield entry


def waits_for(entries: Sequence[Entry], key: bytes) -> bytes | None:
    """The key whose leaving is the next thing that brings `key` forward; None when it holds, or is not there. O(n).

    An exclusive place waits for the one right before it, a shared one for the last before it that is not shared, and
    one of a semaphore for the oldest holder, unless something else than a semaphore stands before it.
    """
    place = next((index for index, entry in enumerate(entries) if entry.key == key), None)
    if place is None or any(entry.key == key for entry in granted(entries)):
        return None
    mode = entries[place].mode
    if mode == "exclusive":
        return entries[place - 1].key
    for entry in reversed(entries[:place]):
        if entry.mode != mode:
            return entry.key
    return entries[0].key


class LockQueue:
    """The queue of one lock, kept up to date by kv's events. Events may come twice, but in order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """`entries` in the order of their create revisions."""
        self._entries: OrderedDict[bytes, Entry] = OrderedDict((entry.key, entry) for entry in entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, key: bytes) -> Entry | None:
        """A place, or None."""
        return self._entries.get(key)

    def put(self, entry: Entry) -> None:
        """A key was created, or its value changed; a changed one keeps its place. O(1)."""
        known = self._entries.get(entry.key)
        if known is not None and known.create_revision != entry.create_revision:
            # Removed and created again: it stands at the end now.
            del self._entries[entry.key]
        self._entries[entry.key] = entry

    def remove(self, key: bytes) -> Entry | None:
        """A key is gone. O(1)."""
        return self._entries.pop(key, None)

    def granted(self) -> Iterator[Entry]:
        """Those who hold the lock. O(holders)."""
        return granted(self._entries.values())
