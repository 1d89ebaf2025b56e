"""Snapshots on disk: one file for each, complete or absent.

    <directory>/<group>/<index>-<term>.snap      a whole one
    <directory>/<group>/<index>-<term>.snap.tmp  being written by this process; worthless after a crash
    <directory>/<group>/<index>-<term>.part      being received from a leader; the same

    header   magic 8s, version u16, group u64, index u64, term u64, auto_leave u8, member sets (see records),
             CRC32C u32 of all that; its length u32 stands before the magic
    chunk    length u32 > 0, CRC32C u32, data; as many as there are
    footer   length u32 = 0, CRC32C u32 of the rest; data bytes u64, chunks u64, end magic 8s

A file is written to its temporary name, synced, renamed, and the directory synced, before anything refers to it. Which
file counts is not decided by its name but by the newest MARK in the log (see records): files that no MARK names are
removed when the group is opened.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

import google_crc32c

from cluster.raft.core.types import SnapshotMeta
from cluster.raft.driver.errors import ReplicaCorrupted
from cluster.raft.driver.records import BadRecord, decode_members, encode_members
from runtime import Disk, File

CHUNK_BYTES_MAX = 64 << 20
"""The longest chunk that a state machine may yield, or that is read back."""
BUFFER_BYTES = 1 << 20
"""How much is gathered for one write, and read at once."""

_MAGIC = b"ORRYSNAP"
_END_MAGIC = b"ORRYDONE"
_VERSION = 1
_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<8sHQQQB")
_CHUNK = struct.Struct("<II")
_TOTALS = struct.Struct("<QQ8s")
_FOOTER_BYTES = _CHUNK.size + _TOTALS.size
_HEADER_BYTES_MAX = 64 << 10


class SnapshotSource:
    """An open, complete snapshot file, from which one transfer reads."""

    def __init__(self, file: File, size: int) -> None:
        self._file = file
        self.size = size
        """Length of the file in bytes."""

    async def read(self, length: int, offset: int) -> bytes:
        """Bytes of the file, as they travel."""
        return await self._file.pread(length, offset)

    async def close(self) -> None:
        """Lets the file go."""
        await self._file.close()


class SnapshotStore:
    """The snapshots of all groups of a host."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory

    def path(self, group: int, meta: SnapshotMeta) -> str:
        """Where the snapshot of `group` at `meta` stands."""
        return f"{self._directory}/{group}/{meta.index}-{meta.term}.snap"

    async def holds(self, group: int) -> bool:
        """Whether there is any whole snapshot of the group, named by the log or not."""
        folder = f"{self._directory}/{group}"
        if not await self._disk.exists(folder):
            return False
        return any(name.endswith(".snap") for name in await self._disk.list(folder))

    async def prepare(self, group: int, keep: SnapshotMeta) -> None:
        """Makes the group's directory, and removes from it every file but the one of `keep` (index 0: every file)."""
        folder = f"{self._directory}/{group}"
        await self._disk.make_directory(folder)
        await self._disk.sync_directory(self._directory)
        kept = f"{keep.index}-{keep.term}.snap"
        for name in await self._disk.list(folder):
            if name != kept:
                await self._disk.remove(f"{folder}/{name}")

    async def remove_older(self, group: int, keep: SnapshotMeta) -> None:
        """Removes the whole snapshots before `keep`. Newer ones stay: a leader's may just be on its way in."""
        folder = f"{self._directory}/{group}"
        for name in await self._disk.list(folder):
            index, _, rest = name.partition("-")
            if rest.endswith(".snap") and int(index) < keep.index:
                await self._disk.remove(f"{folder}/{name}")

    async def remove(self, group: int, meta: SnapshotMeta) -> None:
        """Removes a snapshot, if it is there."""
        path = self.path(group, meta)
        if await self._disk.exists(path):
            await self._disk.remove(path)

    async def write(self, group: int, meta: SnapshotMeta, chunks: Iterable[bytes]) -> int:
        """Makes the snapshot durable, with a turn for others after each chunk. Returns the file's size in bytes.

        Raises OSError; SyncFailed when a sync did.
        """
        path = self.path(group, meta)
        temporary = path + ".tmp"
        if await self._disk.exists(temporary):
            await self._disk.remove(temporary)
        file = await self._disk.open(temporary, create=True)
        try:
            size = await self._write_all(file, group, meta, chunks)
            await file.sync()
        finally:
            await file.close()
        await self.publish(group, temporary, meta)
        return size

    async def publish(self, group: int, temporary: str, meta: SnapshotMeta) -> None:
        """Gives a synced file its final name, durably."""
        await self._disk.rename(temporary, self.path(group, meta))
        await self._disk.sync_directory(f"{self._directory}/{group}")

    async def source(self, group: int, meta: SnapshotMeta) -> SnapshotSource:
        """Opens a snapshot for sending. Raises OSError."""
        file = await self._disk.open(self.path(group, meta))
        return SnapshotSource(file, await file.size())

    async def create_part(self, group: int, meta: SnapshotMeta, sender: int) -> tuple[str, File]:
        """An empty file for a snapshot that a leader streams to this member."""
        path = f"{self._directory}/{group}/{meta.index}-{meta.term}-{sender}.part"
        if await self._disk.exists(path):
            await self._disk.remove(path)
        return path, await self._disk.open(path, create=True)

    async def remove_part(self, path: str) -> None:
        """Gives up on a received file."""
        if await self._disk.exists(path):
            await self._disk.remove(path)

    async def verify(self, path: str, group: int, meta: SnapshotMeta) -> None:
        """Reads a whole file and checks it. Raises ReplicaCorrupted."""
        async with aclosing(self.read(path, group, meta)) as chunks:
            async for _ in chunks:
                pass

    async def read(self, path: str, group: int, meta: SnapshotMeta) -> AsyncGenerator[bytes, None]:
        """The chunks of a snapshot, each checked before it is handed out. Raises ReplicaCorrupted."""
        try:
            file = await self._disk.open(path)
        except FileNotFoundError as error:
            raise ReplicaCorrupted(path, 0, "the snapshot that the log names is missing") from error
        try:
            reader = _Reader(file, path, await file.size())
            await reader.header(group, meta)
            while (chunk := await reader.chunk()) is not None:
                yield chunk
        finally:
            await file.close()

    async def _write_all(self, file: File, group: int, meta: SnapshotMeta, chunks: Iterable[bytes]) -> int:
        parts = [encode_header(group, meta)]
        buffered = len(parts[0])
        at = data_bytes = count = 0
        for chunk in chunks:
            if len(chunk) > CHUNK_BYTES_MAX:
                raise ValueError(f"the state machine yielded a chunk of {len(chunk)} bytes")
            if not chunk:
                continue
            parts += (_CHUNK.pack(len(chunk), google_crc32c.value(chunk)), chunk)
            buffered += _CHUNK.size + len(chunk)
            data_bytes += len(chunk)
            count += 1
            if buffered >= BUFFER_BYTES:
                await file.pwrite(parts, at)
                at += buffered
                parts, buffered = [], 0
            await asyncio.sleep(0)
        totals = _TOTALS.pack(data_bytes, count, _END_MAGIC)
        parts += (_CHUNK.pack(0, google_crc32c.value(totals)), totals)
        await file.pwrite(parts, at)
        return at + buffered + _FOOTER_BYTES


