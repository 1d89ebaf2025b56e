"""The format of a block: columns of keys and entries under one checksum. docs/decisions/0012-table-format.md says why.

A table file is nothing but blocks, one behind another, and a footer. All integers are little-endian.

    header (32): magic 2, kind u8, compression u8, flags u32, stored bytes u32, raw bytes u32, count u32,
                 prefix bytes u32, key bytes u32, value bytes u32
    payload:     prefix | [key offsets] | keys | [kinds] | [value offsets] | values
    CRC32C u32 of all before

All keys begin with the prefix, which the keys column leaves out. A column of lengths that are all the same is one
number in the header; otherwise the header says LENGTHS_VARY, and count + 1 offsets (u16, or u32 when flagged wide)
stand before the column. The kinds (u8 each) are there unless every entry is a value. The CRC starts from the table's id
and the block's offset: bytes of another table or another place never validate.

A lookup does not decode a block: it finds the key in the column, and slices the value out of the bytes.
"""

import struct
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import google_crc32c

from storage.engine import Corruption
from storage.lsm.block_shape import (
    BLOCK_COUNT_MAX,
    BLOCK_MAGIC,
    BLOCK_RAW_BYTES_MAX,
    FRAME_BYTES,
    HEADER,
    HEADER_BYTES,
    LENGTHS_VARY,
    PLAIN,
    WIDE_KEYS,
    WIDE_VALUES,
    BlockKind,
    BlockShape,
)
from storage.lsm.columns import SILENCE, Columns, Entry, Silence
from storage.lsm.compression import Compression, compress, decompress
from storage.lsm.entry_format import DELETED, VALUE, decode_entry, encode_entries
from storage.lsm.key_ranges import shared_length

_CRC = struct.Struct("<I")
_CRC_RESIDUE = 0x48674BC7
"""What the CRC32C of anything with its own CRC behind it is: checking takes no slice."""
_MIX = 0x9E3779B97F4A7C15
_PAIR = (struct.Struct("<HH"), struct.Struct("<II"))
_PREFIX_SHARE = 8
"""A prefix is left out when that saves at least one byte in so many: putting it back costs a step per key."""
_TRIES_MAX = 8
"""Keys with the same last byte that a lookup compares one by one before it bisects."""
_CACHED_COUNT_MAX = 1024
_BLOCK_OVERHEAD_BYTES = 280
"""What a `Block` in a cache takes beside its bytes, with its place in the cache's queue."""
_SHAPE_BYTES = 800
"""What a shape takes that is not shared."""
_KEY_OVERHEAD_BYTES = 41
"""A `bytes` object and the pointer to it."""


def _make_cells(length: int, count: int) -> struct.Struct:
    """What cuts a column of `count` cells of one length, in one call."""
    return struct.Struct(f"{length}s" * count)


_cached_cells = lru_cache(maxsize=256)(_make_cells)


def _cells(length: int, count: int) -> struct.Struct:
    # An index may have millions of cells; what cuts those is made once and must not stay.
    return _cached_cells(length, count) if count <= _CACHED_COUNT_MAX else _make_cells(length, count)


def _offsets(wide: bool, count: int) -> struct.Struct:
    return struct.Struct(f"<{count + 1}{'I' if wide else 'H'}")


_shapes: dict[bytes, BlockShape] = {}
"""Laid out shapes by header: the blocks of a table mostly look the same."""
_SHAPES_MAX = 1024


