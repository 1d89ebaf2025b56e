"""The contract of every storage engine: an ordered map of bytes to bytes.

Keys are ordered as bytes compare. Calls are synchronous and atomic: an engine keeps what recent calls need in memory,
and moves work that waits for a disk off these calls. Engines have no log of their own: whoever stands above replays
what a crash took (DESIGN section 4), so no call here promises durability.
"""

from collections.abc import Iterator
from typing import Protocol


class WriteBatch:
    """Changes that take effect together, in the order in which they were added."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: list[tuple[bytes, bytes | None]] = []
        """(key, value) pairs; None deletes."""

    def put(self, key: bytes, value: bytes) -> None:
        """Adds a put."""
        self.operations.append((key, value))

    def delete(self, key: bytes) -> None:
        """Adds a deletion; a key that does not exist is fine."""
        self.operations.append((key, None))

    def __len__(self) -> int:
        return len(self.operations)


class Reader(Protocol):
    """What can be read."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        ...

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with low <= key < high, ascending or descending. None leaves that end open.

        On an engine itself the iterator is good until the next write; on a snapshot, until that is closed.
        """
        ...


class Snapshot(Reader, Protocol):
    """The content as of one moment. Hold it no longer than needed: what it shows cannot be reclaimed."""

    def close(self) -> None:
        """Lets go of what it holds. Closing twice is harmless."""
        ...


class Engine(Reader, Protocol):
    """One ordered map."""

    def put(self, key: bytes, value: bytes) -> None:
        """Sets the value of `key`."""
        ...

    def delete(self, key: bytes) -> None:
        """Removes `key`; one that does not exist is fine."""
        ...

    def write(self, batch: WriteBatch) -> None:
        """Applies all of a batch, or none of it."""
        ...

    def snapshot(self) -> Snapshot:
        """The content as of now. Later writes do not show in it."""
        ...

    @property
    def size_bytes(self) -> int:
        """What the keys and values take, about."""
        ...