def encode_header(group: int, meta: SnapshotMeta) -> bytes:
    """The head of a file: which snapshot it is."""
    leave = meta.configuration.auto_leave
    body = _HEADER.pack(_MAGIC, _VERSION, group, meta.index, meta.term, leave) + encode_members(meta.configuration)
    return _LENGTH.pack(len(body)) + body + _LENGTH.pack(google_crc32c.value(body))


class _Reader:
    """Reads one file from front to back through a buffer."""

    def __init__(self, file: File, path: str, size: int) -> None:
        self._file = file
        self._path = path
        self._size = size
        self._buffer = b""
        self._start = 0
        self._at = 0
        self._data_bytes = 0
        self._count = 0

    async def header(self, group: int, meta: SnapshotMeta) -> None:
        """Checks that the file is the snapshot that is wanted."""
        (length,) = _LENGTH.unpack(await self._take(_LENGTH.size))
        if length > _HEADER_BYTES_MAX:
            raise self._bad(f"a header of {length} bytes")
        body = await self._take(length)
        (crc,) = _LENGTH.unpack(await self._take(_LENGTH.size))
        if google_crc32c.value(body) != crc or length < _HEADER.size:
            raise self._bad("the header's checksum is wrong")
        magic, version, file_group, index, term, leave = _HEADER.unpack_from(body)
        if magic != _MAGIC or version != _VERSION:
            raise self._bad(f"not a snapshot of version {_VERSION}")
        try:
            configuration, _ = decode_members(body, _HEADER.size, auto_leave=bool(leave))
        except BadRecord as error:
            raise self._bad(str(error)) from error
        if (file_group, SnapshotMeta(index, term, configuration)) != (group, meta):
            raise self._bad(f"holds group {file_group} at {index}, not group {group} at {meta.index}")

    async def chunk(self) -> bytes | None:
        """The next chunk, or None after the last one and a good footer."""
        length, crc = _CHUNK.unpack(await self._take(_CHUNK.size))
        if length == 0:
            totals = await self._take(_TOTALS.size)
            if (
                google_crc32c.value(totals) != crc
                or _TOTALS.unpack(totals) != (self._data_bytes, self._count, _END_MAGIC)
                or self._at != self._size
            ):
                raise self._bad("the footer does not fit what stands before it")
            return None
        if length > CHUNK_BYTES_MAX:
            raise self._bad(f"a chunk of {length} bytes")
        data = await self._take(length)
        if google_crc32c.value(data) != crc:
            raise self._bad("a chunk's checksum is wrong")
        self._data_bytes += length
        self._count += 1
        return data

    async def _take(self, length: int) -> bytes:
        if self._at + length > self._size:
            raise self._bad("the file is cut short")
        begin = self._at - self._start
        if begin + length > len(self._buffer):
            self._buffer = await self._file.pread(max(length, BUFFER_BYTES), self._at)
            self._start, begin = self._at, 0
            if len(self._buffer) < length:
                raise self._bad("the file is cut short")
        self._at += length
        return self._buffer[begin : begin + length]

    def _bad(self, reason: str) -> ReplicaCorrupted:
        return ReplicaCorrupted(self._path, self._at, reason)
