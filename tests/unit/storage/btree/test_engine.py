"""What the shared suite does not ask of the B+tree: space, memory, limits, and who may do what at once."""

import asyncio
import errno
import random
from collections.abc import Callable

import pytest

from runtime.sim import SimDisk
from storage.btree import BTreeEngine
from storage.btree.page import key_bytes_max
from storage.btree.verify import verify
from storage.engine import Corruption, NoMergeOperator, WriteBatch
from storage.merge_operators import Append, Counter

PAGE = 4096


async def opened(
    disk: SimDisk | None = None,
    *,
    page_bytes: int = PAGE,
    cache_bytes_max: int = 1 << 24,
    changed_bytes_max: int = 1 << 26,
) -> BTreeEngine:
    return await BTreeEngine.open(
        disk or SimDisk(random.Random(1)),
        "data",
        page_bytes=page_bytes,
        cache_bytes_max=cache_bytes_max,
        changed_bytes_max=changed_bytes_max,
    )


async def test_a_file_that_is_written_over_and_over_does_not_grow() -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk)
    source = random.Random(2)
    sizes = []
    for round_number in range(60):
        for _ in range(200):
            engine.put(b"%04d" % source.randrange(1000), source.randbytes(source.choice((50, 50, 3000))))
        await engine.flush()
        sizes.append(engine.statistics().pages)
        if round_number % 20 == 10:
            await engine.close()
            engine = await opened(disk)
    assert sizes[-1] <= sizes[20] * 1.1
    await engine.close()
    assert (await verify(disk, "data")).whole


async def test_a_snapshot_holds_its_pages_and_gives_them_back() -> None:
    engine = await opened(cache_bytes_max=0)
    content = {b"%04d" % number: b"old" * 20 for number in range(2000)}
    for key, value in content.items():
        engine.put(key, value)
    await engine.flush()
    snapshot = engine.snapshot()
    for round_number in range(10):
        for key in content:
            engine.put(key, b"new%d" % round_number * 20)
        await engine.flush()
    assert dict(snapshot.scan()) == content
    held = engine.statistics().waiting_pages
    size = engine.statistics().pages
    assert held > 9 * size / 12
    snapshot.close()
    for round_number in range(10):
        for key in content:
            engine.put(key, b"newer%d" % round_number * 20)
        await engine.flush()
    assert engine.statistics().pages == size
    assert engine.statistics().waiting_pages < held / 3


async def test_a_small_commit_writes_little() -> None:
    engine = await opened()
    for number in range(20_000):
        engine.put(b"%06d" % number, b"x" * 100)
    await engine.flush()
    assert engine.statistics().height == 2
    before = engine.statistics().bytes_written
    engine.put(b"010000", b"y")
    await engine.flush()
    # A path of three pages, two of the map, a meta; never the whole.
    assert engine.statistics().bytes_written - before <= 7 * PAGE


async def test_a_flush_without_changes_writes_nothing() -> None:
    engine = await opened()
    engine.put(b"a", b"b")
    await engine.flush()
    commits = engine.statistics().commits
    await engine.flush()
    assert engine.statistics().commits == commits


async def test_flushes_that_wait_together_share_commits() -> None:
    engine = await opened()

    async def write(number: int) -> None:
        engine.put(b"%d" % number, b"")
        await engine.flush()

    before = engine.statistics().commits
    await asyncio.gather(*(write(number) for number in range(64)))
    assert engine.statistics().commits - before <= 2


async def test_keys_that_come_in_order_fill_their_pages() -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk)
    for number in range(10_000):
        engine.put(b"%08d" % number, b"x" * 50)
    await engine.flush()
    await engine.close()
    report = await verify(disk, "data")
    assert report.leaf_bytes > 0.97 * report.leaf_pages * PAGE


