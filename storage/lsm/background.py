"""Flushes, compactions, and the removal of what they made obsolete: tasks that run while there is something to do.

The way of a flush: sealed memtables, oldest first, are merged into one run of new files; the files and their directory
are synced; one edit of the manifest makes them count; then memory is let go of, and the log behind it. A compaction
does the same with tables for memtables. A crash between two of these steps leaves files that nothing counts, which the
next opening removes. Any error ends the engine: nothing is known of the files after a failed sync.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial

from runtime.failpoints import failpoint, register
from storage.engine import MergeOperator
from storage.lsm.building import BuildOptions, Place
from storage.lsm.catalog import Edit, TableMeta
from storage.lsm.columns import Columns
from storage.lsm.compaction import CompactionWorker, Job, WorkerLost, compact, numbers_for, write_merged
from storage.lsm.manifest import Manifest
from storage.lsm.memory import Memory
from storage.lsm.memtable import Memtable
from storage.lsm.operations_log import OperationsLog
from storage.lsm.options import LsmOptions
from storage.lsm.picking import Plan, Pressure, pick, pick_everything, pressure
from storage.lsm.rate_limit import RateLimit
from storage.lsm.stalls import Pace, pace
from storage.lsm.statistics import Counters
from storage.lsm.tables import Tables
from storage.lsm.version import Table, Version

FLUSH_BEGIN = register("lsm.flush.begin")
FLUSH_BUILT = register("lsm.flush.built")
FLUSH_DONE = register("lsm.flush.done")
COMPACT_BEGIN = register("lsm.compact.begin")
COMPACT_BUILT = register("lsm.compact.built")
COMPACT_DONE = register("lsm.compact.done")
BEFORE_REMOVE = register("lsm.before_remove")

UNWRITTEN_LOG_BYTES_MAX = 64 << 20
"""Writers wait while the engine's own log has taken more than this and not written it."""


Work = Callable[[], Coroutine[object, object, None]]


