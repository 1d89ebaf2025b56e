"""Makes a table file out of ascending columns. Does no I/O itself: it gives what is to be written, in order.

The caller decides when to write, how fast, and what else runs in between: one call works for about a microsecond a key,
so columns of a few hundred to two thousand keys are slices of a millisecond or two.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import add

from xxhash import xxh3_64_digest

from storage.lsm.block import encode_block
from storage.lsm.block_shape import BlockKind
from storage.lsm.columns import Columns, Entry, Expiring, Operands
from storage.lsm.compression import Compression
from storage.lsm.key_ranges import coalesce, shared_length
from storage.lsm.table_format import (
    DEFAULT_BLOCK_BYTES,
    DEFAULT_FILTER_BITS_PER_KEY,
    Footer,
    TableProperties,
)
from structures.blocked_bloom import BlockedBloomBuilder

_FILTER_SLICE_BYTES = 8 * 8192
"""Hashes, of 8 bytes each, that go into the filter between two parts: about two milliseconds."""
_OFFSET = struct.Struct("<Q")


class TableWriter:
    """One table in the making: `add` columns, then drain `finish`, and write all parts one behind another."""

    def __init__(
        self,
        *,
        table_id: int,
        compression: Compression = Compression.NONE,
        block_bytes: int = DEFAULT_BLOCK_BYTES,
        filter_bits_per_key: int = DEFAULT_FILTER_BITS_PER_KEY,
        operator: str = "",
        created_ms: int = 0,
    ) -> None:
        """`table_id` (64 bits) is never given to two tables: blocks of another one do not validate."""
        self.properties = TableProperties(table_id=table_id, operator=operator, created_ms=created_ms)
        """Of what was added so far; complete once `finish` is drained."""
        self.written_bytes = 0
        """The length of all parts given out so far; at the end, the file's."""
        self._table_id = table_id
        self._compression = compression
        self._block_bytes = block_bytes
        self._filter_bits_per_key = filter_bits_per_key
        self._keys: list[bytes] = []
        self._entries: list[Entry] = []
        self._plain = True
        self._digests: list[bytes] = []
        self._separators: list[bytes] = []
        self._offsets: list[bytes] = []
        self._last_of_block: bytes | None = None
        self._ranges: list[tuple[bytes, bytes]] = []

    @property
    def size_bytes(self) -> int:
        """What the file takes so far, with what is not written yet, about."""
        index_bytes = 24 * len(self._offsets)
        return self.written_bytes + index_bytes + self.properties.count * self._filter_bits_per_key // 8

    def add(self, columns: Columns) -> list[bytes]:
        """Adds what follows all that was added before. The parts to write now; often none. O(keys).

        Raises ValueError when the keys do not follow, or an entry is beyond the format's limits.
        """
        keys = columns.keys
        if not keys:
            return []
        properties = self.properties
        if not properties.count:
            properties.smallest = keys[0]
        elif keys[0] <= properties.largest:
            raise ValueError(f"key {keys[0]!r} does not follow {properties.largest!r}")
        properties.largest = keys[-1]
        properties.count += len(keys)
        if not columns.plain:
            self._count_special(columns.entries)
            self._plain = False
        # Digests are bytes, big-endian: joined, they become numbers all at once when the filter is made.
        self._digests.append(b"".join(map(xxh3_64_digest, keys)))
        self._keys += keys
        self._entries += columns.entries
        return self._cut(last=False)

    def add_range_deletes(self, ranges: Sequence[tuple[bytes, bytes]]) -> None:
        """Adds ranges (low, high) that are deleted from all older layers, in any order, overlapping or not."""
        self._ranges += ranges

    def finish(self) -> Iterator[list[bytes]]:
        """The parts that end the file. Between two of them is a few milliseconds' work; some are empty."""
        yield self._cut(last=True)
        filter_at = self.written_bytes
        builder = BlockedBloomBuilder(self.properties.count, self._filter_bits_per_key)
        digests = b"".join(self._digests)
        self._digests = []
        for start in range(0, len(digests), _FILTER_SLICE_BYTES):
            hashes = array("Q", digests[start : start + _FILTER_SLICE_BYTES])
            if sys.byteorder == "little":
                hashes.byteswap()
            builder.add(hashes)
            yield []
        yield [self._block(BlockKind.FILTER, [b""], [builder.encode()])]
        ranges = coalesce(self._ranges)
        self.properties.range_deletes = len(ranges)
        range_deletes_at = self.written_bytes
        yield [self._block(BlockKind.RANGE_DELETES, [low for low, _ in ranges], [high for _, high in ranges])]
        index_at = self.written_bytes
        if self._last_of_block is not None:
            self._separators.append(self._last_of_block)
        yield [self._block(BlockKind.INDEX, self._separators, self._offsets)]
        properties_at = self.written_bytes
        self.properties.data_blocks = len(self._offsets)
        self.properties.data_bytes = filter_at
        parts = [self._block(BlockKind.PROPERTIES, *self.properties.encode())]
        footer = Footer(self._table_id, filter_at, range_deletes_at, index_at, properties_at).encode()
        self.written_bytes += len(footer)
        parts.append(footer)
        yield parts

    def _count_special(self, entries: Sequence[Entry]) -> None:
        properties = self.properties
        counts = Counter(map(type, entries))
        properties.deletions += counts[type(None)]
        properties.operands += counts[Operands]
        if counts[Expiring]:
            expires_ms = [entry.expires_ms for entry in entries if isinstance(entry, Expiring)]
            earliest, latest = max(0, min(expires_ms)), max(0, *expires_ms)
            if properties.expiring:
                earliest = min(earliest, properties.expires_ms_min)
                latest = max(latest, properties.expires_ms_max)
            properties.expiring += len(expires_ms)
            properties.expires_ms_min, properties.expires_ms_max = earliest, latest

    def _cut(self, *, last: bool) -> list[bytes]:
        """Cuts whole blocks off the front of what is pending; with `last`, everything."""
        keys, entries, plain = self._keys, self._entries, self._plain
        if not keys:
            return []
        key_lengths = set(map(len, keys))
        sizes: Sequence[int]
        if plain:
            values: list[bytes] = entries  # type: ignore[assignment] # plain says so
            value_lengths = set(map(len, values))
            lengths = (_only(key_lengths), _only(value_lengths))
            pair_bytes = sum(key_lengths) + sum(value_lengths)
            if len(key_lengths) == len(value_lengths) == 1 and pair_bytes:
                sizes = range(pair_bytes, pair_bytes * len(keys) + 1, pair_bytes)
            else:
                sizes = list(accumulate(map(add, map(len, keys), map(len, values))))
        else:
            lengths = (_only(key_lengths), None)
            sizes = list(accumulate(map(add, map(len, keys), map(_entry_bytes, entries))))
        parts: list[bytes] = []
        start = 0
        block_bytes = self._block_bytes
        raw_before = 0
        while True:
            end = bisect_left(sizes, raw_before + block_bytes, start) + 1
            if end > len(keys):
                if not last:
                    break
                end = len(keys)
            if start == end:
                break
            self._seal(keys[start])
            self._offsets.append(_OFFSET.pack(self.written_bytes))
            block_plain = plain or set(map(type, entries[start:end])) == {bytes}
            parts.append(self._block(BlockKind.DATA, keys[start:end], entries[start:end], block_plain, lengths))
            self._last_of_block = keys[end - 1]
            raw_before = sizes[end - 1]
            start = end
        self.properties.raw_bytes += raw_before
        del keys[:start]
        del entries[:start]
        # What is left is less than a block: looking again keeps one deletion from slowing down the rest of the table.
        self._plain = plain or set(map(type, entries)) <= {bytes}
        return parts

    def _seal(self, first: bytes) -> None:
        """Makes the index key of the block before the one that begins with `first`: short, and between the two."""
        last = self._last_of_block
        if last is not None:
            shared = shared_length(last, first)
            self._separators.append(first[: shared + 1] if len(first) > shared + 1 else last)

    def _block(
        self,
        kind: BlockKind,
        keys: Sequence[bytes],
        entries: Sequence[Entry],
        plain: bool = True,
        lengths: tuple[int | None, int | None] = (None, None),
    ) -> bytes:
        block = encode_block(
            kind,
            keys,
            entries,
            plain=plain,
            compression=self._compression if kind is BlockKind.DATA else Compression.NONE,
            table_id=self._table_id,
            offset=self.written_bytes,
            lengths=lengths,
        )
        self.written_bytes += len(block)
        return block


def _only(lengths: set[int]) -> int | None:
    return next(iter(lengths)) if len(lengths) == 1 else None


def _entry_bytes(entry: Entry) -> int:
    if entry is None:
        return 0
    if isinstance(entry, bytes):
        return len(entry)
    if isinstance(entry, Expiring):
        return len(entry.value) + 8
    return sum(map(len, entry.operands)) + 4 * len(entry.operands) + 4
