"""The host's file system, off the event loop."""

import asyncio
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from runtime.disk import DirectoryInUse, SyncFailed

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

READ_THREADS_MAX = 4
"""Reads and directory work that may run at once."""
WRITE_THREADS_MAX = 4
"""Writes and syncs that may run at once. They have threads of their own, so that a scan of cold files never stands
between a log and its sync."""
_PARTS_PER_CALL_MAX = 1024
"""IOV_MAX of Linux: buffers that one pwritev takes."""


class RealDisk:
    """The directory tree under `root`; see `runtime.Disk`.

    Threads start when first needed, READ_THREADS_MAX and WRITE_THREADS_MAX at the most. A task that is cancelled while
    it waits does not undo what its thread has begun: the write may still happen, as after a crash.
    """

    def __init__(self, root: str) -> None:
        """Makes `root` when it is missing. Raises OSError when that fails or it cannot be written."""
        self.root = os.path.abspath(root)
        os.makedirs(self.root, exist_ok=True)
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "the data directory cannot be written", self.root)
        self._readers = ThreadPoolExecutor(READ_THREADS_MAX, "disk-read")
        self._writers = ThreadPoolExecutor(WRITE_THREADS_MAX, "disk-write")
        self._locks: dict[str, int] = {}

    async def open(self, path: str, *, create: bool = False) -> "RealFile":
        """Opens for reading and writing; see `runtime.Disk.open`."""
        full = self._resolve(path)
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        descriptor = await _run(self._writers, os.open, full, flags, 0o640)
        return RealFile(path, descriptor, self._readers, self._writers)

    def open_now(self, path: str) -> "RealFile":
        """Opens a file that exists, on the caller's thread."""
        descriptor = os.open(self._resolve(path), os.O_RDWR | os.O_CLOEXEC)
        return RealFile(path, descriptor, self._readers, self._writers)

    async def read(self, path: str) -> bytes:
        """The whole content of a small file."""
        return await _run(self._readers, _read_all, self._resolve(path))

    async def exists(self, path: str) -> bool:
        """Whether a file or directory is there."""
        return await _run(self._readers, os.path.exists, self._resolve(path))

    async def list(self, directory: str) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(await _run(self._readers, os.listdir, self._resolve(directory)))

    async def make_directory(self, path: str) -> None:
        """Makes a directory with its parents; one that exists is fine."""
        await _run(self._writers, os.makedirs, self._resolve(path), 0o750, True)

    async def rename(self, source: str, target: str) -> None:
        """Renames atomically, replacing the target."""
        await _run(self._writers, os.replace, self._resolve(source), self._resolve(target))

    async def link(self, source: str, target: str) -> None:
        """Gives a file a second name."""
        await _run(self._writers, os.link, self._resolve(source), self._resolve(target))

    async def remove(self, path: str) -> None:
        """Removes a file."""
        await _run(self._writers, os.unlink, self._resolve(path))

    async def sync_directory(self, path: str) -> None:
        """Makes a directory's entries durable. Raises SyncFailed."""
        await _run(self._writers, _sync_directory, self._resolve(path))

    async def lock(self, path: str) -> None:
        """Locks by flock on a file that is made when missing and then holds our process id. Raises DirectoryInUse."""
        if path not in self._locks:
            self._locks[path] = await _run(self._readers, _lock, self._resolve(path))

    def close(self) -> None:
        """Gives the locks back and lets the threads end once they are done. The process's end does the same."""
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()
        self._readers.shutdown(wait=False)
        self._writers.shutdown(wait=False)

    def _resolve(self, path: str) -> str:
        """The absolute path. Raises PermissionError for one that could leave the root.

        The check is by name only: an operator may well place a part of the tree on another drive by a symbolic link.
        """
        if path in ("", "."):
            return self.root
        if path.startswith("/") or "\0" in path or any(name in ("", ".", "..") for name in path.split("/")):
            raise PermissionError(errno.EPERM, "the path must be relative and stay under the disk's root", path)
        return os.path.join(self.root, path)


