import asyncio
import errno
import random

import pytest

from runtime.sim import SimDisk
from storage.lsm.open_files import OpenFiles, PooledFile

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def disk() -> SimDisk:
    disk = SimDisk(random.Random(1))
    for name in NAMES:
        disk.put(name, name.encode() * 3)
    return disk


async def opened(disk: SimDisk, files_max: int) -> tuple[OpenFiles, list[PooledFile]]:
    pool = OpenFiles(disk, files_max)
    return pool, [await pool.open(name) for name in NAMES]


async def test_all_are_read_and_few_are_open(disk: SimDisk) -> None:
    pool, files = await opened(disk, 2)
    for _ in range(3):
        for name, file in zip(NAMES, files, strict=True):
            assert file.pread_now(2, 1) == name.encode() * 2
            assert await file.pread(9, 0) == name.encode() * 3
            assert await file.size() == 3
            assert len(pool) == 2
    assert pool.reopened == 12, "each of the four comes when two others were read since"


async def test_what_was_read_the_longest_ago_is_closed(disk: SimDisk) -> None:
    pool, (a, b, c, d) = await opened(disk, 4)
    a.pread_now(1, 0)
    pool.files_max = 3
    disk.put("e", b"")
    await pool.open("e")
    assert pool.reopened == 0
    for file in (a, d):
        file.pread_now(1, 0)
    assert pool.reopened == 0
    b.pread_now(1, 0)
    assert pool.reopened == 1
    c.pread_now(1, 0)
    assert pool.reopened == 2


async def test_a_file_that_is_read_off_the_loop_stays_open(disk: SimDisk) -> None:
    pool, (a, b, *_) = await opened(disk, 1)
    disk.latency_s = 0.01
    reading = asyncio.create_task(a.pread(3, 0))
    await asyncio.sleep(0)
    assert b.pread_now(1, 0) == b"b"
    assert len(pool) == 2, "one that is read, and one that was asked for"
    assert await reading == b"aaa"
    assert len(pool) == 1


async def test_a_closed_file_stays_closed(disk: SimDisk) -> None:
    pool, (a, b, c, d) = await opened(disk, 2)
    for file in (a, d):
        await file.close()
        await file.close()
    b.close_now()
    for file in (a, b, d):
        with pytest.raises(OSError, match="closed") as raised:
            file.pread_now(1, 0)
        assert raised.value.errno == errno.EBADF
    assert c.pread_now(1, 0) == b"c"
    assert len(pool) == 1


async def test_nobody_writes_through_it(disk: SimDisk) -> None:
    _, (a, *_) = await opened(disk, 2)
    for attempt in (a.pwrite([b"x"], 0), a.sync(), a.truncate(0)):
        with pytest.raises(OSError, match="reading only"):
            await attempt
    with pytest.raises(OSError, match="reading only"):
        a.pwrite_now([b"x"], 0)
    assert disk.content("a") == b"aaa"


async def test_a_file_that_is_gone_says_so(disk: SimDisk) -> None:
    pool, (a, b, *_) = await opened(disk, 1)
    await disk.remove("a")
    with pytest.raises(FileNotFoundError):
        a.pread_now(1, 0)
    assert b.pread_now(1, 0) == b"b"
    assert len(pool) == 1


def test_none_at_all_is_too_few(disk: SimDisk) -> None:
    with pytest.raises(ValueError, match="at least one"):
        OpenFiles(disk, 0)
