"""A limit on how many tables have their file open.

A table keeps index and filter in memory, and needs its file only for blocks that are not in the cache. So its file may
be closed at any time between two reads: the one that was read the longest ago is, when another one is opened, and it
is opened again, on the spot, when the next block is read from it. That costs some microseconds: its name is in the
kernel's cache, and the read itself costs more.

Invariants:
- No more than `files_max` files are open, and as many more as there are reads off the loop at that moment: a file that
  a thread reads from is not closed.
- A file that its table closed stays closed, although the table may be asked for more: `PooledFile` raises then.
"""

import errno
from collections import OrderedDict
from collections.abc import Sequence

from runtime.disk import Disk, File


class OpenFiles:
    """The files of an engine's tables."""

    def __init__(self, disk: Disk, files_max: int) -> None:
        if files_max < 1:
            raise ValueError("at least one file must be open")
        self.files_max = files_max
        self.reopened = 0
        """How often a file had to be opened again."""
        self._disk = disk
        self._open: OrderedDict[PooledFile, File] = OrderedDict()
        """The one that was read the longest ago first."""

    def __len__(self) -> int:
        return len(self._open)

    async def open(self, path: str) -> "PooledFile":
        """Opens a file for reading. Raises OSError."""
        file = await self._disk.open(path)
        pooled = PooledFile(self, path)
        self._add(pooled, file)
        return pooled

    def file_of(self, pooled: "PooledFile") -> File:
        """What a file is read by, which is opened again if need be. Raises OSError."""
        file = self._open.get(pooled)
        if file is None:
            if pooled.is_closed:
                raise OSError(errno.EBADF, "the file is closed", pooled.path)
            file = self._disk.open_now(pooled.path)
            self.reopened += 1
            self._add(pooled, file)
        else:
            self._open.move_to_end(pooled)
        return file

    def forget(self, pooled: "PooledFile") -> File | None:
        """Takes a file out. Returns what it was read by, if that is open, for the caller to close."""
        return self._open.pop(pooled, None)

    def _add(self, pooled: "PooledFile", file: File) -> None:
        self._open[pooled] = file
        self.shed(pooled)

    def shed(self, wanted: "PooledFile | None" = None) -> None:
        """Closes the files that are too many, but not the `wanted` one."""
        while len(self._open) > self.files_max:
            oldest = next((each for each in self._open if not each.readers and each is not wanted), None)
            if oldest is None:
                return
            self._open.pop(oldest).close_now()


class PooledFile:
    """A `runtime.disk.File` that is read only, and that may be closed while nobody reads."""

    __slots__ = ("_pool", "is_closed", "path", "readers")

    def __init__(self, pool: OpenFiles, path: str) -> None:
        self.path = path
        self.readers = 0
        """Reads off the loop that have not ended."""
        self.is_closed = False
        self._pool = pool

    async def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes at `offset`."""
        self.readers += 1
        try:
            return await self._pool.file_of(self).pread(length, offset)
        finally:
            self.readers -= 1
            self._pool.shed()

    def pread_now(self, length: int, offset: int) -> bytes:
        """Reads on the caller's thread."""
        return self._pool.file_of(self).pread_now(length, offset)

    async def size(self) -> int:
        """The file's length in bytes."""
        self.readers += 1
        try:
            return await self._pool.file_of(self).size()
        finally:
            self.readers -= 1
            self._pool.shed()

    async def close(self) -> None:
        """Releases the file for good. Closing twice is harmless."""
        self.is_closed = True
        file = self._pool.forget(self)
        if file is not None:
            await file.close()

    def close_now(self) -> None:
        """Closes as `close` does, on the caller's thread."""
        self.is_closed = True
        file = self._pool.forget(self)
        if file is not None:
            file.close_now()

    async def pwrite(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> None:
        """Is refused: a table is written once, by who makes it."""
        raise self._refusal()

    def pwrite_now(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> float:
        """Is refused."""
        raise self._refusal()

    async def sync(self) -> None:
        """Is refused."""
        raise self._refusal()

    async def truncate(self, size: int) -> None:
        """Is refused."""
        raise self._refusal()

    def _refusal(self) -> OSError:
        return OSError(errno.EBADF, "the file is open for reading only", self.path)