class RealFile:
    """An open file; see `runtime.File`."""

    def __init__(self, path: str, descriptor: int, readers: ThreadPoolExecutor, writers: ThreadPoolExecutor) -> None:
        self.path = path
        self._descriptor = descriptor
        self._readers = readers
        self._writers = writers
        # A cancelled task leaves its thread at work. The descriptor's number must not be given back to the kernel
        # under it, or it would write into whatever file is opened next: the last user closes.
        self._mutex = threading.Lock()
        self._users = 0
        self._closed = False

    async def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes at `offset`; shorter only at the end of the file."""
        return await self._call(self._readers, _pread, length, offset)

    def pread_now(self, length: int, offset: int) -> bytes:
        """Reads on the caller's thread, which must be the one that `close` is called on."""
        # Nothing can close the descriptor meanwhile, so there is no user to count: that would cost twice the read.
        if self._closed:
            raise OSError(errno.EBADF, "the file is closed", self.path)
        return _pread(self._descriptor, length, offset)

    async def pwrite(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> None:
        """Writes `parts` one behind another, and syncs when asked to, in one trip to a thread."""
        await self._call(self._writers, _pwrite, parts, offset, sync)

    def pwrite_now(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> float:
        """Writes on the caller's thread, which must be the one that `close` is called on; returns the seconds."""
        # As for `pread_now`: nothing can close the descriptor meanwhile.
        if self._closed:
            raise OSError(errno.EBADF, "the file is closed", self.path)
        begin_s = time.perf_counter()
        _pwrite(self._descriptor, parts, offset, sync)
        return time.perf_counter() - begin_s

    async def sync(self) -> None:
        """Makes data and size durable. Raises SyncFailed."""
        await self._call(self._writers, _sync)

    async def truncate(self, size: int) -> None:
        """Cuts or extends the file."""
        await self._call(self._writers, os.ftruncate, size)

    async def size(self) -> int:
        """The file's length in bytes."""
        return await self._call(self._readers, _size)

    async def close(self) -> None:
        """Releases the file, at the latest when a call that is still at work in its thread has ended."""
        if self._ends():
            await _run(self._writers, os.close, self._descriptor)

    def close_now(self) -> None:
        """Releases the file as `close` does, without a thread."""
        if self._ends():
            os.close(self._descriptor)

    def _ends(self) -> bool:
        """Takes no more calls. Whether the descriptor is to be closed by whoever asks: nobody else will."""
        with self._mutex:
            if self._closed:
                return False
            self._closed = True
            return self._users == 0

    async def _call(self, pool: ThreadPoolExecutor, function: Callable[[int, *Ts], T], *arguments: *Ts) -> T:
        return await _run(pool, self._use, function, arguments)

    def _use(self, function: Callable[[int, *Ts], T], arguments: tuple[*Ts]) -> T:
        """Runs in a thread, and counts as a user of the descriptor meanwhile."""
        with self._mutex:
            if self._closed:
                raise OSError(errno.EBADF, "the file is closed", self.path)
            self._users += 1
        try:
            return function(self._descriptor, *arguments)
        finally:
            with self._mutex:
                self._users -= 1
                last = self._users == 0 and self._is_closed()
            if last:
                os.close(self._descriptor)

    def _is_closed(self) -> bool:
        # A call of its own, since `close` may have run between the two looks that `_use` takes.
        return self._closed


async def _run(pool: ThreadPoolExecutor, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


def _read_all(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) == length or not data:
        return data
    # Linux gives at most 2 GiB a call, and a signal may cut a read short: only an empty answer is the end.
    pieces = [data]
    got = len(data)
    while got < length and (data := os.pread(descriptor, length - got, offset + got)):
        pieces.append(data)
        got += len(data)
    return b"".join(pieces)


def _pwrite(descriptor: int, parts: Sequence[bytes], offset: int, sync: bool) -> None:
    if len(parts) > _PARTS_PER_CALL_MAX:
        parts = [b"".join(parts)]
    total = sum(map(len, parts))
    written = os.pwritev(descriptor, parts, offset) if total else 0
    if written < total:
        # A short write: mostly a full disk, which the next call reports as ENOSPC.
        rest = memoryview(b"".join(parts))
        while written < total:
            written += os.pwrite(descriptor, rest[written:], offset + written)
    if sync:
        _sync(descriptor)


def _sync(descriptor: int) -> None:
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        raise SyncFailed(error.errno, f"sync failed: {error.strerror}") from error


def _size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncFailed(error.errno, f"sync failed: {error.strerror}", path) from error
    finally:
        os.close(descriptor)


def _lock(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise DirectoryInUse(errno.EBUSY, f"in use by process {holder}", path) from error
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
