"""Reads one table file.

Index, filter and range deletes are in memory from opening on: with 16-byte keys and 100-byte values about 4 bytes a
key. Data blocks come through the cache when single keys or short ranges are read, and past it when much is read in a
row: a scan would only displace what is in use, and its blocks are read by the hundred kilobytes anyway.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import chain, repeat

from xxhash import xxh3_64_intdigest

from runtime.disk import File
from storage.engine import Corruption
from storage.lsm.block import Block, decode_block
from storage.lsm.block_shape import BlockKind
from storage.lsm.columns import SILENCE, Columns, Entry, Silence
from storage.lsm.read_counters import ReadCounters
from storage.lsm.table_format import FOOTER_BYTES, Footer, TableProperties
from structures.blocked_bloom import MASK_SHIFT, BlockedBloom, masks
from structures.shelf_cache import ShelfCache

BlockCache = ShelfCache[Block]
"""What the tables of an engine share."""
DEFAULT_CACHE_BYTES = 64 << 20
CACHED_WINDOWS = (2, 4, 8)
"""So many blocks a scan gives at once at first. These come through the cache: short scans mostly end in them."""
UNCACHED_WINDOWS = (8, 16)
"""How many it gives at once then, and WINDOW_BLOCKS_MAX at last; they are read past the cache."""
WINDOW_BLOCKS_MAX = 32
"""With blocks of 4 KiB a thousand keys of a hundred bytes, beyond which windows gain nothing."""
BULK_READ_BYTES = 1 << 20
"""What a bulk read takes from the disk at once."""


class TableReader:
    """A `Layer` in a file. Reads wait for the disk, a block at a time."""

    __slots__ = (
        "_cache",
        "_file",
        "_footer",
        "_masks",
        "_offsets",
        "_table_id",
        "filter_words",
        "path",
        "properties",
        "range_deletes",
        "reads",
        "separators",
        "shelf",
        "size_bytes",
    )

    def __init__(
        self,
        file: File,
        path: str,
        cache: BlockCache,
        footer: Footer,
        size_bytes: int,
        properties: TableProperties,
        sections: tuple[list[bytes], "array[int]", BlockedBloom, list[tuple[bytes, bytes]]],
        reads: ReadCounters,
    ) -> None:
        self.reads = reads
        """What reads of it are counted in."""
        self._file = file
        self._cache = cache
        self._footer = footer
        self._masks = masks()
        self._table_id = footer.table_id
        self.separators, self._offsets, bloom, range_deletes = sections
        """The index: for each block a key that is not less than its last, and less than the first of the next."""
        self.shelf = cache.shelf(len(self.separators))
        """The blocks in memory."""
        self.filter_words = bloom.words
        """For `Lookup`."""
        self.path = path
        self.properties = properties
        self.range_deletes: list[tuple[bytes, bytes]] = range_deletes
        """Ranges (low, high), ascending and disjoint, that are deleted from all older layers."""
        self.size_bytes = size_bytes
        """The file's length."""

    @staticmethod
    async def open(
        file: File, path: str, cache: BlockCache, *, table_id: int | None = None, reads: ReadCounters | None = None
    ) -> "TableReader":
        """Opens the table in `file`, and owns the file from then on. Raises Corruption, and OSError.

        With `table_id`, a table of another id counts as corrupt. `path` is for messages. Reads are counted in `reads`.
        """
        size_bytes = await file.size()
        footer_at = size_bytes - FOOTER_BYTES
        footer = Footer.decode(await file.pread(FOOTER_BYTES, max(0, footer_at)), path=path, offset=footer_at)
        if table_id is not None and footer.table_id != table_id:
            raise Corruption(path, footer_at, f"footer: this is table {footer.table_id}, not {table_id}")
        start = footer.filter_at
        data = await file.pread(footer_at - start, start)

        def section(kind: BlockKind, at: int, end: int) -> Block:
            return decode_block(
                data[at - start : end - start], path=path, offset=at, table_id=footer.table_id, kind=kind
            )

        filter_block = section(BlockKind.FILTER, footer.filter_at, footer.range_deletes_at)
        ranges_block = section(BlockKind.RANGE_DELETES, footer.range_deletes_at, footer.index_at)
        index_block = section(BlockKind.INDEX, footer.index_at, footer.properties_at)
        properties_block = section(BlockKind.PROPERTIES, footer.properties_at, footer_at)
        at = footer.filter_at
        try:
            bloom = BlockedBloom(filter_block.value_column())
            at = footer.range_deletes_at
            range_deletes = _pairs(ranges_block)
            at = footer.index_at
            separators = list(index_block.keys())
            offsets = _offsets(index_block.value_column(), len(separators), footer.filter_at)
            at = footer.properties_at
            properties = TableProperties.decode(dict(_pairs(properties_block)))
        except ValueError as error:
            raise Corruption(path, at, str(error)) from error
        sections = (separators, offsets, bloom, range_deletes)
        return TableReader(file, path, cache, footer, size_bytes, properties, sections, reads or ReadCounters())

    async def close(self) -> None:
        """Releases the file and what the cache holds of it. Closing twice is harmless."""
        self._cache.clear(self.shelf)
        await self._file.close()

    @property
    def table_id(self) -> int:
        """What the table was written with."""
        return self._table_id

    @property
    def block_count(self) -> int:
        """How many data blocks there are."""
        return len(self.separators)

    @property
    def memory_bytes(self) -> int:
        """What index and filter take in memory, about; the cache aside."""
        separators = sum(map(len, self.separators)) + 41 * len(self.separators)
        return separators + 8 * (len(self._offsets) + len(self.separators) + len(self.filter_words))

    def find(self, key: bytes) -> Entry | Silence:
        """The entry of a key, or SILENCE. Raises Corruption. O(log blocks); most missing keys cost one look."""
        return self.find_hashed(key, xxh3_64_intdigest(key))

    def find_hashed(self, key: bytes, value: int) -> Entry | Silence:
        """As `find`, for a caller that asks many tables: `value` is the key's xxh3_64_intdigest."""
        mask = self._masks[value >> MASK_SHIFT]
        words = self.filter_words
        if words[value % len(words)] & mask != mask:
            self.reads.filter_rejects += 1
            return SILENCE
        entry = self._find_unfiltered(key)
        if entry is SILENCE:
            self.reads.filter_false_positives += 1
        return entry

    def _find_unfiltered(self, key: bytes) -> Entry | Silence:
        separators = self.separators
        position = bisect_left(separators, key)
        if position == len(separators):
            return SILENCE
        try:
            return self._cached(position).find(key)
        except ValueError as error:
            raise self.corrupt(position, error) from error

    def columns(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[Columns]:
        """What lies in low <= key < high, in windows of two blocks at first and WINDOW_BLOCKS_MAX later.

        Raises Corruption.
        """
        first, end = self._span(low, high)
        for number, count in enumerate(chain(CACHED_WINDOWS, UNCACHED_WINDOWS, repeat(WINDOW_BLOCKS_MAX))):
            if first >= end:
                return
            start = max(first, end - count) if reverse else first
            stop = min(start + count, end)
            if number < len(CACHED_WINDOWS):
                blocks = [self._cached(position) for position in range(start, stop)]
            else:
                blocks = self._read(start, stop)
            columns = self._join(start, blocks, low, high)
            if columns.keys:
                yield columns
            if reverse:
                end = start
            else:
                first = stop

    async def bulk(self, low: bytes | None = None, high: bytes | None = None) -> AsyncGenerator[Columns, None]:
        """As `columns`, for work in the background: reads BULK_READ_BYTES at a time off the loop, past the cache.

        Decodes WINDOW_BLOCKS_MAX blocks between two columns. Raises Corruption.
        """
        first, end = self._span(low, high)
        offsets = self._offsets
        while first < end:
            stop = first + 1
            while stop < end and offsets[stop + 1] - offsets[first] <= BULK_READ_BYTES:
                stop += 1
            data = await self._file.pread(offsets[stop] - offsets[first], offsets[first])
            for start in range(first, stop, WINDOW_BLOCKS_MAX):
                blocks = self._decode_all(start, min(stop, start + WINDOW_BLOCKS_MAX), data, offsets[first])
                columns = self._join(start, blocks, low, high)
                if columns.keys:
                    yield columns
            first = stop

    def _span(self, low: bytes | None, high: bytes | None) -> tuple[int, int]:
        """The blocks that may hold keys of low <= key < high, as (first, end)."""
        separators = self.separators
        first = 0 if low is None else bisect_left(separators, low)
        end = len(separators) if high is None else min(bisect_left(separators, high) + 1, len(separators))
        return first, end

    def _cached(self, position: int) -> Block:
        block = self.shelf.things[position]
        if block is None:
            return self.load(position)
        block.used = True
        self.reads.block_hits += 1
        return block

    def load(self, position: int) -> Block:
        """A block that is not in the cache, which may keep it. Raises Corruption."""
        start = self._offsets[position]
        data = self._file.pread_now(self._offsets[position + 1] - start, start)
        block = decode_block(data, path=self.path, offset=start, table_id=self._table_id)
        self.reads.block_misses += 1
        self._cache.put(self.shelf, position, block, block.charge_bytes)
        return block

    def _read(self, first: int, end: int) -> list[Block]:
        start = self._offsets[first]
        data = self._file.pread_now(self._offsets[end] - start, start)
        self.reads.blocks_past_cache += end - first
        return self._decode_all(first, end, data, start)

    def _decode_all(self, first: int, end: int, data: bytes, start: int) -> list[Block]:
        """The blocks of [first, end) out of `data`, the bytes at `start`."""
        offsets = self._offsets
        path = self.path
        table_id = self._table_id
        return [
            decode_block(
                data[offsets[position] - start : offsets[position + 1] - start],
                path=path,
                offset=offsets[position],
                table_id=table_id,
            )
            for position in range(first, end)
        ]

    def _join(self, first: int, blocks: Sequence[Block], low: bytes | None, high: bytes | None) -> Columns:
        """One Columns of all blocks, without what is outside of low <= key < high."""
        keys: list[bytes] = []
        entries: list[Entry] = []
        plain = True
        position = first
        try:
            for block in blocks:
                keys += block.keys()
                entries += block.entries()
                plain = plain and block.plain
                position += 1
        except ValueError as error:
            raise self.corrupt(position, error) from error
        start = bisect_left(keys, low) if low is not None and keys and keys[0] < low else 0
        end = bisect_left(keys, high) if high is not None and keys and keys[-1] >= high else len(keys)
        if start or end < len(keys):
            keys = keys[start:end]
            entries = entries[start:end]
        return Columns(keys, entries, plain)

    def corrupt(self, position: int, error: ValueError) -> Corruption:
        """What is raised when a block's content is impossible although its checksum holds."""
        return Corruption(self.path, self._offsets[position], f"data block {position}: {error}")


def _pairs(block: Block) -> list[tuple[bytes, bytes]]:
    if not block.plain:
        raise ValueError("it holds more than values")
    values = [entry for entry in block.entries() if isinstance(entry, bytes)]
    return list(zip(block.keys(), values, strict=True))


def _offsets(column: bytes, count: int, end: int) -> "array[int]":
    """The offsets of all data blocks, and where the last one ends."""
    if len(column) != count * 8:
        raise ValueError(f"{count} index keys have {len(column)} bytes of offsets")
    offsets = array("Q", column)
    if sys.byteorder == "big":
        offsets.byteswap()
    offsets.frombytes(struct.pack("=Q", end))
    if (count and offsets[0]) or any(map(int.__ge__, offsets, offsets[1:])):
        raise ValueError("the index's offsets do not ascend")
    return offsets
