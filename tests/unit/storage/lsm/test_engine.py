"""The engine against a dict: random stories, and the power lost at every single operation of the disk.

Method: `storage.lsm.testing.Story` acts at random with tiny limits, so that a story of some hundred writes flushes,
compacts, moves and rewrites the manifest many times. For crashes, a short script that is about one thing runs once to
count the disk's operations, and then once for each of them with the power lost there: what the engine opens with
afterwards must be one of the states since the last durable one.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from runtime.failpoints import arm, disarm_all
from runtime.sim import PowerLost, SeededRandomness, SimDisk
from storage.engine import Corruption, DurableEngine, NoMergeOperator, WriteBatch
from storage.lsm.engine import LsmEngine, OperatorMismatch
from storage.lsm.options import CompactionPolicy, LsmOptions
from storage.lsm.testing import DifferenceFound, ManualClock, Story, StoryOptions
from storage.merge_operators import Append, Counter

TINY = {
    "memtable_bytes_max": 6000,
    "level0_tables_compact": 2,
    "level0_tables_slow": 6,
    "level0_tables_stop": 10,
    "level1_bytes": 6000,
    "level_growth": 3,
    "levels": 4,
    "table_bytes_max": 3000,
    "block_bytes": 256,
    "block_cache_bytes": 4000,
    "open_tables_max": 3,
    "manifest_segment_bytes": 700,
    "wal_segment_bytes": 4096,
    "slowdown_ms": 0.01,
}
Script = Callable[[Story], Awaitable[None]]


def tiny(**changes: object) -> LsmOptions:
    return LsmOptions(**{**TINY, **changes})  # type: ignore[arg-type]  # the dict above has the fields' types


def new_story(seed: int, disk: SimDisk, engine_options: LsmOptions, keys: int = 200) -> Story:
    return Story(disk, SeededRandomness(random.Random(seed)), engine_options, StoryOptions(keys=keys))


async def open_engine(disk: SimDisk, path: str = "db", **changes: object) -> LsmEngine:
    return await LsmEngine.open(
        disk,
        path,
        clock=ManualClock(),
        random=SeededRandomness(random.Random(1)),
        options=tiny(**changes),
        operator=Append(),
    )


async def stop(story: Story) -> None:
    """Ends what runs of a life that the power has left."""
    if story.engine is not None:
        with suppress(OSError):
            await story.engine.close()


@pytest.mark.parametrize("compaction", list(CompactionPolicy))
@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_a_story_with_orderly_reopenings_agrees_with_the_model(
    seed: int, wal: bool, compaction: CompactionPolicy
) -> None:
    story = new_story(seed, SimDisk(random.Random(seed)), tiny(wal=wal, compaction=compaction))
    await story.begin()
    for _ in range(4):
        await story.play(250)
        story.check()
        if not wal:
            await story.act("flush")
        await story.end()
        await story.begin()
        story.check()
    engine = story.engine
    assert engine is not None
    await engine.compact()
    story.check()
    assert len(engine.statistics().levels) <= 1
    await story.end()


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("seed", range(12))
async def test_a_story_with_crashes_anywhere_loses_no_more_than_its_end(seed: int, wal: bool) -> None:
    source = random.Random(seed)
    disk = SimDisk(source)
    story = new_story(seed, disk, tiny(wal=wal, compaction=source.choice(list(CompactionPolicy))))
    crashes = 0
    while crashes < 6:
        disk.power_lost_at = disk.operations + source.randrange(1, 250)
        try:
            await story.begin()
            await story.play(400)
            await story.end()
        except OSError:
            if not disk.power_lost:
                raise
            await stop(story)
            disk.crash()
            crashes += 1
    await story.begin()
    story.check()
    await story.end()


async def flush_script(story: Story) -> None:
    await story.play_only("put", 12)
    await story.act("delete_range")
    await story.act("merge")
    await story.act("flush")
    await story.play_only("batch", 3)
    await story.act("flush")


async def compaction_script(story: Story) -> None:
    engine = story.engine
    assert engine is not None
    for _ in range(3):
        await story.play_only("put", 15)
        await story.play_only("delete", 3)
        await story.act("flush")
        await engine.settle()
    await story.act("compact")


async def manifest_script(story: Story) -> None:
    for _ in range(5):
        await story.play_only("put", 2)
        await story.act("flush")


async def checkpoint_script(story: Story) -> None:
    await story.play_only("put", 12)
    await story.act("checkpoint")
    await story.play_only("put", 5)
    await story.act("checkpoint")


async def log_script(story: Story) -> None:
    for _ in range(4):
        await story.play_only("put", 5)
        await story.act("sync")
        await story.play_only("merge", 2)
    await story.act("flush")
    await story.play_only("batch", 2)
    await story.act("sync")


SCRIPTS: dict[str, tuple[Script, dict[str, object]]] = {
    "flush": (flush_script, {}),
    "compaction": (compaction_script, {}),
    "tiered": (compaction_script, {"compaction": CompactionPolicy.TIERED}),
    "manifest": (manifest_script, {"manifest_segment_bytes": 250}),
    "checkpoint": (checkpoint_script, {}),
    "log": (log_script, {"wal": True}),
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_power_lost_at_every_operation(name: str) -> None:
    seed = 1
    lost = 0
    script, changes = SCRIPTS[name]
    options = tiny(**changes)

    async def life(disk: SimDisk) -> Story:
        story = new_story(seed, disk, options)
        try:
            await story.begin()
            await script(story)
            await story.end()
        finally:
            await stop(story)
        return story

    counting = SimDisk(random.Random(seed))
    await life(counting)
    assert counting.operations > 20
    for number in range(1, counting.operations + 1):
        disk = SimDisk(random.Random(seed * 1000 + number))
        disk.power_lost_at = number
        story = new_story(seed, disk, options)
        try:
            await story.begin()
            await script(story)
            await story.end()
        except OSError:
            pass
        finally:
            await stop(story)
        if not disk.power_lost:
            # The logs write marks by timers, so that the count differs a little from life to life.
            continue
        lost += 1
        disk.crash()
        await story.begin()
        story.check()
        # It is not only readable: it goes on.
        await story.play_only("put", 3)
        await story.act("flush")
        await story.end()
        await story.begin()
        story.check()
        await story.end()
        await look_at_checkpoints(disk, story)
    assert lost > counting.operations * 0.9


async def test_the_crash_tests_notice_a_disk_that_lies() -> None:
    found = 0
    for number in range(1, 60, 3):
        disk = SimDisk(random.Random(number))
        disk.lie_about_sync = True
        disk.power_lost_at = 60 + number
        story = new_story(1, disk, tiny())
        with suppress(OSError):
            await story.begin()
            await flush_script(story)
            await story.end()
        await stop(story)
        disk.crash()
        disk.lie_about_sync = False
        try:
            await story.begin()
        except (DifferenceFound, Corruption):
            found += 1
        await stop(story)
    assert found > 5


async def look_at_checkpoints(disk: SimDisk, story: Story) -> None:
    """A checkpoint that was not finished is refused or empty; it is never half of something."""
    for name in await disk.list("data"):
        if name.startswith("checkpoint"):
            with suppress(Corruption):
                copy = await story.open(f"data/{name}")
                assert len(list(copy.scan())) in (0, *story.checkpoint_sizes)
                await copy.close()


@pytest.mark.parametrize(
    "site",
    [
        "lsm.flush.begin",
        "lsm.flush.built",
        "lsm.flush.done",
        "lsm.compact.begin",
        "lsm.compact.built",
        "lsm.compact.done",
        "lsm.before_remove",
        "lsm.table.before_sync",
        "lsm.manifest.before_edit",
        "lsm.manifest.after_edit",
        "lsm.manifest.before_rewrite",
        "lsm.manifest.before_drop",
        "lsm.checkpoint.before_link",
        "lsm.checkpoint.before_manifest",
    ],
)
async def test_a_crash_at_every_failpoint(site: str) -> None:
    hits = 0
    for skip in range(3):
        disk = SimDisk(random.Random(skip))
        story = new_story(skip, disk, tiny())

        def lose_power(disk: SimDisk = disk) -> None:
            nonlocal hits
            hits += 1
            disk.power_lost = True
            raise PowerLost

        arm(site, lose_power, skip=skip)
        try:
            await story.begin()
            await story.play(1500)
        except OSError:
            assert disk.power_lost
        finally:
            disarm_all()
            await stop(story)
        disk.crash()
        await story.begin()
        story.check()
        await story.play(50)
        story.check()
        await story.end()
    assert hits


async def test_it_is_an_engine() -> None:
    engine: DurableEngine = await open_engine(SimDisk(random.Random(1)))
    await engine.close()
    await engine.close()


async def test_a_failed_disk_is_heard_of_by_every_later_call() -> None:
    disk = SimDisk(random.Random(1))
    engine = await open_engine(disk)
    engine.put(b"a", b"1")
    disk.fail_syncs = 1
    with pytest.raises(OSError):
        await engine.flush()
    with pytest.raises(OSError):
        engine.put(b"b", b"2")
    with pytest.raises(OSError):
        engine.delete(b"a")
    with pytest.raises(OSError):
        engine.write(batch_of_one())
    with pytest.raises(OSError):
        await engine.throttle()
    with pytest.raises(OSError):
        await engine.flush()
    assert engine.get(b"a") == b"1"
    await engine.close()


async def test_whoever_waits_hears_that_the_background_was_cancelled() -> None:
    engine = await open_engine(SimDisk(random.Random(1)))
    engine.put(b"a", b"1")
    waiting = asyncio.create_task(engine.flush())
    await asyncio.sleep(0)
    (flusher,) = (task for task in asyncio.all_tasks() if task.get_name() == "lsm-flush")
    flusher.cancel()
    with pytest.raises(OSError, match="cancelled"):
        await waiting
    with pytest.raises(OSError, match="cancelled"):
        engine.put(b"b", b"2")
    await engine.close()


async def test_a_bug_in_the_background_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await open_engine(SimDisk(random.Random(1)))

    def broken(*_arguments: object, **_named: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("storage.lsm.background.write_merged", broken)
    engine.put(b"a", b"1")
    with pytest.raises(OSError, match="ZeroDivisionError"):
        await engine.flush()
    assert engine.get(b"a") == b"1"
    await engine.close()


def batch_of_one() -> WriteBatch:
    batch = WriteBatch()
    batch.put(b"k", b"v")
    return batch


async def test_the_operator_must_be_the_one_of_the_data() -> None:
    disk = SimDisk(random.Random(1))
    await (await open_engine(disk)).close()
    for operator in (None, Counter()):
        with pytest.raises(OperatorMismatch, match="'append'"):
            await LsmEngine.open(
                disk, "db", clock=ManualClock(), random=SeededRandomness(random.Random(1)), operator=operator
            )
    await (await open_engine(disk)).close()


async def test_without_an_operator_nothing_of_a_batch_with_a_merge_happens() -> None:
    engine = await LsmEngine.open(
        SimDisk(random.Random(1)), "db", clock=ManualClock(), random=SeededRandomness(random.Random(1))
    )
    batch = WriteBatch()
    batch.put(b"a", b"1")
    batch.merge(b"b", b"2")
    with pytest.raises(NoMergeOperator):
        engine.write(batch)
    with pytest.raises(NoMergeOperator):
        engine.merge(b"b", b"2")
    assert list(engine.scan()) == []
    await engine.close()


async def test_tables_without_a_manifest_are_refused() -> None:
    disk = SimDisk(random.Random(1))
    disk.put("db/0000000001.table", b"something")
    with pytest.raises(Corruption, match="no manifest"):
        await open_engine(disk)


async def test_orphans_are_removed_at_opening() -> None:
    disk = SimDisk(random.Random(1))
    engine = await open_engine(disk)
    engine.put(b"a", b"1")
    await engine.flush()
    await engine.close()
    disk.put("db/0000000099.table", b"left by a crash")
    engine = await open_engine(disk)
    assert "0000000099.table" not in await disk.list("db")
    assert engine.get(b"a") == b"1"
    await engine.close()


async def test_a_batch_too_large_for_the_log_is_refused_wholly() -> None:
    engine = await open_engine(SimDisk(random.Random(1)), wal=True, batch_bytes_max=1000)
    batch = WriteBatch()
    batch.put(b"a", b"1")
    batch.put(b"b", bytes(2000))
    with pytest.raises(ValueError, match="1000"):
        engine.write(batch)
    assert engine.get(b"a") is None
    await engine.close()


async def test_files_go_when_the_last_snapshot_lets_go() -> None:
    disk = SimDisk(random.Random(1))
    engine = await open_engine(disk)
    for number in range(100):
        engine.put(b"%04d" % number, b"old")
    await engine.flush()
    snapshot = engine.snapshot()
    scan = engine.scan(b"0050")
    before = set(await disk.list("db"))
    for number in range(100):
        engine.put(b"%04d" % number, b"new")
    await engine.compact()
    assert before <= set(await disk.list("db")), "the snapshot and the scan still need them"
    assert dict(snapshot.scan()) == {b"%04d" % number: b"old" for number in range(100)}
    snapshot.close()
    assert next(scan) == (b"0050", b"old")
    del scan
    async with asyncio.timeout(5):
        while any(name.endswith(".table") for name in before & set(await disk.list("db"))):
            await asyncio.sleep(0)
    await engine.close()


async def test_writes_wait_for_the_disk_when_they_run_ahead() -> None:
    disk = SimDisk(random.Random(1))
    engine = await open_engine(disk, frozen_memtables_max=1)
    for number in range(2000):
        engine.put(b"%06d" % number, bytes(50))
        await engine.throttle()
    statistics = engine.statistics()
    assert statistics.frozen_bytes <= 3 * TINY["memtable_bytes_max"]
    assert statistics.stops
    assert sum(statistics.stalls) >= statistics.stops
    assert statistics.flushes
    await engine.compact()
    assert engine.statistics().write_amplification > 1
    await engine.close()


async def test_many_writers_share_a_sync() -> None:
    disk = SimDisk(random.Random(1))
    engine = await open_engine(disk, wal=True)
    before = disk.syncs

    async def writer(number: int) -> None:
        for turn in range(5):
            engine.put(b"%d/%d" % (number, turn), b"v")
            await engine.sync()

    await asyncio.gather(*map(writer, range(64)))
    assert disk.syncs - before <= 5 * 3
    disk.crash()
    with suppress(OSError):
        await engine.close()
    engine = await open_engine(disk, wal=True)
    assert len(list(engine.scan())) == 64 * 5
    await engine.close()


async def test_a_log_that_is_switched_off_is_taken_over() -> None:
    disk = SimDisk(random.Random(1))
    engine = await open_engine(disk, wal=True)
    engine.merge(b"a", b"1")
    await engine.sync()
    await engine.close()
    for wal in (False, False, True, True):
        engine = await open_engine(disk, wal=wal)
        assert dict(engine.scan()) == {b"a": b"1"}
        await engine.close()


async def test_a_small_soak_ends_equal() -> None:
    options = tiny(memtable_bytes_max=100_000, level1_bytes=200_000, table_bytes_max=60_000)
    story = new_story(5, SimDisk(random.Random(5)), options, keys=3000)
    await story.begin()
    for _ in range(3):
        await story.play_only("put", 4000)
        await story.play(1500)
        await story.act("flush")
        await story.end()
        await story.begin()
    story.check()
    await story.end()


async def test_reads_are_counted_by_what_they_cost() -> None:
    engine = await open_engine(
        SimDisk(random.Random(1)), row_cache_bytes=0, block_cache_bytes=1 << 20, table_bytes_max=1 << 20
    )
    keys = [b"%04d" % number for number in range(300)]
    for key in keys:
        engine.put(key, b"value" * 4)
    await engine.compact()
    for key in keys:
        assert engine.get(key) is not None
    reads = engine.statistics().reads
    assert reads.table_gets == 300
    assert reads.block_hits + reads.block_misses == 300
    assert 10 < reads.block_misses < 100, "each block was read once, and found then"
    assert (reads.filter_rejects, reads.filter_false_positives) == (0, 0), "one table, which has all"
    for key in keys:
        assert engine.get(key + b"x") is None
    spared = engine.statistics().reads
    assert spared.filter_rejects + spared.filter_false_positives >= 299
    assert spared.filter_rejects > 10 * spared.filter_false_positives
    assert len(list(engine.scan())) == 300
    assert engine.statistics().reads.blocks_past_cache > 0
    assert reads.blocks_past_cache == 0, "what was told before stays as it was"
    await engine.close()


async def test_rows_that_were_found_ask_no_table_again() -> None:
    engine = await open_engine(SimDisk(random.Random(1)))
    engine.put(b"a", b"1")
    await engine.flush()
    for _ in range(3):
        assert engine.get(b"a") == b"1"
    assert engine.statistics().reads.table_gets == 1
    await engine.close()


async def test_few_tables_are_open_and_all_are_read() -> None:
    disk = SimDisk(random.Random(1))
    engine = await open_engine(disk, block_cache_bytes=0, row_cache_bytes=0)
    for number in range(1000):
        engine.put(b"%04d" % (number * 7919 % 1000), b"x" * 40)
        await engine.throttle()
    await engine.flush()
    await engine.settle()
    tables = sum(level.tables for level in engine.statistics().levels)
    assert tables > 6
    for number in range(0, 1000, 7):
        assert engine.get(b"%04d" % number) == b"x" * 40
    assert len(list(engine.scan(reverse=True))) == 1000
    statistics = engine.statistics()
    assert statistics.open_tables == 3
    assert statistics.tables_reopened > tables
    await engine.close()
    assert engine.statistics().open_tables == 0
    again = await open_engine(disk, open_tables_max=1)
    assert len(list(again.scan())) == 1000
    assert again.statistics().open_tables == 1
    await again.close()
