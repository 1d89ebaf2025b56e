"""A disk that keeps what `runtime.disk` promises and nothing more.

Each file has a synced image and the list of changes since. `crash()` persists a seeded part of them: every sector on
its own takes some prefix of the changes that touched it, the size takes some prefix of its own, and of the directory
entries that were not synced each change survives or not. What was never persisted reads as zeros, as on file systems
that do not show stale blocks. Faults are switched on by attributes and methods at any time.
"""

import asyncio
import errno
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runtime.disk import DirectoryInUse, SyncFailed


class PowerLost(OSError):
    """The simulated host lost its power: nothing works until `crash()` and a reopening."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the simulated host has lost its power")


@dataclass(slots=True)
class _Change:
    """A write, or with `data` None a truncation to `offset`."""

    offset: int
    data: bytes | None
    size_after: int


@dataclass(slots=True)
class _Inode:
    current: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    changes: list[_Change] = field(default_factory=list)


@dataclass(slots=True)
class _EntryChange:
    """Names taken away and given by one atomic directory operation. None stands for a directory."""

    removed: str | None
    added: str | None
    inode: _Inode | None


class SimDisk:
    """A `Disk` in memory. Operations are counted, one await each, so that a test can lose power at every one."""

    def __init__(self, source: random.Random, *, sector_bytes: int = 512, capacity_bytes: int | None = None) -> None:
        self._random = source
        self._sector_bytes = sector_bytes
        self._entries: dict[str, _Inode | None] = {}
        self._synced_entries: dict[str, _Inode | None] = {}
        self._entry_changes: list[_EntryChange] = []
        self._locked: set[str] = set()
        self.generation = 0
        """Counts crashes; a file of an earlier generation refuses everything."""
        self.operations = 0
        """Counts operations since the start."""
        self.power_lost = False
        self.power_lost_at: int | None = None
        """When set: the operation of this number, counted from 1, is begun and not ended."""
        self.capacity_bytes = capacity_bytes
        """When set: a write that would need more than this gets ENOSPC after writing what fits."""
        self.lie_about_sync = False
        """Syncs return at once and persist nothing."""
        self.fail_syncs = 0
        """So many syncs from now on fail; what they should have persisted is lost or not, and never tried again."""
        self.fail_reads = 0
        """So many reads from now on get EIO."""
        self.fail_writes = 0
        """So many writes from now on get EIO after writing a part."""
        self.latency_s: float = 0.0
        """What every operation waits, by the loop's clock."""
        self.sync_latency_s: float = 0.0
        """What a sync waits beyond that."""
        self.latency_jitter = False
        """Whether the latencies are means, and each operation draws its own."""
        self.syncs = 0
        """Counts syncs of files and directories that were begun."""
        self.bytes_written = 0
        self.on_write: Callable[[bytes], object] | None = None
        """Is shown all that is written: the simulator's trace."""

    def crash(self) -> None:
        """Loses power, and comes back with what happened to be persisted."""
        self.generation += 1
        self.power_lost = False
        self.power_lost_at = None
        self._locked.clear()
        for inode in self._inodes():
            self._persist_part(inode)
            inode.current = bytearray(inode.synced)
        keep = self._bias()
        for change in self._entry_changes:
            if self._random.random() < keep:
                _apply(self._synced_entries, change)
        self._entry_changes.clear()
        entries = self._synced_entries
        # A directory that did not survive takes along all that was in it.
        for path in sorted(entries):
            if not self._is_directory(path.rpartition("/")[0], entries):
                del entries[path]
        self._entries = dict(entries)

    def end_process(self) -> None:
        """The process is gone and the machine is not: its files are closed and unlocked, and nothing is lost."""
        self.generation += 1
        self._locked.clear()

    def flip_bit(self, path: str, bit: int) -> None:
        """Turns one bit of a file over, as rot does. Bit 0 is the lowest of the first byte."""
        inode = self._file(path)
        for image in (inode.current, inode.synced):
            if bit // 8 < len(image):
                image[bit // 8] ^= 1 << bit % 8

    def put(self, path: str, content: bytes) -> None:
        """Makes a durable file with its directories: for tests that bring their own bytes."""
        parent = path.rpartition("/")[0]
        while parent:
            self._entries[parent] = self._synced_entries[parent] = None
            parent = parent.rpartition("/")[0]
        inode = _Inode(bytearray(content), bytearray(content))
        self._entries[path] = self._synced_entries[path] = inode

    def content(self, path: str) -> bytes:
        """What a file holds now, without an operation."""
        return bytes(self._file(path).current)

    def paths(self) -> list[str]:
        """Every file, sorted, without an operation."""
        return sorted(path for path, inode in self._entries.items() if inode is not None)

    @property
    def used_bytes(self) -> int:
        """What counts against `capacity_bytes`."""
        return sum(len(inode.current) for inode in self._inodes())

    async def open(self, path: str, *, create: bool = False) -> "SimFile":
        """See `runtime.Disk.open`."""
        interrupted = await self._operation()
        _check(path)
        if create:
            if path in self._entries:
                raise FileExistsError(errno.EEXIST, "the file exists", path)
            self._need_directory(path.rpartition("/")[0])
            self._change_entries(_EntryChange(None, path, _Inode()))
        self._end(interrupted)
        return SimFile(self, self._file(path))

    def open_now(self, path: str) -> "SimFile":
        """See `runtime.Disk.open_now`. Takes no virtual time, and is no step at which power can be lost."""
        _check(path)
        if self.power_lost:
            raise PowerLost
        return SimFile(self, self._file(path))

    async def read(self, path: str) -> bytes:
        """See `runtime.Disk.read`."""
        self._end(await self._operation())
        self._read_fault()
        return self.content(path)

    async def exists(self, path: str) -> bool:
        """See `runtime.Disk.exists`."""
        self._end(await self._operation())
        return path in self._entries or self._is_directory(path, self._entries)

    async def list(self, directory: str) -> list[str]:
        """See `runtime.Disk.list`."""
        self._end(await self._operation())
        self._need_directory(directory)
        prefix = "" if directory in ("", ".") else directory + "/"
        rest = (path[len(prefix) :] for path in self._entries if path.startswith(prefix))
        return sorted(name for name in rest if "/" not in name)

    async def make_directory(self, path: str) -> None:
        """See `runtime.Disk.make_directory`."""
        interrupted = await self._operation()
        _check(path)
        names = path.split("/")
        for count in range(1, len(names) + 1):
            part = "/".join(names[:count])
            if part not in self._entries:
                self._change_entries(_EntryChange(None, part, None))
            self._need_directory(part)
        self._end(interrupted)

    async def rename(self, source: str, target: str) -> None:
        """See `runtime.Disk.rename`."""
        interrupted = await self._operation()
        _check(target)
        self._need_directory(target.rpartition("/")[0])
        self._change_entries(_EntryChange(source, target, self._file(source)))
        self._end(interrupted)

    async def link(self, source: str, target: str) -> None:
        """See `runtime.Disk.link`."""
        interrupted = await self._operation()
        _check(target)
        if target in self._entries:
            raise FileExistsError(errno.EEXIST, "the file exists", target)
        self._need_directory(target.rpartition("/")[0])
        self._change_entries(_EntryChange(None, target, self._file(source)))
        self._end(interrupted)

    async def remove(self, path: str) -> None:
        """See `runtime.Disk.remove`."""
        interrupted = await self._operation()
        self._file(path)
        self._change_entries(_EntryChange(path, None, None))
        self._end(interrupted)

    async def sync_directory(self, path: str) -> None:
        """See `runtime.Disk.sync_directory`."""
        self.syncs += 1
        self._end(await self._operation(self.sync_latency_s))
        self._need_directory(path)
        self._sync_fault()
        if self.lie_about_sync:
            return
        directory = "" if path == "." else path
        left: list[_EntryChange] = []
        for change in self._entry_changes:
            names = [name for name in (change.removed, change.added) if name is not None]
            if any(name.rpartition("/")[0] == directory for name in names):
                _apply(self._synced_entries, change)
            else:
                left.append(change)
        self._entry_changes = left

    async def lock(self, path: str) -> None:
        """See `runtime.Disk.lock`."""
        self._end(await self._operation())
        if path in self._locked:
            raise DirectoryInUse(errno.EBUSY, "in use", path)
        self._locked.add(path)

    # What SimFile and the fault machinery share.

    async def _operation(self, extra_s: float = 0.0) -> bool:
        """Counts; True when this operation is the one that the power does not outlast."""
        generation = self.generation
        await asyncio.sleep(self._draw_latency_s(extra_s))
        if generation != self.generation:
            raise PowerLost
        return self._count()

    def _draw_latency_s(self, extra_s: float = 0.0) -> float:
        latency_s = self.latency_s + extra_s
        if latency_s and self.latency_jitter:
            latency_s = self._random.expovariate(1 / latency_s)
        return latency_s

    def _count(self) -> bool:
        if self.power_lost:
            raise PowerLost
        self.operations += 1
        return self.operations == self.power_lost_at

    def _end(self, interrupted: bool) -> None:
        if interrupted:
            self.power_lost = True
            raise PowerLost

    def _read_fault(self) -> None:
        if self.fail_reads > 0:
            self.fail_reads -= 1
            raise OSError(errno.EIO, "simulated read error")

    def _sync_fault(self) -> None:
        if self.fail_syncs > 0:
            self.fail_syncs -= 1
            raise SyncFailed(errno.EIO, "simulated sync error")

    def _write(self, inode: _Inode, data: bytes, offset: int) -> None:
        """Changes the current image. Raises OSError after a part of the data for ENOSPC and EIO."""
        fits = len(data)
        failure: OSError | None = None
        if self.fail_writes > 0:
            self.fail_writes -= 1
            fits = self._random.randrange(len(data) + 1)
            failure = OSError(errno.EIO, "simulated write error")
        if self.capacity_bytes is not None:
            growth = max(0, offset + fits - len(inode.current))
            free = self.capacity_bytes - self.used_bytes
            if growth > free:
                fits -= growth - max(0, free)
                failure = OSError(errno.ENOSPC, "No space left on device")
        data = data[: max(0, fits)]
        if data:
            self.bytes_written += len(data)
            if self.on_write is not None:
                self.on_write(data)
            _write(inode.current, data, offset)
            inode.changes.append(_Change(offset, data, len(inode.current)))
        if failure is not None:
            raise failure

    def _truncate(self, inode: _Inode, size: int) -> None:
        _truncate(inode.current, size)
        inode.changes.append(_Change(size, None, size))

    def _sync(self, inode: _Inode) -> None:
        try:
            self._sync_fault()
        except SyncFailed:
            # The kernel marks the pages clean: the file still reads as written, and a later sync persists nothing.
            self._persist_part(inode)
            raise
        if not self.lie_about_sync:
            inode.synced = bytearray(inode.current)
            inode.changes.clear()

    def _persist_part(self, inode: _Inode) -> None:
        """Lets a seeded part of the unsynced changes reach the synced image."""
        changes, inode.changes = inode.changes, []
        if not changes:
            return
        keep = self._bias()
        sector_bytes = self._sector_bytes
        sizes = [len(inode.synced), *(change.size_after for change in changes)]
        image = bytearray(inode.synced)
        image.extend(bytes(max(sizes) - len(image)))
        touched: dict[int, list[_Change]] = {}
        for change in changes:
            # A truncation touches everything behind it.
            end = len(image) if change.data is None else change.offset + len(change.data)
            for sector in range(change.offset // sector_bytes, -(-end // sector_bytes)):
                touched.setdefault(sector, []).append(change)
        for sector, history in touched.items():
            low, high = sector * sector_bytes, min((sector + 1) * sector_bytes, len(image))
            for change in history:
                if self._random.random() >= keep:
                    break
                start = max(low, change.offset)
                if change.data is None:
                    image[start:high] = bytes(max(0, high - start))
                else:
                    stop = min(high, change.offset + len(change.data))
                    image[start:stop] = change.data[start - change.offset : stop - change.offset]
        kept = 0
        while kept < len(changes) and self._random.random() < keep:
            kept += 1
        inode.synced = image[: sizes[kept]]

    def _bias(self) -> float:
        """How likely a change survives: often nothing or everything does, since those are cases of their own."""
        return self._random.choice((0.0, 1.0, 0.5, 0.9, self._random.random()))

    def _change_entries(self, change: _EntryChange) -> None:
        _apply(self._entries, change)
        self._entry_changes.append(change)

    def _inodes(self) -> tuple[_Inode, ...]:
        changed = (change.inode for change in self._entry_changes)
        every = [*self._entries.values(), *self._synced_entries.values(), *changed]
        return tuple({id(inode): inode for inode in every if inode is not None}.values())

    def _file(self, path: str) -> _Inode:
        if path not in self._entries:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        inode = self._entries[path]
        if inode is None:
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        return inode

    def _need_directory(self, path: str) -> None:
        if not self._is_directory(path, self._entries):
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)

    @staticmethod
    def _is_directory(path: str, entries: dict[str, _Inode | None]) -> bool:
        return path in ("", ".") or (path in entries and entries[path] is None)


class SimFile:
    """An open file of a SimDisk; see `runtime.File`."""

    def __init__(self, disk: SimDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._generation = disk.generation
        self._closed = False

    async def pread(self, length: int, offset: int) -> bytes:
        """See `runtime.File.pread`."""
        self._disk._end(await self._begin())
        self._disk._read_fault()
        return bytes(self._inode.current[offset : offset + length])

    def pread_now(self, length: int, offset: int) -> bytes:
        """See `runtime.File.pread_now`. Takes no virtual time, and is no step at which power can be lost."""
        self._check_open()
        if self._disk.power_lost:
            raise PowerLost
        self._disk._read_fault()
        return bytes(self._inode.current[offset : offset + length])

    async def pwrite(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> None:
        """See `runtime.File.pwrite`. With `sync`, counts as two operations."""
        interrupted = await self._begin()
        self._disk._write(self._inode, b"".join(parts), offset)
        self._disk._end(interrupted)
        if sync:
            await self.sync()

    def pwrite_now(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> float:
        """See `runtime.File.pwrite_now`. Counts as `pwrite` does.

        No virtual time passes, but the answer is what `pwrite` would have taken: who minds it goes there instead.
        """
        took_s = self._disk._draw_latency_s()
        interrupted = self._begin_now()
        self._disk._write(self._inode, b"".join(parts), offset)
        self._disk._end(interrupted)
        if sync:
            took_s += self._disk._draw_latency_s(self._disk.sync_latency_s)
            self._disk.syncs += 1
            self._disk._end(self._begin_now())
            self._disk._sync(self._inode)
        return took_s

    async def sync(self) -> None:
        """See `runtime.File.sync`."""
        self._disk.syncs += 1
        self._disk._end(await self._begin(self._disk.sync_latency_s))
        self._disk._sync(self._inode)

    async def truncate(self, size: int) -> None:
        """See `runtime.File.truncate`."""
        interrupted = await self._begin()
        self._disk._truncate(self._inode, size)
        self._disk._end(interrupted)

    async def size(self) -> int:
        """See `runtime.File.size`."""
        self._disk._end(await self._begin())
        return len(self._inode.current)

    async def close(self) -> None:
        """See `runtime.File.close`."""
        self._closed = True

    def close_now(self) -> None:
        """See `runtime.File.close_now`."""
        self._closed = True

    async def _begin(self, extra_s: float = 0.0) -> bool:
        self._check_open()
        return await self._disk._operation(extra_s)

    def _begin_now(self) -> bool:
        self._check_open()
        return self._disk._count()

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the file is closed")
        if self._generation != self._disk.generation:
            raise PowerLost


def _check(path: str) -> None:
    if any(name in ("", ".", "..") for name in path.split("/")):
        raise PermissionError(errno.EPERM, "the path must be relative and stay under the disk's root", path)


def _apply(entries: dict[str, _Inode | None], change: _EntryChange) -> None:
    if change.removed is not None:
        entries.pop(change.removed, None)
    if change.added is not None:
        entries[change.added] = change.inode


def _write(image: bytearray, data: bytes, offset: int) -> None:
    if offset > len(image):
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


def _truncate(image: bytearray, size: int) -> None:
    if size < len(image):
        del image[size:]
    else:
        image.extend(bytes(size - len(image)))
