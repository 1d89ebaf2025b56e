"""Whose data directory it is: written at the first start, and checked at every other one.

A member that came up on another's log would vote twice under two names, and that loses data.
"""

import msgspec

from runtime import Disk
from services.kv.identity import Identity

FILE = "identity.json"
LOCK = "lock"
FORMAT = 1


class WrongDataDirectory(Exception):
    """The directory belongs to another member or cluster, or is of a newer format. Nothing was changed."""


class _Owner(msgspec.Struct, frozen=True):
    format: int
    cluster_id: str
    member_id: str
    node: str


async def claim(disk: Disk, identity: Identity) -> None:
    """Locks the data directory and makes sure that it is this member's.

    Raises DirectoryInUse, WrongDataDirectory, OSError.
    """
    await disk.lock(LOCK)
    mine = _Owner(FORMAT, f"{identity.cluster_id:016x}", f"{identity.member.id:016x}", identity.member.name)
    if not await disk.exists(FILE):
        await _write(disk, msgspec.json.encode(mine))
        return
    try:
        found = msgspec.json.decode(await disk.read(FILE), type=_Owner)
    except msgspec.MsgspecError as error:
        raise WrongDataDirectory(f"{FILE} cannot be read: {error}") from error
    if found.format != FORMAT:
        raise WrongDataDirectory(f"the data directory has format {found.format}; this version knows {FORMAT}")
    if (found.cluster_id, found.member_id) != (mine.cluster_id, mine.member_id):
        raise WrongDataDirectory(
            f"the data directory belongs to member {found.node} ({found.member_id}) of cluster {found.cluster_id},"
            f" not to {mine.node} ({mine.member_id}) of {mine.cluster_id}"
        )


async def _write(disk: Disk, data: bytes) -> None:
    temporary = f"{FILE}.new"
    if await disk.exists(temporary):
        await disk.remove(temporary)
    file = await disk.open(temporary, create=True)
    try:
        await file.pwrite([data], 0, sync=True)
    finally:
        await file.close()
    await disk.rename(temporary, FILE)
    await disk.sync_directory(".")