class Background:
    """At most one flush and one compaction run at a time."""

    def __init__(
        self,
        memory: Memory,
        version: Version,
        *,
        manifest: Manifest,
        tables: Tables,
        options: LsmOptions,
        building: BuildOptions,
        operator: MergeOperator | None,
        worker: CompactionWorker | None,
    ) -> None:
        self.counters = Counters()
        self.rate = RateLimit(options.compaction_rate_bytes_s)
        self.failure: OSError | None = None
        self.log: OperationsLog | None = None
        """The engine's own log, once it is open."""
        self._memory = memory
        self._version = version
        self._manifest = manifest
        self._tables = tables
        self._options = options
        self._building = building
        self._operator = operator
        self._worker = worker
        self._editing = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None
        self._compactor: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._progress = asyncio.Event()
        self._closed = False
        self._compacting = True
        self._pressure = pressure(version.metas, options)
        self._loop = asyncio.get_running_loop()
        tables.on_discard = self._discarded

    # What the engine asks for

    def flush_wanted(self) -> None:
        """Seals what is frozen, and sees that it goes to the disk."""
        for memtable in self._memory.frozen():
            memtable.sealed = True
        if self._flusher is None and not self._closed and self.failure is None:
            self._flusher = self._start(self._flush_all, "lsm-flush", self._flusher_ended)

    async def flushed(self) -> None:
        """Returns when what is frozen now is durable in tables. Raises OSError."""
        frozen = self._memory.frozen()
        if frozen:
            self.flush_wanted()
            while any(memtable is frozen[0] for memtable in self._memory.frozen()):
                await self.progress()
        self.raise_failure()

    async def version_of_now(self) -> Version:
        """A version that holds what is frozen now and nothing newer, held for the caller. Raises OSError."""
        frozen = self._memory.frozen()
        if not frozen:
            return self._version.hold()
        newest = frozen[0]
        found: asyncio.Future[Version] = asyncio.get_running_loop().create_future()
        newest.checkpoints.append(found)
        self.flush_wanted()
        try:
            while not found.done():
                await self.progress()
        except BaseException:
            if not found.cancel():
                found.result().release()
            raise
        return found.result()

    def compaction_wanted(self) -> None:
        """Begins to compact if there is something to do."""
        if self._compactor is not None or not self._compacting or self._closed or self.failure is not None:
            return
        if pick(self._version.metas, self._options) is not None:
            self._compactor = self._start(self._compact_all, "lsm-compact", self._compactor_ended)

    async def compacted(self) -> None:
        """Returns when the levels are in shape. Raises OSError."""
        self.compaction_wanted()
        while self._compactor is not None:
            await self.progress()
        self.raise_failure()

    async def compact_everything(self) -> None:
        """Merges all tables into one run. Raises OSError."""
        await self.compacted()
        self._compacting = False
        try:
            plan = pick_everything(self._version.metas, self._options)
            if plan is not None:
                await self._guarded(partial(self._compact, plan))
        finally:
            self._compacting = True
        self.raise_failure()
        self.compaction_wanted()

    async def progress(self) -> None:
        """Waits until something has changed. Raises the OSError that the background failed with, and when closed."""
        self.raise_failure()
        if self._closed:
            raise OSError("the engine is closed")
        await self._progress.wait()

    def raise_failure(self) -> None:
        """Raises the OSError that the background failed with, if it did."""
        if self.failure is not None:
            raise self.failure

    def pace(self) -> Pace:
        """What writers have to do now."""
        if self.log is not None and self.log.unwritten_bytes > UNWRITTEN_LOG_BYTES_MAX:
            return Pace(False, self._options.slowdown_ms, "the log is behind")
        return pace(self.waiting_memtables, self._pressure, self._options)

    @property
    def waiting_memtables(self) -> int:
        """How many full memtables wait to be flushed; small ones count by their bytes."""
        frozen_bytes = sum(memtable.bytes_taken for memtable in self._memory.frozen())
        return frozen_bytes // self._options.memtable_bytes_max

    @property
    def arrears(self) -> int:
        """How far the work on this loop is behind: memtables that wait, and every second run too many in level 0."""
        arrears = self.waiting_memtables
        if self._worker is None:
            arrears += max(0, self._pressure.level0_runs - self._options.level0_tables_compact + 1) // 2
        return arrears

    @property
    def pressure(self) -> Pressure:
        """How far the levels are behind."""
        return self._pressure

    def fail(self, failure: OSError) -> None:
        """Ends the engine."""
        if self.failure is None:
            self.failure = failure
            self._memory.failed(failure)
        self._wake()

    async def close(self) -> None:
        """Stops the tasks, and waits for them. What they were making is left to the next opening."""
        self._closed = True
        tasks = [task for task in (self._flusher, self._compactor, self._sweeper) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._wake()

    # Tasks

    def _start(self, work: Work, name: str, ended: Callable[[], None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guarded(work), name=name)
        task.add_done_callback(partial(self._task_ended, ended))
        return task

    def _task_ended(self, ended: Callable[[], None], task: asyncio.Task[None]) -> None:
        if task.cancelled():
            # Not by `close`: the process is on its way out, and must not be kept from it by another attempt.
            if not self._closed:
                self.fail(OSError("background work was cancelled"))
        elif (error := task.exception()) is not None:
            # Not a failure of the disk but of the engine: no reason to go on as if nothing had happened.
            failure = OSError(f"background work failed: {error!r}")
            failure.__cause__ = error
            self.fail(failure)
        ended()

    async def _guarded(self, work: Work) -> None:
        try:
            await work()
        except OSError as error:
            self.fail(error)

    def _flusher_ended(self) -> None:
        self._flusher = None
        if any(memtable.sealed for memtable in self._memory.frozen()):
            self.flush_wanted()
        self._wake()

    def _compactor_ended(self) -> None:
        self._compactor = None
        self.compaction_wanted()
        self._wake()

    def _sweeper_ended(self) -> None:
        self._sweeper = None
        self.sweep_wanted()
        self._wake()

    def _wake(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    # Flush

    async def _flush_all(self) -> None:
        while sealed := [memtable for memtable in self._memory.frozen() if memtable.sealed]:
            # A checkpoint wants nothing that is newer, so what is newer goes by itself.
            asked = [number for number, memtable in enumerate(sealed) if memtable.checkpoints]
            await self._flush(sealed[asked[-1] :] if asked else sealed)

    async def _flush(self, sealed: list[Memtable]) -> None:
        """Newest first; they are the oldest that are frozen."""
        failpoint(FLUSH_BEGIN)
        bottom = not self._version.tables
        run = self._tables.next_number()
        sources = [_as_bulk(memtable) for memtable in sealed]
        metas = await write_merged(
            self._tables,
            sealed,
            sources,
            Place(level=0, run=run, now_ms=self._memory.now_ms()),
            self._building,
            operator=self._operator,
            bottom=bottom,
            rate=None,
        )
        failpoint(FLUSH_BUILT)
        log_lsn = sealed[0].last_lsn
        if self.log is not None:
            # The tables must not know more than the log: it would give the same numbers to other records.
            await self.log.sync()
        await self._commit(
            Edit(added=tuple(metas), log_lsn=log_lsn), lambda version: self._memory.flushed(sealed, version)
        )
        for found in sealed[0].checkpoints:
            if not found.done():
                found.set_result(self._version.hold())
        failpoint(FLUSH_DONE)
        self.counters.flushes += 1
        self.counters.flushed_bytes += sum(meta.size_bytes for meta in metas)
        if self.log is not None:
            await self.log.drop_through(log_lsn)

    # Compaction

    async def _compact_all(self) -> None:
        while self._compacting and (plan := pick(self._version.metas, self._options)) is not None:
            await self._compact(plan)

    async def _compact(self, plan: Plan) -> None:
        failpoint(COMPACT_BEGIN)
        removed = tuple(meta.number for meta in plan.inputs)
        if plan.move:
            await self._move(plan, removed)
            return
        version = self._version.hold()
        try:
            metas = await self._merge_tables(plan, version)
            failpoint(COMPACT_BUILT)
            await self._commit(Edit(added=tuple(metas), removed=removed), self._memory.change_version)
        finally:
            version.release()
        failpoint(COMPACT_DONE)
        self.counters.compactions += 1
        self.counters.compaction_read_bytes += sum(meta.size_bytes for meta in plan.inputs)
        self.counters.compaction_written_bytes += sum(meta.size_bytes for meta in metas)

    async def _merge_tables(self, plan: Plan, version: Version) -> list[TableMeta]:
        """Here, or in the worker's process."""
        place = Place(level=plan.level, run=plan.run, now_ms=self._memory.now_ms())
        if self._worker is not None:
            try:
                return await self._merge_elsewhere(self._worker, plan, place)
            except WorkerLost:
                # The numbers that it had are spent. From here on the work is done at home.
                self._worker = None
        return await compact(
            self._tables,
            version,
            plan.inputs,
            place,
            self._building,
            operator=self._operator,
            bottom=plan.bottom,
            rate=self.rate,
        )

    async def _merge_elsewhere(self, worker: CompactionWorker, plan: Plan, place: Place) -> list[TableMeta]:
        # Durably set aside: should this process end before the worker does, its files take nobody's numbers.
        first_number = self._tables.reserve(numbers_for(plan))
        await self._commit(Edit(), self._memory.change_version)
        return await worker.run(
            Job(
                path=self._tables.path,
                inputs=plan.inputs,
                first_number=first_number,
                place=place,
                bottom=plan.bottom,
                building=self._building,
                operator=self._operator,
                rate_bytes_s=self._options.compaction_rate_bytes_s,
            )
        )

    async def _move(self, plan: Plan, removed: tuple[int, ...]) -> None:
        moved = tuple(meta.at(plan.level, plan.run) for meta in plan.inputs)
        await self._commit(Edit(added=moved, removed=removed), self._memory.change_version)
        self.counters.moves += 1

    # The step that counts

    async def _commit(self, edit: Edit, change: Callable[[Version], None]) -> None:
        """Opens what is new, makes the edit durable, and lets reading go on in the next version."""
        async with self._editing:
            present = self._version.tables
            fresh: dict[int, Table] = {}
            for meta in edit.added:
                if meta.number not in present:
                    fresh[meta.number] = await self._tables.open(meta)
            edit = Edit(
                removed=edit.removed, added=edit.added, log_lsn=edit.log_lsn, next_number=self._tables.peek_number()
            )
            await self._manifest.append(edit)
            kept = {number: table for number, table in present.items() if number not in edit.removed}
            for meta in edit.added:
                table = fresh.get(meta.number) or present[meta.number]
                # A moved table: versions that are older have made their runs already.
                table.meta = meta
                kept[meta.number] = table
            for number in edit.removed:
                present[number].obsolete = number not in kept
            self._version = Version(kept.values(), self._operator, self._tables.reads)
            self._pressure = pressure(self._version.metas, self._options)
            change(self._version)
        self._wake()
        self.sweep_wanted()
        self.compaction_wanted()

    # Removal

    def sweep_wanted(self) -> None:
        """Begins to close and remove what nobody holds any more, if there is any."""
        if self._sweeper is None and self._tables.discarded and not self._closed and self.failure is None:
            self._sweeper = self._start(self._sweep, "lsm-sweep", self._sweeper_ended)

    def _discarded(self) -> None:
        # The last holder may be an iterator that was just collected, at any moment and on the way out of everything.
        if not self._closed and not self._loop.is_closed():
            self._loop.call_soon(self.sweep_wanted)

    async def _sweep(self) -> None:
        while self._tables.discarded:
            failpoint(BEFORE_REMOVE)
            await self._tables.sweep_one()


async def _as_bulk(memtable: Memtable) -> AsyncGenerator[Columns, None]:
    for columns in memtable.columns(None, None):
        yield columns
