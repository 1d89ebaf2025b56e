"""The contract of every storage engine: an ordered map of bytes to bytes.

Keys are ordered as bytes compare. Calls are synchronous and atomic: an engine keeps what recent calls need in memory,
and moves writing and syncing off these calls. A read may wait for a device, for one block at a time.

An engine needs no log of its own: whoever stands above replays what a crash took (DESIGN section 4). After a crash an
engine on a disk holds what the last `flush` covered, or the state after some later write: never half of a batch, and
never a write without all that came before it. So a number written in each batch tells what the engine holds.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias

from storage.measures import Measure


class DeleteRange:
    """Removes every key with low <= key < high. In `WriteBatch.operations`, beside the key `low`."""

    __slots__ = ("high",)

    def __init__(self, high: bytes) -> None:
        self.high = high


class Merge:
    """An operand for the engine's merge operator. In `WriteBatch.operations`, beside its key."""

    __slots__ = ("operand",)

    def __init__(self, operand: bytes) -> None:
        self.operand = operand


Operation: TypeAlias = bytes | DeleteRange | Merge | None
"""What happens to a key: a value is put, None deletes."""


class WriteBatch:
    """Changes that take effect together, in the order in which they were added."""

    __slots__ = ("operations", "plain")

    def __init__(self) -> None:
        self.operations: list[tuple[bytes, Operation]] = []
        """(key, operation) pairs."""
        self.plain = True
        """Whether there is nothing but puts and deletions, which engines apply at once."""

    def put(self, key: bytes, value: bytes) -> None:
        """Adds a put."""
        self.operations.append((key, value))

    def delete(self, key: bytes) -> None:
        """Adds a deletion; a key that does not exist is fine."""
        self.operations.append((key, None))

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Adds the deletion of every key with low <= key < high; an empty range is fine."""
        self.plain = False
        self.operations.append((low, DeleteRange(high)))

    def merge(self, key: bytes, operand: bytes) -> None:
        """Adds an operand for the engine's merge operator."""
        self.plain = False
        self.operations.append((key, Merge(operand)))

    def __len__(self) -> int:
        return len(self.operations)


class MergeOperator(Protocol):
    """How operands change a value without its being read first. Must be associative, and never fail."""

    @property
    def name(self) -> str:
        """Is kept with the data: an engine refuses to open with another operator than it was written with."""
        ...

    def combine(self, operands: list[bytes]) -> bytes:
        """One operand (or value) that does what all of them do, oldest first; there is at least one."""
        ...


class Reader(Protocol):
    """What can be read."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None. Raises Corruption."""
        ...

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with low <= key < high, ascending or descending. None leaves that end open. Raises Corruption.

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

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Removes every key with low <= key < high; an empty range is fine."""
        ...

    def merge(self, key: bytes, operand: bytes) -> None:
        """Changes the value of `key` by the merge operator. Raises NoMergeOperator."""
        ...

    def write(self, batch: WriteBatch) -> None:
        """Applies all of a batch, or none of it. Raises NoMergeOperator."""
        ...

    def snapshot(self) -> Snapshot:
        """The content as of now. Later writes do not show in it."""
        ...

    @property
    def size_bytes(self) -> int:
        """What the keys and values take, about."""
        ...


class DurableEngine(Engine, Protocol):
    """An engine on a disk."""

    async def throttle(self) -> None:
        """Waits while writes run further ahead of the disk than the engine allows; at once when they do not.

        Writers call it between their writes. An engine whose background work failed raises that failure here, and from
        every write after it.
        """
        ...

    async def flush(self) -> None:
        """Returns when everything written before the call is durable. Raises OSError; the engine is then of no use."""
        ...

    async def checkpoint(self, path: str) -> None:
        """Makes a copy of the content as of now in a directory of the same disk that does not exist yet.

        The copy opens as an engine of its own, and is durable on return.
        """
        ...

    def measures(self) -> Iterable[Measure]:
        """What it tells of itself, for metrics. May take as long as a look at every file's name."""
        ...

    async def close(self) -> None:
        """Stops background work and releases the files. Does not flush. Closing twice is harmless."""
        ...


class NoMergeOperator(ValueError):
    """The engine was opened without one."""


class Corruption(OSError):
    """Bytes on the disk are not what was written. Names the file, the offset and the block; nothing of it is used."""

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(f"{path}: corrupt at offset {offset}: {what}")
        self.path = path
        self.offset = offset
        self.what = what

    def __reduce__(self) -> tuple[type["Corruption"], tuple[str, int, str]]:
        # It may come from another process; OSError would be made anew from its text alone.
        return Corruption, (self.path, self.offset, self.what)
