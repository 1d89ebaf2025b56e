"""The simulated disk keeps its promises, and nothing that it did not promise can be relied on."""

import errno
import random

import pytest

from runtime import DirectoryInUse, SyncFailed
from runtime.sim import PowerLost, SimDisk


async def test_synced_data_and_entries_survive_every_crash() -> None:
    for seed in range(50):
        disk = SimDisk(random.Random(seed))
        await disk.make_directory("d")
        await disk.sync_directory(".")
        file = await disk.open("d/f", create=True)
        await file.pwrite([b"kept"], 0, sync=True)
        await disk.sync_directory("d")
        disk.crash()
        with pytest.raises(PowerLost):
            await file.pread(1, 0)
        assert await disk.read("d/f") == b"kept"


async def test_unsynced_sectors_survive_one_by_one_or_read_as_zeros() -> None:
    seen = set()
    for seed in range(300):
        disk = SimDisk(random.Random(seed))
        file = await disk.open("f", create=True)
        await disk.sync_directory(".")
        await file.pwrite([b"\x01" * 512, b"\x02" * 512], 0)
        disk.crash()
        content = await disk.read("f")
        assert content in (b"", *(one * 512 + two * 512 for one in (b"\0", b"\x01") for two in (b"\0", b"\x02")))
        seen.add(content)
    assert len(seen) == 5


async def test_unsynced_entries_may_go_either_way() -> None:
    seen = set()
    for seed in range(200):
        disk = SimDisk(random.Random(seed))
        await (await disk.open("old", create=True)).close()
        await disk.sync_directory(".")
        await (await disk.open("new", create=True)).close()
        await disk.rename("old", "other")
        assert await disk.list(".") == ["new", "other"]
        disk.crash()
        seen.add(tuple(await disk.list(".")))
    assert seen == {("old",), ("new", "old"), ("other",), ("new", "other")}


async def test_equal_seeds_give_equal_crashes() -> None:
    async def run(seed: int) -> bytes:
        disk = SimDisk(random.Random(seed))
        file = await disk.open("f", create=True)
        await disk.sync_directory(".")
        await file.pwrite([random.Random(1).randbytes(5000)], 0)
        await file.truncate(3000)
        disk.crash()
        return await disk.read("f")

    assert [await run(seed) for seed in range(30)] == [await run(seed) for seed in range(30)]


async def test_faults() -> None:
    disk = SimDisk(random.Random(1), capacity_bytes=10)
    file = await disk.open("f", create=True)
    with pytest.raises(OSError) as caught:
        await file.pwrite([b"x" * 11], 0)
    assert caught.value.errno == errno.ENOSPC
    assert await file.size() == 10
    disk.fail_syncs = disk.fail_reads = 1
    with pytest.raises(SyncFailed):
        await file.sync()
    with pytest.raises(OSError):
        await file.pread(1, 0)
    disk.flip_bit("f", 0)
    assert await file.pread(1, 0) == b"y"
    await disk.lock("LOCK")
    with pytest.raises(DirectoryInUse):
        await disk.lock("LOCK")
    disk.power_lost_at = disk.operations + 1
    for _ in range(2):
        with pytest.raises(PowerLost):
            await file.sync()


async def test_a_lying_disk_loses_what_it_said_it_synced() -> None:
    lost = 0
    for seed in range(30):
        disk = SimDisk(random.Random(seed))
        file = await disk.open("f", create=True)
        await disk.sync_directory(".")
        disk.lie_about_sync = True
        await file.pwrite([b"x"], 0, sync=True)
        disk.crash()
        lost += await disk.read("f") == b""
    assert 0 < lost < 30


async def test_a_read_on_the_spot_sees_the_current_image_and_its_faults() -> None:
    disk = SimDisk(random.Random(1))
    file = await disk.open("f", create=True)
    await file.pwrite([b"0123"], 0)
    assert file.pread_now(2, 1) == b"12"
    disk.fail_reads = 1
    with pytest.raises(OSError, match="simulated read error"):
        file.pread_now(2, 1)
    disk.crash()
    with pytest.raises(PowerLost):
        file.pread_now(2, 1)


async def test_opening_and_closing_on_the_spot() -> None:
    disk = SimDisk(random.Random(1))
    disk.put("f", b"0123")
    file = disk.open_now("f")
    assert file.pread_now(2, 1) == b"12"
    file.close_now()
    with pytest.raises(OSError, match="closed"):
        file.pread_now(1, 0)
    with pytest.raises(FileNotFoundError):
        disk.open_now("g")
    disk.power_lost = True
    with pytest.raises(PowerLost):
        disk.open_now("f")


async def test_a_write_on_the_spot_counts_fails_and_is_interrupted_as_any_other() -> None:
    disk = SimDisk(random.Random(1))
    disk.latency_s, disk.sync_latency_s = 0.25, 0.5
    file = await disk.open("f", create=True)
    await disk.sync_directory(".")
    before = disk.operations
    assert file.pwrite_now([b"01", b"23"], 0, sync=True) == 1.0
    assert disk.operations == before + 2
    disk.fail_syncs = 1
    with pytest.raises(SyncFailed):
        file.pwrite_now([b"45"], 4, sync=True)
    disk.power_lost_at = disk.operations + 2
    with pytest.raises(PowerLost):
        file.pwrite_now([b"67"], 6, sync=True)
    with pytest.raises(PowerLost):
        file.pwrite_now([b"89"], 8)
    disk.crash()
    with pytest.raises(PowerLost):
        file.pwrite_now([b"89"], 8)
    assert (await disk.read("f")).startswith(b"0123")


async def test_a_linked_file_survives_under_each_synced_name() -> None:
    seen = set()
    for seed in range(50):
        disk = SimDisk(random.Random(seed))
        file = await disk.open("a", create=True)
        await file.pwrite([b"kept"], 0, sync=True)
        await disk.sync_directory(".")
        await disk.make_directory("d")
        await disk.sync_directory(".")
        await disk.link("a", "d/b")
        with pytest.raises(FileExistsError):
            await disk.link("a", "d/b")
        await disk.remove("a")
        await disk.sync_directory("d")
        disk.crash()
        assert await disk.read("d/b") == b"kept"
        seen.add(await disk.exists("a"))
    assert seen == {True, False}
