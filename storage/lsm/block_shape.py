"""What the header of a block says, and where its columns are; `storage/lsm/block.py` draws the format."""

import enum
import struct

from storage.lsm.compression import Compression

BLOCK_MAGIC = b"\xf5B"
HEADER_BYTES = 32
FRAME_BYTES = HEADER_BYTES + 4
"""Header and checksum."""
LENGTHS_VARY = 0xFFFFFFFF
"""Instead of a length that all have: offsets follow."""
BLOCK_RAW_BYTES_MAX = 1 << 30
"""More than this is taken for damage, and never allocated."""
BLOCK_COUNT_MAX = 1 << 24
"""Keys in a block; an index has one for each block of its table."""

PLAIN = 1
WIDE_KEYS = 2
WIDE_VALUES = 4
FLAGS = PLAIN | WIDE_KEYS | WIDE_VALUES

HEADER = struct.Struct("<2sBBIIIIIII")


class BlockKind(enum.IntEnum):
    """What a block holds."""

    DATA = 1
    INDEX = 2
    FILTER = 3
    RANGE_DELETES = 4
    PROPERTIES = 5


_KINDS = frozenset(BlockKind)
_COMPRESSIONS = frozenset(Compression)


class BlockShape:
    """Where in a block's bytes its columns are. Blocks whose headers are equal, and all lengths with them, share it."""

    __slots__ = (
        "compression",
        "count",
        "find_bytes",
        "key_bytes",
        "keys_at",
        "keys_end",
        "kind",
        "plain",
        "prefix_at",
        "prefix_bytes",
        "quick_bytes",
        "raw_bytes",
        "stored_bytes",
        "tails_at",
        "value_bytes",
        "value_offsets_at",
        "values_at",
        "values_end",
        "wide_keys",
        "wide_values",
    )
    kind: int
    compression: int
    stored_bytes: int
    raw_bytes: int
    count: int
    prefix_bytes: int
    key_bytes: int
    value_bytes: int

    def __init__(self, header: bytes) -> None:
        """Of the HEADER_BYTES that a block begins with. Raises ValueError."""
        (
            magic,
            self.kind,
            self.compression,
            flags,
            self.stored_bytes,
            self.raw_bytes,
            self.count,
            self.prefix_bytes,
            self.key_bytes,
            self.value_bytes,
        ) = HEADER.unpack(header)
        if magic != BLOCK_MAGIC:
            raise ValueError("no block begins here")
        if self.kind not in _KINDS or self.compression not in _COMPRESSIONS or flags > FLAGS:
            raise ValueError("its header names a kind, a compression or flags that are not known")
        # No two keys are equal, so all but one have a byte.
        if (
            self.raw_bytes > BLOCK_RAW_BYTES_MAX
            or self.stored_bytes > self.raw_bytes
            or self.count > min(BLOCK_COUNT_MAX, self.raw_bytes + 1)
        ):
            raise ValueError("its header names sizes beyond the format's limits")
        self.plain = bool(flags & PLAIN)
        self.wide_keys = bool(flags & WIDE_KEYS)
        self.wide_values = bool(flags & WIDE_VALUES)
        self.find_bytes = 0 if self.key_bytes == LENGTHS_VARY else self.key_bytes
        """The length of all keys without the prefix, if they can be found by it; 0 otherwise."""
        quick = self.plain and not self.prefix_bytes and self.value_bytes != LENGTHS_VARY and self.find_bytes
        self.quick_bytes = self.find_bytes if quick else -1
        """The length of all keys if there is no prefix and all entries are values of one length; -1 otherwise."""

    def lay_out(self, data: bytes) -> None:
        """Finds the columns in the raw `data`, which the header and the checksum may be around. Raises ValueError."""
        at = self.prefix_at = HEADER_BYTES if self.compression == Compression.NONE else 0
        end = at + self.raw_bytes
        at += self.prefix_bytes
        if self.key_bytes == LENGTHS_VARY:
            at = self.keys_at = at + (4 if self.wide_keys else 2) * (self.count + 1)
            at += self._last_offset(data, at, end, self.wide_keys)
        else:
            self.keys_at = at
            at += self.count * self.key_bytes
        self.keys_end = at
        self.tails_at = self.keys_at + self.find_bytes - 1
        if not self.plain:
            at += self.count
        self.value_offsets_at = at
        if self.value_bytes == LENGTHS_VARY:
            at = self.values_at = at + (4 if self.wide_values else 2) * (self.count + 1)
            at += self._last_offset(data, at, end, self.wide_values)
        else:
            self.values_at = at
            at += self.count * self.value_bytes
        self.values_end = at
        if at != end:
            raise ValueError(f"its columns end at {at}, its bytes at {end}")

    @staticmethod
    def _last_offset(data: bytes, at: int, end: int, wide: bool) -> int:
        if at > end:
            raise ValueError("its offsets are cut short")
        return int.from_bytes(data[at - (4 if wide else 2) : at], "little")

    @property
    def is_shared(self) -> bool:
        """Whether the header alone says where everything is."""
        return self.key_bytes != LENGTHS_VARY and self.value_bytes != LENGTHS_VARY


def stored_bytes(header: bytes) -> int:
    """The whole length of the block that begins with these HEADER_BYTES, as far as they can be believed.

    Raises ValueError.
    """
    if len(header) != HEADER_BYTES:
        raise ValueError("its header is cut short")
    return FRAME_BYTES + BlockShape(header).stored_bytes
