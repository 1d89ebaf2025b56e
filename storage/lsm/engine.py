"""The engine: what is in memory, what is on the disk, and the tasks between them."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from runtime.clock import Clock
from runtime.disk import Disk
from runtime.randomness import Randomness
from storage.engine import Corruption, DeleteRange, Merge, MergeOperator
from storage.lsm.background import Background
from storage.lsm.building import BuildOptions
from storage.lsm.catalog import Edit
from storage.lsm.checkpoint import write_checkpoint
from storage.lsm.columns import Expiring
from storage.lsm.compaction import CompactionWorker
from storage.lsm.content import Content
from storage.lsm.manifest import Manifest
from storage.lsm.measures import measures
from storage.lsm.operations_log import Logged, OperationsLog, decode_operations
from storage.lsm.options import LsmOptions
from storage.lsm.statistics import LevelStatistics, LsmStatistics
from storage.lsm.table_reader import BlockCache
from storage.lsm.tables import Tables
from storage.lsm.version import Version
from storage.measures import Measure
from storage.wal import Wal, WalCorrupted

LOG_DIRECTORY = "log"
LOG_RECORD_BYTES_MAX = 64 << 20
ARREARS_MAX = 3
"""A writer waits 1, 2 or 4 times `slowdown_ms` every STEP_BYTES, by how far the background is behind. A flush of such a
step takes about 6 ms, so that it keeps up once one or two memtables wait. Turns of the loop would not do: they pass
in no time while a flush waits for its write."""


class OperatorMismatch(ValueError):
    """The data was written with another merge operator."""


class LsmEngine(Content):
    """A `DurableEngine`. Made by `open`; all calls belong on the loop that opened it."""

    _disk: Disk
    _path: str
    _manifest: Manifest
    _tables: Tables
    _background: Background
    _random: Randomness
    _closed = False
    _replaying = False

    @staticmethod
    async def open(
        disk: Disk,
        path: str,
        *,
        clock: Clock,
        random: Randomness,
        options: LsmOptions | None = None,
        operator: MergeOperator | None = None,
        cache: BlockCache | None = None,
        worker: CompactionWorker | None = None,
    ) -> "LsmEngine":
        """Opens the engine in the directory `path`, or makes it.

        `cache` may be shared among engines, and so may `worker`, which takes compactions to another process. Raises
        Corruption for what is damaged, OperatorMismatch when the data was written with another merge operator, OSError.
        O(tables), and with a log O(what was not flushed).
        """
        options = options or LsmOptions()
        manifest = await Manifest.open(
            disk, path, clock=clock, random=random, segment_bytes=options.manifest_segment_bytes
        )
        tables: Tables | None = None
        try:
            catalog = manifest.catalog
            cache = cache if cache is not None else BlockCache(options.block_cache_bytes)
            tables = Tables(disk, path, cache, random, catalog.next_number, open_max=options.open_tables_max)
            if manifest.is_new:
                await tables.refuse_strays()
            else:
                await tables.remove_orphans(catalog.tables)
            await _settle_operator(manifest, operator, path)
            opened = Version(await tables.open_all(catalog.tables.values()), operator, tables.reads)
            engine = LsmEngine(opened, clock=clock, operator=operator, options=options, reads=tables.reads)
            engine._disk, engine._path, engine._random = disk, path, random
            engine._manifest, engine._tables = manifest, tables
            building = BuildOptions(
                table_bytes_max=options.table_bytes_max,
                block_bytes=options.block_bytes,
                filter_bits_per_key=options.filter_bits_per_key,
                compression=options.compression,
                operator="" if operator is None else operator.name,
            )
            engine._background = Background(
                engine,
                opened,
                manifest=manifest,
                tables=tables,
                options=options,
                building=building,
                operator=operator,
                worker=worker,
            )
            if options.wal or await disk.exists(f"{path}/{LOG_DIRECTORY}"):
                await engine._open_log()
        except BaseException:
            with suppress(OSError):
                if tables is not None:
                    await tables.close()
                await manifest.close()
            raise
        engine._background.compaction_wanted()
        return engine

    async def _open_log(self) -> None:
        """Applies what the log holds beyond the tables. Without `options.wal`, flushes it and leaves the log behind."""
        directory = f"{self._path}/{LOG_DIRECTORY}"
        covered = self._manifest.catalog.log_lsn
        # Nothing is flushed meanwhile: what was recovered is durable only once the log has been read to its end.
        self._replaying = True
        try:
            wal, recovered = await Wal.open(
                self._disk,
                directory,
                random=self._random,
                clock=self._clock,
                segment_bytes_max=self._options.wal_segment_bytes,
                record_bytes_max=LOG_RECORD_BYTES_MAX,
                pending_bytes_max=1 << 62,
            )
            async for lsn, record in recovered:
                if lsn > covered:
                    self._replay(decode_operations(record, directory, lsn), lsn)
        except WalCorrupted as error:
            raise Corruption(error.file, error.offset, f"the log is damaged: {error.reason}") from error
        finally:
            self._replaying = False
        log = OperationsLog(wal, self._options.batch_bytes_max)
        try:
            if wal.next_lsn <= covered:
                raise Corruption(directory, 0, f"the tables hold the log's record {covered}, which the log lacks")
            self._log = self._background.log = log
            if self._options.wal:
                self._background.flush_wanted()
            else:
                await self.flush()
                await log.drop_through(wal.next_lsn - 1)
                self._log = self._background.log = None
                await log.close()
        except BaseException:
            await log.close()
            raise

    def _replay(self, operations: list[tuple[bytes, Logged]], lsn: int) -> None:
        special = (DeleteRange, Merge, Expiring)
        if any(isinstance(operation, special) for _key, operation in operations):
            self._write_special(operations)
        else:
            size = sum(len(key) + len(value) for key, value in operations if isinstance(value, bytes))
            self._make_room(size)
            self._apply(operations, {})
        self._active.last_lsn = lsn

    # Writing beyond memory

    def _flush_wanted(self) -> None:
        if not self._replaying:
            self._background.flush_wanted()

    async def throttle(self) -> None:
        """Waits while writes run further ahead of the disk than the options allow. Raises what the background did."""
        if self._failure is not None:
            raise self._failure
        if self._turn_due:
            await self._give_way()

    async def _give_way(self) -> None:
        """Gives the background its turns: the more, the more it has before it."""
        background = self._background
        begin_s = self._clock.monotonic_s()
        pace = background.pace()
        if pace.stop:
            background.counters.stops += 1
            # The flag stays up meanwhile, so that other writers stop here, too.
            while background.pace().stop:
                background.flush_wanted()
                background.compaction_wanted()
                await background.progress()
        else:
            arrears = min(background.arrears, ARREARS_MAX)
            arrears_ms = self._options.slowdown_ms * (1 << arrears) / 2 if arrears else 0.0
            await asyncio.sleep(max(pace.delay_ms, arrears_ms) / 1000)
        self._turn_due = False
        background.counters.stalls.observe((self._clock.monotonic_s() - begin_s) * 1000)

    async def flush(self) -> None:
        """Returns when everything written before the call is durable in tables."""
        self._background.raise_failure()
        self._freeze()
        await self._background.flushed()

    async def sync(self) -> None:
        """Returns when everything written before the call is durable: with a log by one sync for all who wait."""
        if self._log is None:
            await self.flush()
        else:
            try:
                await self._log.sync()
            except OSError as error:
                self._background.fail(error)
                raise

    async def checkpoint(self, path: str) -> None:
        """Makes a copy of the content as of now in a directory of the same disk that does not exist yet.

        Costs a flush and a link for each table. Raises FileExistsError, OSError.
        """
        background = self._background
        background.raise_failure()
        self._freeze()
        version = await background.version_of_now()
        try:
            await write_checkpoint(
                self._disk,
                self._path,
                path,
                version,
                self._manifest.catalog,
                clock=self._clock,
                random=self._random,
                segment_bytes=self._options.manifest_segment_bytes,
            )
        finally:
            version.release()
            background.sweep_wanted()

    async def compact(self) -> None:
        """Flushes, and merges everything into one run without anything superfluous. Raises OSError."""
        await self.flush()
        await self._background.compact_everything()

    async def settle(self) -> None:
        """Returns when no flush or compaction is due. Raises OSError."""
        await self._background.flushed()
        await self._background.compacted()

    async def close(self) -> None:
        """Stops background work and releases the files. Does not flush; a log keeps what was written to it."""
        if self._closed:
            return
        self._closed = True
        await self._background.close()
        try:
            if self._log is not None:
                await self._log.close()
            await self._manifest.close()
        except OSError:
            # Who needs to know that the disk failed hears it from every call; closing only lets go.
            pass
        finally:
            self.failed(OSError("the engine is closed"))
            await self._tables.close()

    def measures(self) -> Iterator[Measure]:
        """`statistics`, for metrics. O(tables)."""
        return measures(self.statistics())

    def statistics(self) -> LsmStatistics:
        """What there is, and what was done since opening. O(tables)."""
        background = self._background
        counters = background.counters
        catalog = self._manifest.catalog
        levels = []
        for level in sorted({meta.level for meta in catalog.tables.values()}):
            metas = [meta for meta in catalog.tables.values() if meta.level == level]
            levels.append(
                LevelStatistics(
                    level=level,
                    runs=len({meta.run for meta in metas}),
                    tables=len(metas),
                    size_bytes=sum(meta.size_bytes for meta in metas),
                    entries=sum(meta.entries for meta in metas),
                    oldest_ms=min(meta.created_ms for meta in metas),
                )
            )
        return LsmStatistics(
            levels=tuple(levels),
            memtable_bytes=self._active_bytes,
            frozen_memtables=len(self._frozen),
            frozen_bytes=self._frozen_bytes,
            snapshots=self._snapshots,
            flushes=counters.flushes,
            flushed_bytes=counters.flushed_bytes,
            compactions=counters.compactions,
            moves=counters.moves,
            compaction_read_bytes=counters.compaction_read_bytes,
            compaction_written_bytes=counters.compaction_written_bytes,
            pending_compaction_bytes=background.pressure.pending_bytes,
            manifest_bytes=self._manifest.bytes_total,
            log_bytes=0 if self._log is None else self._log.bytes_total,
            cache_bytes=self._tables.cache.charge_bytes,
            cache_evictions=self._tables.cache.evictions,
            reads=replace(self._tables.reads),
            open_tables=len(self._tables.files),
            tables_reopened=self._tables.files.reopened,
            stalls=tuple(counters.stalls.counts),
            stalled_ms=counters.stalls.total_ms,
            stops=counters.stops,
            rate_limited_s=background.rate.waited_s,
        )


async def _settle_operator(manifest: Manifest, operator: MergeOperator | None, path: str) -> None:
    """Writes the first edit, or holds the operator against the one of the data."""
    name = "" if operator is None else operator.name
    known = manifest.catalog.operator
    if manifest.is_new:
        await manifest.append(Edit(whole=True, next_number=1, operator=name))
    elif known != name:
        written = f"the merge operator {known!r}" if known else "no merge operator"
        asked = f"with {name!r}" if name else "without one"
        raise OperatorMismatch(f"{path} was written with {written}; it cannot be opened {asked}")