async def test_a_range_goes_without_its_leaves_being_read() -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk)
    for number in range(40_000):
        engine.put(b"%08d" % number, b"x" * 50)
    await engine.flush()
    await engine.close()
    engine = await opened(disk)
    leaves = engine.statistics().pages
    before = engine.statistics().pages_read
    engine.delete_range(b"00000100", b"00039900")
    assert engine.statistics().pages_read - before < leaves / 20
    assert len(list(engine.scan())) == 200
    await engine.flush()
    await engine.close()
    report = await verify(disk, "data")
    assert report.whole
    assert report.entries == 200


async def test_what_waits_to_be_written_is_bounded() -> None:
    disk = SimDisk(random.Random(1))
    limit = 2 << 20
    engine = await opened(disk, changed_bytes_max=limit)
    largest = 0
    for number in range(30_000):
        engine.put(random.Random(number).randbytes(8), b"x" * 100)
        if number % 50 == 0:
            await engine.throttle()
            largest = max(largest, engine.tree.changed_bytes)
    assert engine.statistics().commits > 10
    assert largest < 1.5 * limit


async def test_the_cache_is_bounded() -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk)
    for number in range(20_000):
        engine.put(b"%08d" % number, b"x" * 50)
    await engine.flush()
    await engine.close()
    engine = await opened(disk, cache_bytes_max=200_000)
    for number in range(20_000):
        assert engine.get(b"%08d" % number) == b"x" * 50
    held = len(engine.pages.young) + len(engine.pages._old)
    assert held * PAGE < 200_000
    assert engine.pages.statistics.evictions > 5


async def test_limits_are_said() -> None:
    engine = await opened()
    longest = key_bytes_max(PAGE)
    engine.put(b"k" * longest, b"x" * 100_000)
    batch = WriteBatch()
    batch.put(b"a", b"b")
    batch.put(b"k" * (longest + 1), b"")
    with pytest.raises(ValueError, match="the key has 1025 bytes; this file takes up to 1024"):
        engine.write(batch)
    assert [key for key, _value in engine.scan()] == [b"k" * longest]
    await engine.flush()
    assert engine.get(b"k" * longest) == b"x" * 100_000
    assert engine.get(b"k" * 2000) is None
    engine.delete(b"k" * 2000)
    with pytest.raises(ValueError, match="a page has one of"):
        await BTreeEngine.open(SimDisk(random.Random(1)), "data", page_bytes=5000)


@pytest.mark.parametrize("page_bytes", [4096, 8192, 16384, 32768])
async def test_pages_of_any_size(page_bytes: int) -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk, page_bytes=page_bytes)
    source = random.Random(3)
    content = {source.randbytes(source.randrange(1, 900)): source.randbytes(source.randrange(5000)) for _ in range(400)}
    for key, value in content.items():
        engine.put(key, value)
    await engine.flush()
    await engine.close()
    # A file keeps the size that it was made with.
    engine = await opened(disk)
    assert engine.statistics().page_bytes == page_bytes
    assert list(engine.scan()) == sorted(content.items())
    await engine.close()
    assert (await verify(disk, "data")).whole


async def test_the_operator_belongs_to_the_data() -> None:
    disk = SimDisk(random.Random(1))
    engine = await BTreeEngine.open(disk, "data", operator=Append())
    await engine.close()
    for operator in (None, Counter()):
        with pytest.raises(ValueError, match="'append'"):
            await BTreeEngine.open(disk, "data", operator=operator)
    engine = await opened()
    with pytest.raises(NoMergeOperator):
        engine.merge(b"a", b"b")


@pytest.mark.parametrize("fault", ["sync", "write", "space"])
async def test_an_engine_that_failed_says_so_from_then_on(fault: str) -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk)
    engine.put(b"a", b"b")
    await engine.flush()
    engine.put(b"c", b"d" * 100_000)
    if fault == "sync":
        disk.fail_syncs = 1
    elif fault == "write":
        disk.fail_writes = 1
    else:
        disk.capacity_bytes = len(disk.content("data/pages")) + PAGE
    with pytest.raises(OSError) as first:
        await engine.flush()
    assert first.value.errno in (errno.EIO, errno.ENOSPC)
    disk.capacity_bytes = None
    with pytest.raises(OSError):
        engine.put(b"e", b"f")
    with pytest.raises(OSError):
        engine.delete_range(b"a", b"b")
    with pytest.raises(OSError):
        await engine.throttle()
    with pytest.raises(OSError):
        await engine.flush()
    assert engine.get(b"a") == b"b"
    await engine.close()
    disk.crash()
    engine = await opened(disk)
    assert engine.get(b"a") == b"b"


