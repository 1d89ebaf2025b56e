"""Reads a manifest without changing a byte: for tools that look at an engine which may be running."""

from dataclasses import dataclass, field

from runtime.disk import Disk
from storage.lsm.catalog import Catalog, CatalogError, Edit
from storage.wal.recovery import SUFFIX
from storage.wal.segment import (
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    body_is_valid,
    decode_body,
    decode_frame_header,
)


@dataclass(slots=True)
class ManifestReading:
    """What a manifest says."""

    directory: str
    catalog: Catalog = field(default_factory=Catalog)
    edits: list[tuple[int, Edit]] = field(default_factory=list)
    """All edits with their numbers, from the oldest that is kept."""
    known: bool = False
    """Whether there is an edit that everything starts from."""
    damage: str | None = None
    """What is wrong, and where; what follows it was not read. A write that a crash tore looks the same."""
    size_bytes: int = 0


async def read_manifest(disk: Disk, directory: str) -> ManifestReading:
    """Reads all segments in order, up to the first damage. Raises OSError when there is nothing to read."""
    reading = ManifestReading(directory)
    expected: int | None = None
    for name in await disk.list(directory):
        if not name.endswith(SUFFIX):
            continue
        path = f"{directory}/{name}"
        data = await disk.read(path)
        reading.size_bytes += len(data)
        try:
            expected = _read_segment(reading, data, expected)
        except (ValueError, CatalogError) as error:
            reading.damage = f"{path}: {error}"
            break
    return reading


def _read_segment(reading: ManifestReading, data: bytes, expected: int | None) -> int:
    """Applies the edits of a segment. The number that follows them. Raises ValueError."""
    header = SegmentHeader.decode(data[:SEGMENT_HEADER_BYTES])
    if expected is not None and header.first_lsn != expected:
        raise ValueError(f"it begins with edit {header.first_lsn}, where {expected} belongs")
    number = header.first_lsn
    offset = SEGMENT_HEADER_BYTES
    while offset < len(data):
        frame = decode_frame_header(header, offset, data[offset : offset + FRAME_HEADER_BYTES])
        if frame is None:
            raise ValueError(f"no whole frame stands at offset {offset}")
        end = offset + FRAME_HEADER_BYTES + frame.body_bytes
        body = data[offset + FRAME_HEADER_BYTES : end]
        if frame.first_lsn != number or not body_is_valid(header, offset, frame, body):
            raise ValueError(f"the frame at offset {offset} is damaged")
        for record in decode_body(frame, body):
            edit = Edit.decode(record)
            reading.known = reading.known or edit.whole
            if reading.known:
                reading.catalog.apply(edit)
            reading.edits.append((number, edit))
            number += 1
        offset = end
    return number
