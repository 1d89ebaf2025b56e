"""Files in memory, and tables in them."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from storage.lsm.block import Block
from storage.lsm.columns import Columns, Entry, Expiring, Operands
from storage.lsm.compression import Compression
from storage.lsm.table_reader import TableReader
from storage.lsm.table_writer import TableWriter
from structures.shelf_cache import ShelfCache

T = TypeVar("T")


@dataclass
class MemoryFile:
    """A `runtime.disk.File` whose bytes a test may look at and damage."""

    data: bytearray = field(default_factory=bytearray)
    reads: int = 0
    closed: bool = False

    async def pread(self, length: int, offset: int) -> bytes:
        return self.pread_now(length, offset)

    def pread_now(self, length: int, offset: int) -> bytes:
        assert not self.closed
        self.reads += 1
        return bytes(self.data[offset : offset + length])

    async def pwrite(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> None:
        self.pwrite_now(parts, offset)

    def pwrite_now(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> float:
        data = b"".join(parts)
        self.data[offset : offset + len(data)] = data
        return 0.0

    async def sync(self) -> None:
        pass

    async def truncate(self, size: int) -> None:
        del self.data[size:]

    async def size(self) -> int:
        return len(self.data)

    async def close(self) -> None:
        self.closed = True

    def close_now(self) -> None:
        self.closed = True


def finish(coroutine: Coroutine[object, object, T]) -> T:
    """What a coroutine gives that never waits, since its files are in memory: a hundred times cheaper than a loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waited")


class Tables:
    """Makes tables."""

    def __init__(self, cache_bytes: int = 1 << 20) -> None:
        self.cache: ShelfCache[Block] = ShelfCache(cache_bytes)
        self.next_id = 1

    def encode(
        self,
        keys: Sequence[bytes],
        entries: Sequence[Entry],
        ranges: Sequence[tuple[bytes, bytes]] = (),
        *,
        compression: Compression = Compression.NONE,
        block_bytes: int = 256,
        chunk: int = 7,
        table_id: int | None = None,
    ) -> bytes:
        """The bytes of a table file; the columns are added `chunk` keys at a time."""
        if table_id is None:
            table_id = self.next_id
            self.next_id += 1
        writer = TableWriter(table_id=table_id, compression=compression, block_bytes=block_bytes, created_ms=5)
        parts: list[bytes] = []
        for start in range(0, len(keys), chunk):
            part = list(entries[start : start + chunk])
            plain = all(isinstance(entry, bytes) for entry in part)
            parts += writer.add(Columns(list(keys[start : start + chunk]), part, plain))
        writer.add_range_deletes(ranges)
        for more in writer.finish():
            parts += more
        data = b"".join(parts)
        assert len(data) == writer.written_bytes
        return data

    async def open(self, data: bytes, *, table_id: int | None = None) -> TableReader:
        return await TableReader.open(MemoryFile(bytearray(data)), "t.table", self.cache, table_id=table_id)

    async def make(
        self,
        pairs: dict[bytes, Entry],
        ranges: Sequence[tuple[bytes, bytes]] = (),
        *,
        compression: Compression = Compression.NONE,
        block_bytes: int = 256,
    ) -> TableReader:
        keys = sorted(pairs)
        data = self.encode(keys, [pairs[key] for key in keys], ranges, compression=compression, block_bytes=block_bytes)
        return await self.open(data)


def show(entry: object) -> object:
    """Something that compares by content."""
    if isinstance(entry, Operands):
        return ("operands", tuple(entry.operands))
    if isinstance(entry, Expiring):
        return ("expiring", entry.value, entry.expires_ms)
    return entry
