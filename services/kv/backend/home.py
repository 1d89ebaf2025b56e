"""Where a member's engine lives on its disk, and how another takes its place.

    <directory>/CURRENT     "0" or "1": which of the two folders counts
    <directory>/0, /1       engines; the one that does not count is garbage

A snapshot from the leader replaces the whole state. It is written into the folder that does not count, made durable,
and then CURRENT is replaced: a crash leaves the old state or the new one. The log still names the snapshot's file when
the old one is left, so it is read again.
"""

from collections.abc import Awaitable, Callable

from runtime import Disk
from storage.engine import DurableEngine

OpenEngine = Callable[[str], Awaitable[DurableEngine]]
"""Opens the engine in a folder, or makes it."""

_FOLDERS = ("0", "1")
_DEPTH_MAX = 4
"""Folders within folders that are emptied."""


class EngineHome:
    """The engine that counts, and the way to another."""

    def __init__(self, disk: Disk, directory: str, open_engine: OpenEngine, folder: str, engine: DurableEngine) -> None:
        """Use `open`."""
        self.engine = engine
        self._disk = disk
        self._directory = directory
        self._open_engine = open_engine
        self._folder = folder
        self._next: DurableEngine | None = None

    @staticmethod
    async def open(disk: Disk, directory: str, open_engine: OpenEngine, *, keep: bool = True) -> "EngineHome":
        """Opens what is there, or an empty engine; without `keep`, what is there is removed first.

        Raises OSError (Corruption among them), ValueError.
        """
        await disk.make_directory(directory)
        await disk.sync_directory(directory.rpartition("/")[0] or ".")
        current = f"{directory}/CURRENT"
        if keep and await disk.exists(current):
            folder = (await disk.read(current)).decode("ascii", "replace").strip()
            if folder not in _FOLDERS:
                raise ValueError(f"{current} names no folder of an engine: {folder[:16]!r}")
        else:
            folder = _FOLDERS[0]
            await _empty(disk, f"{directory}/{folder}")
            await _point(disk, directory, folder)
        await _empty(disk, f"{directory}/{_other(folder)}")
        engine = await open_engine(f"{directory}/{folder}")
        return EngineHome(disk, directory, open_engine, folder, engine)

    async def fresh(self) -> DurableEngine:
        """An empty engine beside the one that counts. One that was never adopted is thrown away."""
        if self._next is not None:
            await self._next.close()
            self._next = None
        folder = f"{self._directory}/{_other(self._folder)}"
        await _empty(self._disk, folder)
        self._next = await self._open_engine(folder)
        return self._next

    async def adopt(self) -> None:
        """The last `fresh` engine, which must be flushed, counts from now on; the other is closed and removed."""
        assert self._next is not None, "there is no fresh engine"
        old = self._folder
        self._folder = _other(old)
        await _point(self._disk, self._directory, self._folder)
        retired, self.engine, self._next = self.engine, self._next, None
        await retired.close()
        await _empty(self._disk, f"{self._directory}/{old}")

    async def close(self) -> None:
        """Closes the engines. Does not flush."""
        if self._next is not None:
            await self._next.close()
        await self.engine.close()


def _other(folder: str) -> str:
    return _FOLDERS[1 - _FOLDERS.index(folder)]


async def _point(disk: Disk, directory: str, folder: str) -> None:
    temporary = f"{directory}/CURRENT.new"
    if await disk.exists(temporary):
        await disk.remove(temporary)
    file = await disk.open(temporary, create=True)
    try:
        await file.pwrite([folder.encode()], 0, sync=True)
    finally:
        await file.close()
    await disk.rename(temporary, f"{directory}/CURRENT")
    await disk.sync_directory(directory)


async def _empty(disk: Disk, folder: str, depth: int = 0) -> None:
    """Removes the files of a folder and of those within; the folders themselves stay, and are used again."""
    if depth > _DEPTH_MAX or not await disk.exists(folder):
        return
    for name in await disk.list(folder):
        path = f"{folder}/{name}"
        try:
            await disk.list(path)
        except (NotADirectoryError, FileNotFoundError):
            await disk.remove(path)
        else:
            await _empty(disk, path, depth + 1)
