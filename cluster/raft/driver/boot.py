"""The boot counter: a number that is strictly greater in every life of a data directory.

It is the incarnation in the envelope of every command, by which replicas tell a command of this life from a late one
of an earlier life. The wall clock is mixed in only to make it grow after the directory was wiped, too; it is never
relied upon.
"""

import google_crc32c

from cluster.raft.driver.errors import ReplicaCorrupted
from runtime import Clock, Disk

_DIGITS_MAX = 20


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
