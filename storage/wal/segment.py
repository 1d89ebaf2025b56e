"""The format of a segment: a header, then frames. docs/decisions/0001-wal-format.md says why.

A frame carries the records of one or more appends. It begins at a multiple of 8 and ends with bytes that are not zero,
so that a frame's share of any 512-byte sector which was never persisted (it then reads as zeros, since segments are
neither reused nor preallocated) can be told from one that was written. All integers are little-endian.

    segment header (64): magic 8, version u32, zero u32, first LSN u64, log id 16, zeros, CRC32C u32 of all before
    frame header (40):   magic u32, body length u32, record count u32, zero u32, first LSN u64,
                         synced offset u64, CRC32C of the body u32, CRC32C of all before u32
    frame body:          records (length u32, payload), then 4 to 11 bytes of 0xA5

Both CRCs of a frame start from the log's id, the segment's first LSN and the frame's own offset: bytes of another log,
another segment or another place never validate, whatever a payload contains.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import google_crc32c

SECTOR_BYTES = 512
"""The unit in which disks persist."""
SEGMENT_MAGIC = b"ORRERYWL"
VERSION = 1
SEGMENT_HEADER_BYTES = 64
FRAME_MAGIC = b"\xf5WAL"
FRAME_HEADER_BYTES = 40
FRAME_ALIGNMENT = 8
LOG_ID_BYTES = 16
RECORD_OVERHEAD_BYTES = 4

_SEGMENT_HEADER = struct.Struct("<8sIIQ16s20x")
_FRAME_HEADER = struct.Struct("<4sIIIQQI")
_CRC = struct.Struct("<I")
_LENGTH = struct.Struct("<I")
_SEED = struct.Struct("<16sQQ")


def _extend(crc: int, data: bytes) -> int:
    value: int = google_crc32c.extend(crc, data)
    return value


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Which log a segment belongs to, and where in it the segment begins."""

    log_id: bytes
    first_lsn: int

    def encode(self) -> bytes:
        """The first SEGMENT_HEADER_BYTES of the file."""
        head = _SEGMENT_HEADER.pack(SEGMENT_MAGIC, VERSION, 0, self.first_lsn, self.log_id)
        return head + _CRC.pack(_extend(0, head))

    @staticmethod
    def decode(data: bytes) -> "SegmentHeader":
        """Raises ValueError with the reason."""
        if len(data) < SEGMENT_HEADER_BYTES:
            raise ValueError("the segment header is cut short")
        head = data[: SEGMENT_HEADER_BYTES - _CRC.size]
        if _CRC.unpack_from(data, len(head))[0] != _extend(0, head):
            raise ValueError("the segment header's checksum is wrong")
        magic, version, _, first_lsn, log_id = _SEGMENT_HEADER.unpack(head)
        if magic != SEGMENT_MAGIC:
            raise ValueError("not a segment of a write-ahead log")
        if version != VERSION:
            raise ValueError(f"format version {version} is not known; this is version {VERSION}")
        return SegmentHeader(log_id, first_lsn)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What stands before a frame's body."""

    body_bytes: int
    count: int
    first_lsn: int
    synced_offset: int
    """Everything of this segment before this offset was synced when the frame was written."""
    body_crc: int


def encode_frame(
    segment: SegmentHeader, offset: int, first_lsn: int, synced_offset: int, records: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Header and body of the frame that is to stand at `offset`. Without records, it only marks what is synced."""
    parts: list[bytes] = []
    for record in records:
        parts.append(_LENGTH.pack(len(record)))
        parts.append(record)
    length = sum(map(len, parts))
    parts.append(b"\xa5" * (RECORD_OVERHEAD_BYTES + -(length + RECORD_OVERHEAD_BYTES) % FRAME_ALIGNMENT))
    body = b"".join(parts)
    seed = _seed(segment, offset)
    head = _FRAME_HEADER.pack(FRAME_MAGIC, len(body), len(records), 0, first_lsn, synced_offset, _extend(seed, body))
    return head + _CRC.pack(_extend(seed, head)), body


def decode_frame_header(segment: SegmentHeader, offset: int, data: bytes) -> FrameHeader | None:
    """The header when `data`, the bytes at `offset`, begin with a valid one; None otherwise."""
    if len(data) < FRAME_HEADER_BYTES:
        return None
    head = data[: FRAME_HEADER_BYTES - _CRC.size]
    if _CRC.unpack_from(data, len(head))[0] != _extend(_seed(segment, offset), head):
        return None
    magic, body_bytes, count, _, first_lsn, synced_offset, body_crc = _FRAME_HEADER.unpack(head)
    if magic != FRAME_MAGIC:
        return None
    return FrameHeader(body_bytes, count, first_lsn, synced_offset, body_crc)


def body_is_valid(segment: SegmentHeader, offset: int, header: FrameHeader, body: bytes) -> bool:
    """Whether `body` is what the frame at `offset` was written with."""
    return len(body) == header.body_bytes and _extend(_seed(segment, offset), body) == header.body_crc


def decode_body(header: FrameHeader, body: bytes) -> list[bytes]:
    """The records of a body whose checksum holds. Raises ValueError when it does not parse all the same."""
    records: list[bytes] = []
    position = 0
    for _ in range(header.count):
        if position + RECORD_OVERHEAD_BYTES > len(body):
            raise ValueError("the frame holds fewer records than it says")
        (length,) = _LENGTH.unpack_from(body, position)
        position += RECORD_OVERHEAD_BYTES
        if position + length > len(body):
            raise ValueError("a record is longer than its frame")
        records.append(body[position : position + length])
        position += length
    return records


def may_be_unpersisted(data: bytes, offset: int) -> bool:
    """Whether a whole sector's share of `data`, the bytes at `offset`, reads as never written."""
    position = 0
    while position < len(data):
        end = position + SECTOR_BYTES - (offset + position) % SECTOR_BYTES
        if not any(data[position:end]):
            return True
        position = end
    return False


def _seed(segment: SegmentHeader, offset: int) -> int:
    return _extend(0, _SEED.pack(segment.log_id, segment.first_lsn, offset))
