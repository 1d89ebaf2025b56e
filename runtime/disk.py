"""The door to the disk.

What a caller may rely on, and no more (the real disk and the simulated one promise the same):

- A write is durable once a `sync` of that file that began after the write has returned. Until then a crash may
  keep all, some or none of its sectors, in any order.
- A created, renamed or removed directory entry is durable once `sync_directory` of its directory has returned.
- `rename` replaces the target atomically.
- After a sync has failed, nothing is known of what was written since the last good one. The caller must stop and
  recover by reading what is there after a restart; syncing again proves nothing, because the kernel may have dropped
  the dirty pages (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).

Paths are relative to the disk's root, with `/` between names. Errors are `OSError` with the platform's `errno`.
"""

from collections.abc import Sequence
from typing import Protocol


class SyncFailed(OSError):
    """A sync did not succeed. The process must not acknowledge anything more, and should stop."""


class DirectoryInUse(OSError):
    """Another process holds the lock of this data directory."""


class File(Protocol):
    """An open file. Reads and writes name their offset; there is no cursor."""

    async def pread(self, length: int, offset: int) -> bytes:
        """Reads up to `length` bytes at `offset`; shorter only at the end of the file."""
        ...

    def pread_now(self, length: int, offset: int) -> bytes:
        """Reads as `pread` does, on the caller's thread, which stands still for as long as the device takes.

        For engines whose calls are synchronous: most of their reads are in the page cache, where a trip to another
        thread costs ten times the read.
        """
        ...

    async def pwrite(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> None:
        """Writes `parts` one behind another at `offset`, growing the file if need be.

        With `sync`, returns only when they are durable: one trip off the event loop for both.
        """
        ...

    def pwrite_now(self, parts: Sequence[bytes], offset: int, *, sync: bool = False) -> float:
        """Writes as `pwrite` does, on the caller's thread, which stands still for as long as the device takes.

        Returns how long that was, in seconds. For a log whose sync is shorter than a trip to another thread and back;
        whoever calls it looks at the time, and stops doing so when the device is slow.
        """
        ...

    async def sync(self) -> None:
        """Makes the file's data and size durable. Raises SyncFailed."""
        ...

    async def truncate(self, size: int) -> None:
        """Cuts or extends (with zeros) the file to `size` bytes. Durable after the next sync."""
        ...

    async def size(self) -> int:
        """The file's length in bytes."""
        ...

    async def close(self) -> None:
        """Releases the file. Does not sync. Closing twice is harmless."""
        ...

    def close_now(self) -> None:
        """Closes as `close` does, on the caller's thread: for files that were only read, where it takes no time."""
        ...


class Disk(Protocol):
    """A directory tree that belongs to one process."""

    async def open(self, path: str, *, create: bool = False) -> File:
        """Opens for reading and writing. With `create`, the file must not exist; without, it must."""
        ...

    def open_now(self, path: str) -> File:
        """Opens a file that exists, on the caller's thread, which stands still for as long as the device takes.

        For who keeps few of many files open, and needs one that is closed in the midst of a synchronous call: what was
        open a while ago is found in the kernel's cache of names.
        """
        ...

    async def read(self, path: str) -> bytes:
        """The whole content of a file, for files known to be small."""
        ...

    async def exists(self, path: str) -> bool:
        """Whether a file or directory is there."""
        ...

    async def list(self, directory: str) -> list[str]:
        """The names in a directory, sorted."""
        ...

    async def make_directory(self, path: str) -> None:
        """Makes a directory with its parents; one that exists is fine."""
        ...

    async def rename(self, source: str, target: str) -> None:
        """Gives a file another name, atomically replacing what had it."""
        ...

    async def link(self, source: str, target: str) -> None:
        """Gives a file a second name. The target must not exist. Neither name's file may be written any more."""
        ...

    async def remove(self, path: str) -> None:
        """Removes a file."""
        ...

    async def sync_directory(self, path: str) -> None:
        """Makes the entries of a directory durable. Raises SyncFailed."""
        ...

    async def lock(self, path: str) -> None:
        """Takes an exclusive lock that the process keeps until it ends. Raises DirectoryInUse."""
        ...
