"""Reads a log back, and tells a torn tail from corruption."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from runtime.disk import Disk, File
from storage.wal.errors import WalCorrupted
from storage.wal.segment import (
    FRAME_ALIGNMENT,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    FrameHeader,
    SegmentHeader,
    body_is_valid,
    decode_body,
    decode_frame_header,
    may_be_unpersisted,
)

READ_BYTES = 1 << 20
"""Read at a time; a frame that is longer is read at once."""
SUFFIX = ".wal"


@dataclass(slots=True)
class Segment:
    """One file of the log."""

    path: str
    header: SegmentHeader
    size: int


def segment_name(first_lsn: int) -> str:
    """The file name, by which segments sort in the order of the log."""
    return f"{first_lsn:020d}{SUFFIX}"


async def find_segments(disk: Disk, directory: str) -> list[Segment]:
    """All segments in order, after removing a last one that a crash cut short while it was being made.

    Raises WalCorrupted for a damaged header, a foreign or misplaced segment.
    """
    names = [name for name in await disk.list(directory) if name.endswith(SUFFIX)]
    segments: list[Segment] = []
    for name in names:
        path = f"{directory}/{name}"
        file = await disk.open(path)
        try:
            size = await file.size()
            head = await file.pread(SEGMENT_HEADER_BYTES, 0)
        finally:
            await file.close()
        if name == names[-1] and size <= SEGMENT_HEADER_BYTES and (len(head) < SEGMENT_HEADER_BYTES or not any(head)):
            # A segment takes frames only once its header is synced, so this one never held any.
            await disk.remove(path)
            await disk.sync_directory(directory)
            break
        try:
            header = SegmentHeader.decode(head)
        except ValueError as error:
            raise WalCorrupted(path, 0, str(error)) from error
        if name != segment_name(header.first_lsn):
            raise WalCorrupted(path, 0, "the file's name does not fit its header")
        if segments and segments[0].header.log_id != header.log_id:
            raise WalCorrupted(path, 0, "the segment belongs to another log")
        segments.append(Segment(path, header, size))
    return segments


class RecoveredWal:
    """The records that survived, in order: `async for lsn, payload in recovered`. Can be read once.

    Reads frame by frame, so memory is bounded by the largest frame. When the last record has been given out, a torn
    tail has been cut off and synced, and the Wal takes appends. Raises WalCorrupted.
    """

    def __init__(
        self,
        disk: Disk,
        segments: list[Segment],
        frame_bytes_max: int,
        done: Callable[[File, int], None],
    ) -> None:
        self._disk = disk
        self._segments = segments
        self._frame_bytes_max = frame_bytes_max
        self._done = done
        self._started = False
        self.cut_bytes = 0
        """What was cut off as a torn tail."""
        self.next_lsn = segments[0].header.first_lsn

    def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        if self._started:
            raise RuntimeError("a recovered log is read once")
        self._started = True
        return self._records()

    async def drain(self) -> None:
        """Reads to the end for callers that want no records."""
        async for _ in self:
            pass

    async def _records(self) -> AsyncIterator[tuple[int, bytes]]:
        last = self._segments[-1]
        for segment in self._segments:
            if segment.header.first_lsn != self.next_lsn:
                raise WalCorrupted(segment.path, 0, f"the segment does not begin at {self.next_lsn}: one is missing")
            file = await self._disk.open(segment.path)
            keep = False
            try:
                reader = _Reader(file, segment, self._frame_bytes_max)
                while (frame := await reader.next()) is not None:
                    header, body = frame
                    if header.first_lsn != self.next_lsn:
                        raise WalCorrupted(segment.path, reader.frame_offset, f"expected record {self.next_lsn}")
                    try:
                        records = decode_body(header, body)
                    except ValueError as error:
                        raise WalCorrupted(segment.path, reader.frame_offset, str(error)) from error
                    lsn = self.next_lsn
                    self.next_lsn += len(records)
                    for record in records:
                        yield lsn, record
                        lsn += 1
                if reader.offset < segment.size:
                    if segment is not last:
                        raise WalCorrupted(segment.path, reader.offset, "damaged before the last segment")
                    await reader.refuse_corruption()
                    # The cut is synced before anything is appended: otherwise a later crash could bring parts of the
                    # old tail back behind new frames.
                    self.cut_bytes = segment.size - reader.offset
                    await file.truncate(reader.offset)
                    segment.size = reader.offset
                if segment is last:
                    await file.sync()
                    keep = True
                    self._done(file, self.next_lsn)
            finally:
                if not keep:
                    await file.close()


class _Reader:
    """Walks the frames of one segment through a sliding buffer."""

    def __init__(self, file: File, segment: Segment, frame_bytes_max: int) -> None:
        self._file = file
        self._segment = segment
        self._frame_bytes_max = frame_bytes_max
        self._buffer = b""
        self._buffer_offset = 0
        self.offset = SEGMENT_HEADER_BYTES
        """Where the next frame is expected: everything before is valid."""
        self.frame_offset = SEGMENT_HEADER_BYTES

    async def next(self) -> tuple[FrameHeader, bytes] | None:
        """The next valid frame; None at the end or where none stands."""
        header = decode_frame_header(
            self._segment.header, self.offset, await self._bytes(self.offset, FRAME_HEADER_BYTES)
        )
        if header is None or header.body_bytes > self._frame_bytes_max:
            return None
        body = await self._bytes(self.offset + FRAME_HEADER_BYTES, header.body_bytes)
        if not body_is_valid(self._segment.header, self.offset, header, body):
            return None
        self.frame_offset = self.offset
        self.offset += FRAME_HEADER_BYTES + header.body_bytes
        return header, body

    async def refuse_corruption(self) -> None:
        """Raises WalCorrupted unless the bad frame at `offset` can be what a crash left of an unsynced write."""
        bad = self.offset
        head = await self._bytes(bad, FRAME_HEADER_BYTES)
        if len(head) == FRAME_HEADER_BYTES and not may_be_unpersisted(head, bad):
            header = decode_frame_header(self._segment.header, bad, head)
            if header is None:
                raise WalCorrupted(self._segment.path, bad, "a frame's header is damaged")
            if header.body_bytes > self._frame_bytes_max:
                raise WalCorrupted(self._segment.path, bad, "a frame is longer than the limit; was it lowered?")
            whole = await self._bytes(bad, FRAME_HEADER_BYTES + header.body_bytes)
            if len(whole) == FRAME_HEADER_BYTES + header.body_bytes and not may_be_unpersisted(whole, bad):
                raise WalCorrupted(self._segment.path, bad, "a frame's checksum is wrong")
        # It looks torn. A later frame that was written when this place had long been synced proves otherwise.
        position = bad + FRAME_ALIGNMENT
        while position < self._segment.size:
            chunk = await self._file.pread(READ_BYTES + FRAME_HEADER_BYTES, position)
            found = chunk.find(FRAME_MAGIC)
            while 0 <= found < READ_BYTES:
                place = position + found
                header = decode_frame_header(self._segment.header, place, chunk[found : found + FRAME_HEADER_BYTES])
                if header is not None and header.synced_offset > bad:
                    raise WalCorrupted(
                        self._segment.path, bad, f"a synced frame is damaged, as the frame at {place} proves"
                    )
                found = chunk.find(FRAME_MAGIC, found + 1)
            position += READ_BYTES

    async def _bytes(self, offset: int, length: int) -> bytes:
        start = offset - self._buffer_offset
        if start < 0 or start + length > len(self._buffer):
            self._buffer = await self._file.pread(max(READ_BYTES, length), offset)
            self._buffer_offset = offset
            start = 0
        return self._buffer[start : start + length]
