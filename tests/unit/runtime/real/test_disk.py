"""The real disk keeps what `runtime.disk` promises, and keeps to its root."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from runtime import DirectoryInUse, SyncFailed
from runtime.real import RealDisk
from runtime.real import disk as real_disk


@pytest.fixture
def disk(tmp_path: Path) -> RealDisk:
    return RealDisk(str(tmp_path / "data"))


async def test_writes_are_read_back_in_order_of_parts(disk: RealDisk) -> None:
    await disk.make_directory("a/b")
    file = await disk.open("a/b/log", create=True)
    await file.pwrite([b"one", b"", b"two"], 4, sync=True)
    assert await file.size() == 10
    assert await file.pread(100, 0) == b"\0\0\0\0onetwo"
    assert await file.pread(3, 7) == b"two"
    assert await file.pread(3, 50) == b""
    await file.truncate(7)
    await file.sync()
    await file.close()
    await file.close()
    assert await disk.read("a/b/log") == b"\0\0\0\0one"


async def test_more_parts_than_one_call_takes(disk: RealDisk) -> None:
    file = await disk.open("f", create=True)
    parts = [b"%04d" % number for number in range(3000)]
    await file.pwrite(parts, 0)
    assert await file.pread(12_000, 0) == b"".join(parts)
    await file.close()


async def test_a_short_write_is_finished(disk: RealDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await disk.open("f", create=True)
    whole = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda descriptor, parts, offset: whole(descriptor, [parts[0][:2]], offset))
    await file.pwrite([b"abcdef", b"ghi"], 0)
    assert await file.pread(20, 0) == b"abcdefghi"
    await file.close()


async def test_create_wants_no_file_and_open_wants_one(disk: RealDisk) -> None:
    with pytest.raises(FileNotFoundError):
        await disk.open("f")
    await (await disk.open("f", create=True)).close()
    with pytest.raises(FileExistsError):
        await disk.open("f", create=True)


async def test_directory_operations(disk: RealDisk) -> None:
    await disk.make_directory("d")
    await disk.make_directory("d")
    for name in ("b", "a"):
        await (await disk.open(f"d/{name}", create=True)).close()
    await disk.rename("d/b", "d/c")
    await disk.rename("d/a", "d/c")
    await disk.sync_directory("d")
    await disk.sync_directory(".")
    assert await disk.list("d") == ["c"]
    assert await disk.list("") == ["d"]
    assert await disk.exists("d/c")
    await disk.remove("d/c")
    assert not await disk.exists("d/c")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/.", "a\0b", "a/"])
async def test_no_path_leaves_the_root(disk: RealDisk, path: str) -> None:
    with pytest.raises(PermissionError):
        await disk.open(path, create=True)
    with pytest.raises(PermissionError):
        await disk.rename("f", path)


async def test_a_failed_sync_is_told_apart(disk: RealDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    file = await disk.open("f", create=True)
    monkeypatch.setattr(os, "fdatasync", fail)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SyncFailed):
        await file.pwrite([b"x"], 0, sync=True)
    with pytest.raises(SyncFailed):
        await file.sync()
    with pytest.raises(SyncFailed) as caught:
        await disk.sync_directory(".")
    assert caught.value.errno == errno.EIO
    await file.close()


async def test_a_closed_file_refuses_and_its_descriptor_outlives_a_call_at_work(
    disk: RealDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await disk.open("f", create=True)
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    real_sync = os.fdatasync

    def slow(descriptor: int) -> None:
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(30)
        real_sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    sync = asyncio.create_task(file.sync())
    await began.wait()
    await file.close()
    with pytest.raises(OSError) as caught:
        await file.pread(1, 0)
    assert caught.value.errno == errno.EBADF
    go_on.set()
    await sync  # would raise SyncFailed with EBADF had close() closed the descriptor


async def test_the_loop_runs_on_while_a_sync_hangs(disk: RealDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await disk.open("f", create=True)
    go_on = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: go_on.wait(30))
    hanging = [asyncio.create_task(file.sync()) for _ in range(real_disk.WRITE_THREADS_MAX + 2)]
    await asyncio.sleep(0)
    assert await file.size() == 0  # reads have threads of their own
    go_on.set()
    await asyncio.gather(*hanging)
    await file.close()


async def test_the_lock_excludes_others_until_given_back(disk: RealDisk) -> None:
    await disk.lock("LOCK")
    await disk.lock("LOCK")
    with pytest.raises(DirectoryInUse, match=str(os.getpid())):
        await RealDisk(disk.root).lock("LOCK")
    disk.close()
    again = RealDisk(disk.root)
    await again.lock("LOCK")
    again.close()


def test_a_root_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        RealDisk(str(tmp_path / "file" / "data"))


async def test_a_read_on_the_spot(disk: RealDisk) -> None:
    file = await disk.open("a", create=True)
    await file.pwrite([b"0123456789"], 0)
    assert file.pread_now(4, 3) == b"3456"
    assert file.pread_now(100, 8) == b"89"
    await file.close()
    with pytest.raises(OSError, match="closed"):
        file.pread_now(1, 0)


async def test_opening_and_closing_on_the_spot(disk: RealDisk) -> None:
    file = await disk.open("a", create=True)
    await file.pwrite([b"0123"], 0)
    again = disk.open_now("a")
    assert again.pread_now(2, 1) == b"12"
    again.close_now()
    again.close_now()
    await again.close()
    with pytest.raises(OSError, match="closed"):
        again.pread_now(1, 0)
    assert await file.pread(1, 0) == b"0"
    file.close_now()
    with pytest.raises(OSError, match="closed"):
        await file.size()
    with pytest.raises(FileNotFoundError):
        disk.open_now("b")
    with pytest.raises(PermissionError):
        disk.open_now("../a")


async def test_a_write_on_the_spot(disk: RealDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.append(threading.get_ident()))
    file = await disk.open("a", create=True)
    assert file.pwrite_now([b"01", b"23"], 2) >= 0.0
    assert synced == []
    assert 0.0 <= file.pwrite_now([b"45"], 6, sync=True) < 5.0
    assert synced == [threading.get_ident()]
    assert await file.pread(10, 0) == b"\0\x00012345"
    await file.close()
    with pytest.raises(OSError, match="closed"):
        file.pwrite_now([b"x"], 0)


async def test_a_write_on_the_spot_whose_sync_fails(disk: RealDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fdatasync", fail)
    file = await disk.open("a", create=True)
    with pytest.raises(SyncFailed):
        file.pwrite_now([b"x"], 0, sync=True)
    await file.close()


async def test_a_link_is_a_second_name(disk: RealDisk) -> None:
    file = await disk.open("a", create=True)
    await file.pwrite([b"kept"], 0)
    await disk.link("a", "b")
    await disk.remove("a")
    assert await disk.read("b") == b"kept"
    with pytest.raises(FileExistsError):
        await disk.link("b", "b")
    await file.close()
