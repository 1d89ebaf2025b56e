"""What stands in a table file beside its data blocks: properties and the footer.

    data blocks | filter block | range deletes block | index block | properties block | footer (56)

    footer: magic 8, version u32, table id u64, offsets u64 of filter, range deletes, index and properties, CRC32C u32

The index has one key per data block, not less than any key of the block and less than all that follow it, and the
block's offset (u64) as its entry. The range deletes have their low bounds as keys and their high bounds as entries.
"""

import struct
from dataclasses import dataclass, field, fields

import google_crc32c

from storage.engine import Corruption

TABLE_MAGIC = b"ORRERYTB"
TABLE_VERSION = 1
FOOTER_BYTES = 56
_FOOTER = struct.Struct("<8sIQQQQQ")
ID_DIGITS = 20
"""The table's id, in so many digits, ends the properties block: a search for it needs nothing else to be whole."""
_CRC = struct.Struct("<I")
DEFAULT_BLOCK_BYTES = 4096
"""What a data block takes, about. Larger ones scan a little faster, and cost more on every cold read."""
DEFAULT_FILTER_BITS_PER_KEY = 12


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the parts of a table are."""

    table_id: int
    filter_at: int
    range_deletes_at: int
    index_at: int
    properties_at: int

    def encode(self) -> bytes:
        """The last FOOTER_BYTES of the file."""
        body = _FOOTER.pack(
            TABLE_MAGIC,
            TABLE_VERSION,
            self.table_id,
            self.filter_at,
            self.range_deletes_at,
            self.index_at,
            self.properties_at,
        )
        return body + _CRC.pack(google_crc32c.value(body))

    @staticmethod
    def decode(data: bytes, *, path: str, offset: int) -> "Footer":
        """The footer, of which `data` are the bytes at `offset`, the file's last. Raises Corruption."""
        if len(data) != FOOTER_BYTES or offset < 0:
            raise Corruption(path, max(0, offset), "the file is too short for a table")
        body = data[: _FOOTER.size]
        if google_crc32c.value(body) != _CRC.unpack_from(data, _FOOTER.size)[0]:
            raise Corruption(path, offset, "footer: its checksum is wrong")
        magic, version, *places = _FOOTER.unpack(body)
        if magic != TABLE_MAGIC:
            raise Corruption(path, offset, "footer: not a table")
        if version != TABLE_VERSION:
            raise Corruption(path, offset, f"footer: version {version} is not known; this is version {TABLE_VERSION}")
        footer = Footer(*places)
        if not footer.filter_at <= footer.range_deletes_at <= footer.index_at <= footer.properties_at <= offset:
            raise Corruption(path, offset, "footer: its offsets do not ascend")
        return footer


@dataclass(slots=True)
class TableProperties:
    """What is known of a table without looking into its data."""

    table_id: int = 0
    """As in the footer, so that one of the two may be lost."""
    count: int = 0
    """Keys, whatever is said of them."""
    deletions: int = 0
    """Of those, how many are deleted."""
    operands: int = 0
    """Of those, how many have operands for a merge."""
    expiring: int = 0
    """Of those, how many expire."""
    expires_ms_min: int = 0
    """When the first of them expires, if any."""
    expires_ms_max: int = 0
    """When the last of them expires, if any."""
    range_deletes: int = 0
    """Ranges deleted from older layers."""
    raw_bytes: int = 0
    """What keys and values take, uncompressed."""
    data_blocks: int = 0
    data_bytes: int = 0
    """What the data blocks take in the file."""
    created_ms: int = 0
    """When the table was written, by the wall clock; 0 when nobody said."""
    operator: str = ""
    """The name of the merge operator; empty when there was none."""
    smallest: bytes = b""
    """The first key; no range delete counts."""
    largest: bytes = b""
    """The last key; no range delete counts."""
    unknown: dict[bytes, bytes] = field(default_factory=dict)
    """What a later version added."""

    def encode(self) -> tuple[list[bytes], list[bytes]]:
        """Names and values, the names ascending."""
        pairs = dict(self.unknown)
        for name in _FIELDS:
            value = getattr(self, name)
            if isinstance(value, int):
                value = b"%020d" % value if name == "table_id" else b"%d" % value
            elif isinstance(value, str):
                value = value.encode()
            pairs[name.encode()] = value
        names = sorted(pairs)
        assert names[-1] == b"table_id", "the id must be what the block ends with"
        return names, [pairs[name] for name in names]

    @staticmethod
    def decode(pairs: dict[bytes, bytes]) -> "TableProperties":
        """From names and values. Raises ValueError."""
        made = TableProperties(unknown=dict(pairs))
        for name in _FIELDS:
            text = made.unknown.pop(name.encode(), None)
            if text is None:
                raise ValueError(f"{name} is missing")
            default = getattr(made, name)
            if isinstance(default, int):
                if not text.isdigit() or len(text) > ID_DIGITS:
                    raise ValueError(f"{name} is no number")
                setattr(made, name, int(text))
            else:
                setattr(made, name, text.decode() if isinstance(default, str) else text)
        return made


_FIELDS = [each.name for each in fields(TableProperties) if each.name != "unknown"]
