"""What a host reads when it boots: its log, and the boot counter.

The counter is strictly greater in every life of a data directory. It is the incarnation in the envelope of every
command, by which replicas tell a command of this life from a late one of an earlier life. The wall clock is mixed in
only to make it grow after the directory was wiped, too; it is never relied upon.
"""

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

import google_crc32c

from cluster.raft.driver import condemned
from cluster.raft.driver.errors import ReplicaCorrupted
from cluster.raft.driver.options import HostOptions
from cluster.raft.driver.records import BadRecord
from cluster.raft.driver.recovery import RecoveredGroup, Replay
from runtime import Clock, Disk, Runtime
from storage.wal import RecoveredWal, Wal, WalCorrupted

_DIGITS_MAX = 20


class OpenedLog(NamedTuple):
    """A log, and what it says."""

    wal: Wal
    groups: dict[int, RecoveredGroup]
    incarnation: int
    condemned: tuple[str, ...]
    """Where damaged logs from before this one are kept."""


async def open_log(
    runtime: Runtime, directory: str, options: HostOptions, observe_sync: Callable[[float], None] | None
) -> OpenedLog:
    """Reads the log back, or makes it, and draws this life's number. Raises ReplicaCorrupted, SyncFailed, OSError."""
    disk = runtime.disk
    await disk.make_directory(f"{directory}/snapshots")
    await disk.sync_directory(directory)
    try:
        wal, records = await Wal.open(
            disk,
            f"{directory}/wal",
            random=runtime.random,
            clock=runtime.clock,
            segment_bytes_max=options.wal_segment_bytes,
            pending_bytes_max=options.wal_pending_bytes_max,
            observe_sync=observe_sync,
        )
        groups = await _replay(directory, records)
    except WalCorrupted as error:
        raise ReplicaCorrupted(error.file, error.offset, error.reason) from error
    try:
        incarnation = await next_incarnation(disk, runtime.clock, directory)
    except BaseException:
        await wal.close()
        raise
    return OpenedLog(wal, groups, incarnation, tuple(await condemned.kept(disk, directory)))


async def _replay(directory: str, records: RecoveredWal) -> dict[int, RecoveredGroup]:
    replay = Replay()
    reading = aiter(records)
    try:
        async for lsn, payload in reading:
            try:
                replay.record(lsn, payload)
            except BadRecord as error:
                raise ReplicaCorrupted(f"{directory}/wal", lsn, f"record {lsn}: {error}") from error
    finally:
        # The file that is being read must not stay open: it may be moved now.
        if isinstance(reading, AsyncGenerator):
            await reading.aclose()
    return replay.groups


async def next_incarnation(disk: Disk, clock: Clock, directory: str) -> int:
    """Draws this life's number, which is durable when this returns. Raises ReplicaCorrupted, SyncFailed, OSError."""
    path = f"{directory}/incarnation"
    previous = _parse(path, await disk.read(path)) if await disk.exists(path) else 0
    incarnation = max(previous + 1, int(clock.wall_s() * 1000))
    temporary = path + ".tmp"
    if await disk.exists(temporary):
        await disk.remove(temporary)
    text = str(incarnation).encode()
    file = await disk.open(temporary, create=True)
    try:
        await file.pwrite([b"%s %08x\n" % (text, google_crc32c.value(text))], 0, sync=True)
    finally:
        await file.close()
    await disk.rename(temporary, path)
    await disk.sync_directory(directory)
    return incarnation


def _parse(path: str, content: bytes) -> int:
    text, _, crc = content.strip().partition(b" ")
    if not text.isdigit() or len(text) > _DIGITS_MAX or crc != b"%08x" % google_crc32c.value(text):
        raise ReplicaCorrupted(path, 0, "not an incarnation number with its checksum")
    return int(text)