class Block:
    """A block whose checksum held, in its raw form."""

    __slots__ = ("_data", "_keys", "_shape", "_tails", "used")

    def __init__(self, shape: BlockShape, data: bytes) -> None:
        self._shape = shape
        self._data = data
        self._keys: Sequence[bytes] | None = None
        self._tails: bytes | None = None
        self.used = False
        """A mark that belongs to the cache."""

    @property
    def count(self) -> int:
        """How many keys it holds."""
        return self._shape.count

    @property
    def plain(self) -> bool:
        """Whether every entry is a value."""
        return self._shape.plain

    @property
    def charge_bytes(self) -> int:
        """What it takes in memory once it has been looked into."""
        shape = self._shape
        own = len(self._data) + shape.count + _BLOCK_OVERHEAD_BYTES
        if not shape.is_shared:
            own += _SHAPE_BYTES
        if not shape.find_bytes:
            own += shape.keys_end - shape.keys_at + shape.count * (_KEY_OVERHEAD_BYTES + shape.prefix_bytes)
        return own

    def keys(self) -> Sequence[bytes]:
        """All keys. Raises ValueError. O(count), in C where lengths do not vary."""
        shape = self._shape
        keys: Sequence[bytes]
        if shape.key_bytes == LENGTHS_VARY:
            keys = _cut(self._data, shape.keys_at, shape.count, shape.wide_keys)
        else:
            keys = _cells(shape.key_bytes, shape.count).unpack_from(self._data, shape.keys_at)
        if shape.prefix_bytes:
            prefix = self._data[shape.prefix_at : shape.prefix_at + shape.prefix_bytes]
            return [prefix + key for key in keys]
        return keys

    def entries(self) -> Sequence[Entry]:
        """The entry of each key. Raises ValueError. O(count), in C where lengths do not vary."""
        shape = self._shape
        values: Sequence[bytes]
        if shape.value_bytes == LENGTHS_VARY:
            values = _cut(self._data, shape.values_at, shape.count, shape.wide_values)
        else:
            values = _cells(shape.value_bytes, shape.count).unpack_from(self._data, shape.values_at)
        if shape.plain:
            return values
        kinds = self._data[shape.keys_end : shape.keys_end + shape.count]
        return [
            value if kind == VALUE else None if kind == DELETED and not value else decode_entry(kind, value)
            for kind, value in zip(kinds, values, strict=True)
        ]

    def value_column(self) -> bytes:
        """The values of all keys, joined."""
        return self._data[self._shape.values_at : self._shape.values_end]

    def columns(self) -> Columns:
        """Keys and entries. Raises ValueError."""
        return Columns(list(self.keys()), list(self.entries()), self._shape.plain)

    def find(self, key: bytes) -> Entry | Silence:
        """The entry of `key`, or SILENCE. Raises ValueError. O(log count), or a search for one byte."""
        # Written out for what is common, nothing but values and no lengths that vary: every step here is a share of a
        # hot read's microsecond.
        shape = self._shape
        if len(key) != shape.quick_bytes:
            return self._find_slowly(key)
        tails = self._tails
        if tails is None:
            tails = self._cut_tails()
        position = tails.find(key[-1])
        if position < 0:
            return SILENCE
        data = self._data
        if data.startswith(key, shape.keys_at + position * shape.quick_bytes):
            at = shape.values_at + position * shape.value_bytes
            return data[at : at + shape.value_bytes]
        return self._find_by_tail(key, key, tails.find(key[-1], position + 1))

    def _cut_tails(self) -> bytes:
        """The last byte of each key: a search for one byte is what runs fastest."""
        shape = self._shape
        tails = self._tails = self._data[shape.tails_at : shape.keys_end : shape.find_bytes]
        return tails

    def _find_slowly(self, key: bytes) -> Entry | Silence:
        shape = self._shape
        if not shape.find_bytes:
            return self._find_by_order(key)
        prefix_bytes = shape.prefix_bytes
        if len(key) != prefix_bytes + shape.find_bytes:
            return SILENCE
        if not key.startswith(self._data[shape.prefix_at : shape.prefix_at + prefix_bytes]):
            return SILENCE
        return self._find_by_tail(key, key[prefix_bytes:], (self._tails or self._cut_tails()).find(key[-1]))

    def _find_by_tail(self, key: bytes, suffix: bytes, position: int) -> Entry | Silence:
        """Goes on at `position`, where the last byte is that of the key."""
        data, shape, tails = self._data, self._shape, self._tails
        assert tails is not None
        for _ in range(_TRIES_MAX):
            if position < 0:
                return SILENCE
            if data.startswith(suffix, shape.keys_at + position * shape.find_bytes):
                return self._entry(position)
            position = tails.find(key[-1], position + 1)
        return self._find_by_order(key)

    def _find_by_order(self, key: bytes) -> Entry | Silence:
        keys = self._keys
        if keys is None:
            keys = self.keys()
            if not self._shape.find_bytes:
                # Charged for from the start, see `charge_bytes`.
                self._keys = keys
        position = bisect_left(keys, key)
        if position == len(keys) or keys[position] != key:
            return SILENCE
        return self._entry(position)

    def _entry(self, position: int) -> Entry:
        shape = self._shape
        size = shape.value_bytes
        if size == LENGTHS_VARY:
            wide = shape.wide_values
            start, end = _PAIR[wide].unpack_from(self._data, shape.value_offsets_at + position * (4 if wide else 2))
        else:
            start = position * size
            end = start + size
        at = shape.values_at
        value = self._data[at + start : at + end]
        if shape.plain:
            return value
        kind = self._data[shape.keys_end + position]
        return value if kind == VALUE else decode_entry(kind, value)


