"""Damaged logs, moved aside so that the member can rebuild from its peers, and kept for the operator.

    <directory>/condemned-<n>/reason      what was found, and where; the first file, and what makes it one
    <directory>/condemned-<n>/moved       everything is here
    <directory>/condemned-<n>/wal/...     the log, its snapshots, the boot counter, as they were found

A crash may come between any two of the moves. What a log looks like of which some segments are moved away already
must not be asked, so a move that began is finished before the log is read. Nothing here is ever deleted: the disk
is the operator's, and so is what may be saved from it. A disk that damages more logs than CONDEMNED_MAX is not
trusted with another one.
"""

import logging

from cluster.raft.driver.errors import ReplicaCorrupted
from runtime import Disk

CONDEMNED_MAX = 3
"""Damaged logs that are kept. With so many of them, a member refuses to start."""

_PREFIX = "condemned-"
_REASON = "reason"
_MOVED = "moved"
_WAL = "wal"
_SNAPSHOTS = "snapshots"
_INCARNATION = "incarnation"

_log = logging.getLogger(__name__)


async def kept(disk: Disk, directory: str) -> list[str]:
    """The folders of what was condemned, oldest first."""
    numbers = sorted(
        int(name.removeprefix(_PREFIX))
        for name in await disk.list(directory)
        if name.startswith(_PREFIX) and name.removeprefix(_PREFIX).isdecimal()
    )
    folders = [f"{directory}/{_PREFIX}{number}" for number in numbers]
    return [folder for folder in folders if await disk.exists(f"{folder}/{_REASON}")]


async def finish_moving(disk: Disk, directory: str) -> None:
    """Goes on where a crash ended `condemn`. Raises SyncFailed, OSError."""
    for folder in await kept(disk, directory):
        if not await disk.exists(f"{folder}/{_MOVED}"):
            await _move_all(disk, directory, folder)


async def condemn(disk: Disk, directory: str, damage: ReplicaCorrupted) -> str:
    """Moves the log and everything that belongs to it aside. Returns the folder that holds it now.

    Raises `damage` itself when too much is kept already; SyncFailed, OSError.
    """
    folder = await _make_folder(disk, directory, damage)
    await _move_all(disk, directory, folder)
    _tell(damage, folder)
    return folder


async def condemn_group(disk: Disk, directory: str, group: int, damage: ReplicaCorrupted) -> str:
    """Moves the snapshots of one group aside, when the log itself is good. Else as `condemn`."""
    folder = await _make_folder(disk, directory, damage)
    # Whatever a crash leaves where it was is found damaged, or unknown to the log, at the next start.
    await _write(disk, folder, _MOVED, b"")
    await _move(disk, f"{directory}/{_SNAPSHOTS}/{group}", f"{folder}/{_SNAPSHOTS}/{group}")
    _tell(damage, folder)
    return folder


async def _make_folder(disk: Disk, directory: str, damage: ReplicaCorrupted) -> str:
    number = len(await kept(disk, directory)) + 1
    if number > CONDEMNED_MAX:
        raise damage
    while await disk.exists(f"{directory}/{_PREFIX}{number}/{_REASON}"):
        number += 1
    folder = f"{directory}/{_PREFIX}{number}"
    await disk.make_directory(folder)
    await disk.sync_directory(directory)
    await _write(disk, folder, _REASON, f"{damage}\n".encode())
    return folder


async def _move_all(disk: Disk, directory: str, folder: str) -> None:
    await _move(disk, f"{directory}/{_WAL}", f"{folder}/{_WAL}")
    snapshots = f"{directory}/{_SNAPSHOTS}"
    if await disk.exists(snapshots):
        for group in await disk.list(snapshots):
            await _move(disk, f"{snapshots}/{group}", f"{folder}/{_SNAPSHOTS}/{group}")
    if await disk.exists(f"{directory}/{_INCARNATION}"):
        await disk.rename(f"{directory}/{_INCARNATION}", f"{folder}/{_INCARNATION}")
        await disk.sync_directory(folder)
        await disk.sync_directory(directory)
    await _write(disk, folder, _MOVED, b"")


async def _move(disk: Disk, source: str, target: str) -> None:
    """Moves the files of one directory."""
    if not await disk.exists(source):
        return
    await disk.make_directory(target)
    parent = target
    while "/" in parent:
        parent = parent.rpartition("/")[0]
        await disk.sync_directory(parent)
    for name in await disk.list(source):
        await disk.rename(f"{source}/{name}", f"{target}/{name}")
    # A name must not be gone from here before it is there, whatever the crash keeps.
    await disk.sync_directory(target)
    await disk.sync_directory(source)


async def _write(disk: Disk, folder: str, name: str, content: bytes) -> None:
    temporary = f"{folder}/{name}.tmp"
    if await disk.exists(temporary):
        await disk.remove(temporary)
    file = await disk.open(temporary, create=True)
    try:
        await file.pwrite([content], 0, sync=True)
    finally:
        await file.close()
    await disk.rename(temporary, f"{folder}/{name}")
    await disk.sync_directory(folder)


def _tell(damage: ReplicaCorrupted, folder: str) -> None:
    _log.error(
        "what this member had stored is damaged: it is kept aside, and rebuilt from the other members",
        extra={"file": damage.file, "offset": damage.offset, "reason": damage.reason, "kept_in": folder},
    )
