"""Merges tables into tables: files in, files out, here or in another process.

In the engine's own process a compaction shares the interpreter with everything else, and takes half of its time under
load. A `CompactionWorker` does it in a process of its own: it is handed a job, reads the inputs and writes the outputs
by a disk that it opens itself, and tells what it made. What counts is decided by the engine alone, in the manifest.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from itertools import chain

from runtime.disk import Disk
from runtime.randomness import Randomness
from storage.engine import MergeOperator
from storage.lsm.building import BuildOptions, Place, build
from storage.lsm.catalog import TableMeta, runs_of
from storage.lsm.columns import Columns, Layer
from storage.lsm.merging import Purpose, merge_bulk
from storage.lsm.picking import Plan
from storage.lsm.rate_limit import RateLimit
from storage.lsm.sorted_run import SortedRun
from storage.lsm.table_reader import BlockCache
from storage.lsm.tables import Tables
from storage.lsm.version import Version, bulk
from structures.range_set import RangeSet

OUTPUTS_PER_INPUT_MAX = 64
"""Numbers are set aside for so many outputs per input table: compression may be switched off on the way."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that another process needs to know of a compaction. Can be pickled."""

    path: str
    inputs: tuple[TableMeta, ...]
    first_number: int
    """Numbers from here on are the job's."""
    place: Place
    bottom: bool
    building: BuildOptions
    operator: MergeOperator | None
    rate_bytes_s: int | None


class WorkerLost(Exception):
    """The other process ended in the midst of its work."""


class CompactionWorker:
    """Hands jobs to an executor of processes.

    `disk` and `random` are called there, so they must be picklable, such as `functools.partial(RealDisk, root)`: the
    disk must be the one that the engine works on. The executor belongs to the caller; one worker serves many engines.
    """

    def __init__(self, executor: Executor, disk: Callable[[], Disk], random: Callable[[], Randomness]) -> None:
        self._executor = executor
        self._disk = disk
        self._random = random

    async def run(self, job: Job) -> list[TableMeta]:
        """Raises what the job did, and WorkerLost.

        When cancelled, waits for the job all the same: its files must not come later.
        """
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._executor, run_job, self._disk, self._random, job)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise
        except BrokenExecutor as error:
            raise WorkerLost(str(error)) from error


def run_job(disk: Callable[[], Disk], random: Callable[[], Randomness], job: Job) -> list[TableMeta]:
    """What runs in the other process."""
    return asyncio.run(_run_job(disk(), random(), job))


async def _run_job(disk: Disk, random: Randomness, job: Job) -> list[TableMeta]:
    tables = Tables(disk, job.path, BlockCache(0), random, job.first_number)
    opened = Version(await tables.open_all(job.inputs), job.operator)
    try:
        return await compact(
            tables,
            opened,
            job.inputs,
            job.place,
            job.building,
            operator=job.operator,
            bottom=job.bottom,
            rate=RateLimit(job.rate_bytes_s),
        )
    finally:
        await tables.close()


async def compact(
    tables: Tables,
    version: Version,
    inputs: Sequence[TableMeta],
    place: Place,
    building: BuildOptions,
    *,
    operator: MergeOperator | None,
    bottom: bool,
    rate: RateLimit | None,
) -> list[TableMeta]:
    """Merges tables of a version into new ones."""
    runs: list[SortedRun] = [version.run_of(metas) for metas in runs_of(list(inputs))]
    sources = [bulk(run) for run in runs]
    return await write_merged(tables, runs, sources, place, building, operator=operator, bottom=bottom, rate=rate)


async def write_merged(
    tables: Tables,
    layers: Sequence[Layer],
    sources: Sequence[AsyncGenerator[Columns, None]],
    place: Place,
    building: BuildOptions,
    *,
    operator: MergeOperator | None,
    bottom: bool,
    rate: RateLimit | None,
) -> list[TableMeta]:
    """Writes what layers, newest first, hold together; `sources` gives the columns of each, and is closed."""
    range_deletes = [layer.range_deletes for layer in layers]
    merged = merge_bulk(
        sources,
        range_deletes,
        purpose=Purpose.BOTTOM if bottom else Purpose.MIDDLE,
        operator=operator,
        now_ms=place.now_ms,
    )
    kept = RangeSet(() if bottom else chain.from_iterable(range_deletes))
    async with AsyncExitStack() as ends:
        # A task that is cancelled must not leave generators behind for the loop to find.
        for source in sources:
            await ends.enter_async_context(aclosing(source))
        await ends.enter_async_context(aclosing(merged))
        return await build(tables, merged, kept, building, place, rate=rate)


def numbers_for(plan: Plan) -> int:
    """How many numbers a job sets aside."""
    return OUTPUTS_PER_INPUT_MAX * (len(plan.inputs) + 1)