def encode_block(
    kind: BlockKind,
    keys: Sequence[bytes],
    entries: Sequence[Entry],
    *,
    plain: bool,
    compression: Compression,
    table_id: int,
    offset: int,
    lengths: tuple[int | None, int | None] = (None, None),
) -> bytes:
    """The block that is to stand at `offset`; `keys` ascend. Raises ValueError beyond BLOCK_RAW_BYTES_MAX.

    A caller that knows the length that all keys, or all values, have says so in `lengths`, which spares looking.

    A block that compression would not make at least one eighth smaller is stored as it is.
    """
    count = len(keys)
    flags = 0
    values: Sequence[bytes]
    kinds = b""
    if plain or set(map(type, entries)) <= {bytes}:
        flags |= PLAIN
        values = entries  # type: ignore[assignment] # all are values, as just looked at
    else:
        kinds, values = encode_entries(entries)
    prefix = b""
    if compression is Compression.NONE and count > 1:
        prefix = _prefix_worth_leaving_out(keys, values)
        if prefix:
            skipped = len(prefix)
            keys = [key[skipped:] for key in keys]
            lengths = (None if lengths[0] is None else lengths[0] - skipped, lengths[1])
    key_bytes, key_offsets, key_column, wide = _column(keys, lengths[0])
    flags |= WIDE_KEYS * wide
    value_bytes, value_offsets, value_column, wide = _column(values, lengths[1])
    flags |= WIDE_VALUES * wide
    raw = b"".join((prefix, key_offsets, key_column, kinds, value_offsets, value_column))
    if len(raw) > BLOCK_RAW_BYTES_MAX or count > BLOCK_COUNT_MAX:
        raise ValueError(f"a block of {count} keys and {len(raw)} bytes is beyond the format's limits")
    stored = raw
    if compression is not Compression.NONE:
        stored = compress(compression, raw)
        if len(stored) > len(raw) - len(raw) // 8:
            stored = raw
            compression = Compression.NONE
    head = HEADER.pack(
        BLOCK_MAGIC, kind, compression, flags, len(stored), len(raw), count, len(prefix), key_bytes, value_bytes
    )
    body = head + stored
    return body + _CRC.pack(google_crc32c.extend(_seed(table_id, offset), body))


def decode_block(data: bytes, *, path: str, offset: int, table_id: int, kind: BlockKind = BlockKind.DATA) -> Block:
    """The block of which `data` is the whole, at `offset` of the file `path`. Raises Corruption."""
    # The checksum first: everything behind it may then be taken for what was written.
    if google_crc32c.extend((table_id * _MIX >> 16) + offset & 0xFFFFFFFF, data) != _CRC_RESIDUE:
        raise Corruption(path, offset, f"{kind.name.lower()} block: its checksum is wrong")
    header = data[:HEADER_BYTES]
    shape = _shapes.get(header)
    try:
        if shape is None:
            shape, data = _shape_of(header, data)
        elif len(data) != shape.stored_bytes + FRAME_BYTES:
            raise ValueError(f"it says {shape.stored_bytes} bytes, and has {len(data) - FRAME_BYTES}")
        elif shape.compression:
            data = decompress(shape.compression, data[HEADER_BYTES : -_CRC.size], shape.raw_bytes)
        if shape.kind != kind:
            raise ValueError(f"it is of kind {shape.kind}")
    except ValueError as error:
        raise Corruption(path, offset, f"{kind.name.lower()} block: {error}") from error
    return Block(shape, data)


def _shape_of(header: bytes, data: bytes) -> tuple[BlockShape, bytes]:
    """The shape of a block, and its raw data. Raises ValueError."""
    if len(data) < FRAME_BYTES:
        raise ValueError("it is cut short")
    shape = BlockShape(header)
    if len(data) != shape.stored_bytes + FRAME_BYTES:
        raise ValueError(f"it says {shape.stored_bytes} bytes, and has {len(data) - FRAME_BYTES}")
    if shape.compression:
        data = decompress(shape.compression, data[HEADER_BYTES : -_CRC.size], shape.raw_bytes)
    elif shape.raw_bytes != shape.stored_bytes:
        raise ValueError(f"it says {shape.raw_bytes} bytes, and stores {shape.stored_bytes} as they are")
    shape.lay_out(data)
    if shape.is_shared:
        if len(_shapes) >= _SHAPES_MAX:
            _shapes.clear()
        _shapes[header] = shape
    return shape, data


def _seed(table_id: int, offset: int) -> int:
    # What the CRC starts from. A CRC is one-to-one in its start: another offset in the same table never validates.
    return (table_id * _MIX >> 16) + offset & 0xFFFFFFFF


def _column(cells: Sequence[bytes], length: int | None) -> tuple[int, bytes, bytes, bool]:
    """The length that all cells have or LENGTHS_VARY, the offsets, the joined cells, whether the offsets are wide."""
    joined = b"".join(cells)
    if length is not None:
        return length, b"", joined, False
    lengths = set(map(len, cells))
    if len(lengths) <= 1:
        return (lengths.pop() if lengths else 0), b"", joined, False
    wide = len(joined) > 0xFFFF
    return (
        LENGTHS_VARY,
        _offsets(wide, len(cells)).pack(*accumulate(map(len, cells), initial=0)),
        joined,
        wide,
    )


def _cut(data: bytes, at: int, count: int, wide: bool) -> list[bytes]:
    """The `count` cells at `at`, whose offsets stand before them."""
    cutter = _offsets(wide, count)
    offsets = cutter.unpack_from(data, at - cutter.size)
    cells = [data[at + start : at + end] for start, end in pairwise(offsets)]
    # Offsets that go back and forth would give cells that overlap: the lengths then add up to more than the last.
    if offsets[0] or sum(map(len, cells)) != offsets[-1]:
        raise ValueError("its offsets do not ascend")
    return cells


def _prefix_worth_leaving_out(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    prefix = keys[0][: shared_length(keys[0], keys[-1])]
    if not prefix:
        return b""
    # The first entry stands for all: this is about what is worth it, not about what is right.
    typical = len(keys[0]) + len(values[0])
    return prefix if len(prefix) * _PREFIX_SHARE >= typical else b""