async def test_a_read_that_the_disk_refuses_changes_nothing() -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk, cache_bytes_max=0)
    content = {b"%04d" % number: b"x" * 100 for number in range(500)}
    for key, value in content.items():
        engine.put(key, value)
    await engine.flush()
    writes: list[Callable[[], None]] = [
        lambda: engine.put(b"0200", b""),
        lambda: engine.delete(b"0200"),
        lambda: engine.delete_range(b"0100", b"0300"),
    ]
    for write in writes:
        disk.fail_reads = 1
        with pytest.raises(OSError):
            write()
        disk.fail_reads = 0
        assert dict(engine.scan()) == content
    for key in content:
        # Only the neighbour that a small leaf would be merged with cannot be read: the deletion stands.
        engine.delete(key)
    assert not list(engine.scan())


async def test_a_flush_that_is_cancelled_goes_on_for_the_others() -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk)
    engine.put(b"a", b"b")
    first, second = (asyncio.create_task(engine.flush()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    await engine.close()
    disk.crash()
    assert (await opened(disk)).get(b"a") == b"b"


async def test_a_closed_engine_takes_no_writes() -> None:
    engine = await opened()
    await engine.close()
    await engine.close()
    with pytest.raises(OSError):
        engine.put(b"a", b"b")
    with pytest.raises(OSError):
        await engine.flush()


async def test_a_checkpoint_is_compact_and_its_damage_does_not_spread() -> None:
    disk = SimDisk(random.Random(1))
    engine = await opened(disk)
    for number in range(5000):
        engine.put(b"%05d" % (number * 7919 % 5000), b"x" * 100)
        if number % 500 == 0:
            await engine.flush()
    engine.put(b"large", b"y" * 50_000)
    await engine.checkpoint("copy")
    with pytest.raises(FileExistsError):
        await engine.checkpoint("copy")
    report = await verify(disk, "copy")
    assert report.whole
    assert report.free_pages == 0
    assert report.entries == 5001
    assert report.pages < engine.statistics().pages
    await engine.flush()
    await engine.close()
    engine = await opened(disk)
    image, state = disk.content("data/pages"), engine.space.state
    leaf = next(page for page in range(2, 50) if state[page] == 0 and image[page * PAGE + 4] == 1)
    disk.flip_bit("data/pages", (leaf * PAGE + 99) * 8)
    with pytest.raises(Corruption):
        await engine.checkpoint("another")


async def test_power_lost_while_a_file_is_made() -> None:
    for lost_at in range(1, 30):
        disk = SimDisk(random.Random(lost_at))
        disk.power_lost_at = lost_at
        try:
            engine = await BTreeEngine.open(disk, "a/b/c")
        except OSError:
            assert disk.power_lost
            disk.crash()
        else:
            disk.crash()
            assert await disk.exists("a/b/c/pages")
            break
        engine = await BTreeEngine.open(disk, "a/b/c")
        engine.put(b"a", b"b")
        await engine.flush()
        disk.crash()
        assert (await BTreeEngine.open(disk, "a/b/c")).get(b"a") == b"b"
    else:
        raise AssertionError("the opening took more operations than the test allows for")


async def test_a_commit_that_is_cancelled_before_it_began_is_told_to_all_who_wait() -> None:
    engine = await opened()
    engine.put(b"a", b"b")
    waiting = asyncio.create_task(engine.flush())
    while not (commits := [task for task in asyncio.all_tasks() if task.get_name().startswith("btree-commit")]):
        await asyncio.sleep(0)
    commits[0].cancel()
    with pytest.raises(OSError, match="broken off"):
        await waiting
    with pytest.raises(OSError, match="broken off"):
        engine.put(b"c", b"d")
    await engine.close()
