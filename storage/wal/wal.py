"""The log itself: group commit, segments, and what to do when the disk fails."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial

from runtime.clock import Clock
from runtime.disk import Disk, File, SyncFailed
from runtime.failpoints import failpoint, register
from runtime.randomness import Randomness
from storage.wal.errors import WalFull
from storage.wal.pace import BYTES_MAX, Pace
from storage.wal.recovery import RecoveredWal, Segment, find_segments, segment_name
from storage.wal.segment import (
    FRAME_HEADER_BYTES,
    LOG_ID_BYTES,
    RECORD_OVERHEAD_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    encode_frame,
)

FRAME_BYTES_MAX = 1 << 20
"""Records are packed into frames of up to this size; a larger record has a frame of its own."""
WRITE_BYTES_MAX = 8 << 20
"""Taken from the queue for one write: bounds the wait of those that come behind."""
MARK_DELAY_S = 0.1
"""After this idle time a mark without records is written, so that damage to the last synced frame is provable."""
LAZY_DELAY_S = 0.05
"""Records appended with `sync=False` wait so long for a synced append that takes them along."""

BEFORE_WRITE = register("wal.before_write")
AFTER_WRITE = register("wal.after_write")
BEFORE_SEGMENT = register("wal.before_segment")
BEFORE_REMOVE = register("wal.before_remove")


@dataclass(slots=True)
class WalStatistics:
    """Counts since the log was opened."""

    appends: int = 0
    records: int = 0
    bytes_written: int = 0
    writes: int = 0
    syncs: int = 0
    segments_created: int = 0
    segments_removed: int = 0


@dataclass(slots=True)
class _Append:
    records: Sequence[bytes]
    sync: bool
    last_lsn: int
    done: asyncio.Future[int]


class Wal:
    """A write-ahead log. Records are numbered from 1 without gaps; the number is the LSN.

    All appends that come while a sync is in flight share the next write and sync. A write or sync that fails poisons
    the log: every waiter and every later call gets SyncFailed, and nothing is retried, because nothing is known of the
    file any more. The process should stop; reopening recovers every acknowledged record.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        segments: list[Segment],
        clock: Clock,
        *,
        segment_bytes_max: int,
        record_bytes_max: int,
        pending_bytes_max: int,
        observe_sync: Callable[[float], None] | None,
        sync_enabled: bool,
    ) -> None:
        """Use `open`."""
        self._disk = disk
        self._directory = directory
        self._segments = segments
        self._clock = clock
        self._segment_bytes_max = segment_bytes_max
        self._record_bytes_max = record_bytes_max
        self._pending_bytes_max = pending_bytes_max
        self._observe_sync = observe_sync
        self._sync_enabled = sync_enabled
        self._file: File | None = None
        self._offset = segments[-1].size
        self._synced_offset = 0
        self._marked_offset = 0
        self._next_lsn = 0
        self._pending: list[_Append] = []
        self._pending_bytes = 0
        self._flusher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: SyncFailed | None = None
        self._closing = False
        self._dropping = asyncio.Lock()
        self.pace = Pace()
        """Whether `append_now` writes anything."""
        self.statistics = WalStatistics()

    @staticmethod
    async def open(
        disk: Disk,
        directory: str,
        *,
        random: Randomness,
        clock: Clock,
        segment_bytes_max: int = 64 << 20,
        record_bytes_max: int = 32 << 20,
        pending_bytes_max: int = 256 << 20,
        observe_sync: Callable[[float], None] | None = None,
        sync_enabled: bool = True,
    ) -> tuple["Wal", RecoveredWal]:
        """Opens or creates the log in `directory`. The recovered records must be read before the first append.

        `observe_sync` is told how long each write with sync took, in seconds. `sync_enabled=False` switches the
        safeguard off, for tests of the tests. Raises WalCorrupted and OSError.
        """
        await disk.make_directory(directory)
        parent = directory
        while parent:
            # Every directory on the way may be new: each one's entry lives in its parent.
            parent = parent.rpartition("/")[0]
            await disk.sync_directory(parent or ".")
        segments = await find_segments(disk, directory)
        if not segments:
            segments = [await _create_segment(disk, directory, SegmentHeader(random.bytes(LOG_ID_BYTES), 1))]
        wal = Wal(
            disk,
            directory,
            segments,
            clock,
            segment_bytes_max=segment_bytes_max,
            record_bytes_max=record_bytes_max,
            pending_bytes_max=pending_bytes_max,
            observe_sync=observe_sync,
            sync_enabled=sync_enabled,
        )
        frame_bytes_max = max(FRAME_BYTES_MAX, record_bytes_max) + 64
        return wal, RecoveredWal(disk, segments, frame_bytes_max, wal._recovered)

    def _recovered(self, file: File, next_lsn: int) -> None:
        self._file = file
        self._next_lsn = next_lsn
        self._offset = self._synced_offset = self._segments[-1].size
        self._marked_offset = self._offset

    @property
    def first_lsn(self) -> int:
        """The oldest record that is still held, or `next_lsn` when there is none."""
        return self._segments[0].header.first_lsn

    @property
    def next_lsn(self) -> int:
        """The number that the next record will get."""
        return self._next_lsn

    @property
    def bytes_total(self) -> int:
        """The size of all segments."""
        return sum(segment.size for segment in self._segments)

    @property
    def failure(self) -> SyncFailed | None:
        """Why the log is poisoned, when it is."""
        return self._failure

    def append(self, records: Sequence[bytes], *, sync: bool = True) -> "asyncio.Future[int]":
        """Queues records; the future gives the last one's LSN once they, and all before, are durable.

        With `sync=False` it gives it once they are written, at the latest LAZY_DELAY_S from now: a crash may lose
        them, but never a record before one that it keeps. No records and `sync` waits for all that came before.
        The order of calls is the order of the log. The future may be dropped. Raises SyncFailed when poisoned,
        WalFull, ValueError for an oversized record, RuntimeError before recovery or after closing.
        """
        if self._failure is not None:
            raise self._failure
        if self._file is None or self._closing:
            raise RuntimeError("the log is closed" if self._closing else "the recovered records were not read yet")
        size = 0
        for record in records:
            if len(record) > self._record_bytes_max:
                raise ValueError(f"a record of {len(record)} bytes; the limit is {self._record_bytes_max}")
            size += len(record) + RECORD_OVERHEAD_BYTES
        if self._pending_bytes + size > self._pending_bytes_max and self._pending:
            raise WalFull(f"{self._pending_bytes} bytes are waiting to be written")
        self._next_lsn += len(records)
        self._pending_bytes += size
        loop = asyncio.get_running_loop()
        append = _Append(records, sync, self._next_lsn - 1, loop.create_future())
        self._pending.append(append)
        self.statistics.appends += 1
        self.statistics.records += len(records)
        if self._flusher is None:
            if sync:
                self._start_flusher()
            else:
                self._set_timer(LAZY_DELAY_S, self._start_flusher)
        return append.done

    def append_now(self, records: Sequence[bytes]) -> bool:
        """Writes and syncs records before it returns, if the log is idle and its disk quick (see `pace`).

        True: they are durable, as is all before them. False: nothing was done, and they are to be given to `append`.
        Raises SyncFailed when poisoned, also by this write.
        """
        if self._failure is not None:
            raise self._failure
        file = self._file
        if not self.pace.is_quick or self._flusher is not None or self._pending or file is None or self._closing:
            return False
        size = 0
        for record in records:
            if len(record) > self._record_bytes_max:
                return False
            size += len(record) + RECORD_OVERHEAD_BYTES
        # A new segment is a matter of several syncs.
        if size > BYTES_MAX or self._offset + size + FRAME_HEADER_BYTES > self._segment_bytes_max or not records:
            return False
        header = self._segments[-1].header
        try:
            frame = encode_frame(header, self._offset, self._next_lsn, self._synced_offset, records)
            failpoint(BEFORE_WRITE)
            took_s = file.pwrite_now(frame, self._offset, sync=self._sync_enabled)
            failpoint(AFTER_WRITE)
        except SyncFailed as error:
            self._poison(error)
            raise
        except OSError as error:
            failure = _as_failed_sync(error)
            self._poison(failure)
            raise failure from error
        self._next_lsn += len(records)
        self.statistics.appends += 1
        self.statistics.records += len(records)
        self._wrote(sum(map(len, frame)), took_s, sync=self._sync_enabled)
        self.pace.took(took_s, self._clock.monotonic_s())
        self._set_timer(MARK_DELAY_S, self._start_marking)
        return True

    async def drop_before(self, lsn: int) -> None:
        """Removes the segments whose records are all below `lsn`. The segment that is written to stays."""
        async with self._dropping:
            while self._failure is None and len(self._segments) > 1 and self._segments[1].header.first_lsn <= lsn:
                failpoint(BEFORE_REMOVE)
                await self._disk.remove(self._segments[0].path)
                # One by one, oldest first, each made durable: a crash in between must not leave a hole.
                await self._disk.sync_directory(self._directory)
                del self._segments[0]
                self.statistics.segments_removed += 1

    async def close(self) -> None:
        """Writes and syncs what waits, and closes. Raises SyncFailed when that, or anything before, failed."""
        if self._closing:
            return
        if self._file is None:
            self._closing = True
            return
        try:
            if self._failure is None:
                await self.append([])
        finally:
            self._closing = True
            self._clear_timer()
            if self._flusher is not None:
                await asyncio.wait([self._flusher])
            if self._failure is None and self._marked_offset != self._offset:
                await self._guarded(partial(self._write_mark, sync=True))
            await self._file.close()
        if self._failure is not None:
            raise self._failure

    def _start_flusher(self) -> None:
        self._clear_timer()
        if self._flusher is None and self._failure is None and not self._closing:
            self._start(self._flush, "wal-flush")

    def _start(self, work: Callable[[], Coroutine[object, None, None]], name: str) -> None:
        self._flusher = asyncio.get_running_loop().create_task(self._guarded(work), name=name)
        self._flusher.add_done_callback(self._flusher_done)

    def _flusher_done(self, flusher: "asyncio.Task[None]") -> None:
        if self._flusher is flusher:
            # Cancelled before its first step, as when a loop shuts down: nobody else would tell those who wait.
            self._flusher = None
            self._poison(SyncFailed(5, "the log's writer was stopped before it began"))

    def _set_timer(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._clear_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, callback)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _guarded(self, work: Callable[[], Coroutine[object, None, None]]) -> None:
        """Runs disk work; whatever ends it early poisons the log."""
        failure = SyncFailed(5, "the log's writer was stopped in the midst of its work")
        finished = False
        try:
            await work()
            finished = True
        except OSError as error:
            failure = _as_failed_sync(error)
        finally:
            self._flusher = None
            if not finished:
                self._poison(failure)

    def _poison(self, failure: SyncFailed) -> None:
        self._failure = failure
        self._clear_timer()
        waiting, self._pending = self._pending, []
        for append in waiting:
            _fail(append.done, failure)

    async def _flush(self) -> None:
        """Writes until nothing waits. At most one runs."""
        while self._pending:
            batch = self._take()
            try:
                await self._write(batch)
            except BaseException:
                # They left the queue, yet must hear of the failure with the others.
                self._pending = batch + self._pending
                raise
            for append in batch:
                if not append.done.done():
                    append.done.set_result(append.last_lsn)
        if self._marked_offset != self._offset:
            self._set_timer(MARK_DELAY_S, self._start_marking)

    def _start_marking(self) -> None:
        self._timer = None
        if self._flusher is None and self._failure is None and not self._closing:
            self._start(self._mark_and_flush, "wal-mark")

    async def _mark_and_flush(self) -> None:
        if self._marked_offset != self._offset:
            await self._write_mark(sync=False)
        await self._flush()

    async def _write_mark(self, *, sync: bool) -> None:
        lsn = self._pending[0].last_lsn - len(self._pending[0].records) + 1 if self._pending else self._next_lsn
        header = self._segments[-1].header
        frame = encode_frame(header, self._offset, lsn, self._synced_offset, [])
        await self._write_parts(list(frame), sync=sync)
        self._marked_offset = self._offset

    def _take(self) -> list[_Append]:
        size = count = 0
        while count < len(self._pending) and size < WRITE_BYTES_MAX:
            records = self._pending[count].records
            size += sum(map(len, records)) + RECORD_OVERHEAD_BYTES * len(records)
            count += 1
        batch = self._pending[:count]
        self._pending = self._pending[count:]
        self._pending_bytes -= size
        return batch

    async def _write(self, batch: list[_Append]) -> None:
        sync = any(append.sync for append in batch)
        records = [record for append in batch for record in append.records]
        lsn = batch[-1].last_lsn - len(records) + 1
        parts: list[bytes] = []
        offset = self._offset
        start = 0
        while start < len(records):
            end = start + 1
            size = len(records[start])
            while end < len(records) and size + len(records[end]) + RECORD_OVERHEAD_BYTES <= FRAME_BYTES_MAX:
                size += len(records[end]) + RECORD_OVERHEAD_BYTES
                end += 1
            if offset + size + FRAME_HEADER_BYTES > self._segment_bytes_max and offset > SEGMENT_HEADER_BYTES:
                if parts:
                    await self._write_parts(parts, sync=True)
                    parts = []
                await self._switch(lsn + start)
                offset = self._offset
            header = self._segments[-1].header
            head, body = encode_frame(header, offset, lsn + start, self._synced_offset, records[start:end])
            parts += (head, body)
            offset += len(head) + len(body)
            start = end
        if parts or (sync and self._synced_offset != self._offset):
            await self._write_parts(parts, sync=sync)

    async def _write_parts(self, parts: list[bytes], *, sync: bool) -> None:
        assert self._file is not None
        failpoint(BEFORE_WRITE)
        sync = sync and self._sync_enabled
        size = sum(map(len, parts))
        begin_s = self._clock.monotonic_s()
        await self._file.pwrite(parts, self._offset, sync=sync)
        failpoint(AFTER_WRITE)
        now_s = self._clock.monotonic_s()
        self._wrote(size, now_s - begin_s, sync=sync)
        if sync:
            self.pace.took_away(now_s - begin_s, now_s)

    def _wrote(self, size: int, took_s: float, *, sync: bool) -> None:
        self._offset += size
        self._segments[-1].size = self._offset
        self.statistics.writes += 1
        self.statistics.bytes_written += size
        if sync:
            self._synced_offset = self._offset
            self.statistics.syncs += 1
            if self._observe_sync is not None:
                self._observe_sync(took_s)

    async def _switch(self, first_lsn: int) -> None:
        """Goes on in a new segment. The old one is wholly synced first: recovery holds it to that."""
        assert self._file is not None
        failpoint(BEFORE_SEGMENT)
        if self._synced_offset != self._offset and self._sync_enabled:
            await self._file.sync()
            self.statistics.syncs += 1
        header = SegmentHeader(self._segments[-1].header.log_id, first_lsn)
        segment = await _create_segment(self._disk, self._directory, header)
        await self._file.close()
        self._file = await self._disk.open(segment.path)
        self._segments.append(segment)
        self._offset = self._synced_offset = self._marked_offset = segment.size
        self.statistics.segments_created += 1


async def _create_segment(disk: Disk, directory: str, header: SegmentHeader) -> Segment:
    path = f"{directory}/{segment_name(header.first_lsn)}"
    file = await disk.open(path, create=True)
    try:
        await file.pwrite([header.encode()], 0, sync=True)
    finally:
        await file.close()
    await disk.sync_directory(directory)
    return Segment(path, header, SEGMENT_HEADER_BYTES)


def _as_failed_sync(error: OSError) -> SyncFailed:
    """Whatever failed: nothing is known of the file any more."""
    if isinstance(error, SyncFailed):
        return error
    return SyncFailed(error.errno, f"the log could not be written: {error.strerror}")


def _fail(future: "asyncio.Future[int]", failure: SyncFailed) -> None:
    if not future.done():
        future.set_exception(failure)
        # A caller may drop its future; the failure stays visible in `Wal.failure` and in every later call.
        future.exception()
