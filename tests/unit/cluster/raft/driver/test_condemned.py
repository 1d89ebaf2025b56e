"""A damaged log is moved aside whole, whatever happens in between, and kept.

Method: the power goes at every single disk operation of the move; the next life must find all of it moved, and no part
of the old log where a new one will be.
"""

import random

import pytest

from cluster.raft.driver import ReplicaCorrupted
from cluster.raft.driver.condemned import CONDEMNED_MAX, condemn, condemn_group, finish_moving, kept
from runtime.sim import SimDisk

DAMAGE = ReplicaCorrupted("raft/wal/2.wal", 99, "a frame's checksum is wrong")
FILES = {
    "wal/1.wal": b"one",
    "wal/2.wal": b"two",
    "wal/3.wal": b"three",
    "snapshots/1/5-1.snap": b"snapshot",
    "incarnation": b"7",
}


def damaged(seed: int = 1) -> SimDisk:
    disk = SimDisk(random.Random(seed))
    for name, content in FILES.items():
        disk.put(f"raft/{name}", content)
    return disk


def assert_moved(disk: SimDisk, folder: str) -> None:
    for name, content in FILES.items():
        assert disk.content(f"{folder}/{name}") == content


async def test_everything_is_kept_with_the_reason() -> None:
    disk = damaged()
    assert await kept(disk, "raft") == []
    folder = await condemn(disk, "raft", DAMAGE)
    assert await kept(disk, "raft") == [folder]
    assert_moved(disk, folder)
    assert b"raft/wal/2.wal, offset 99" in disk.content(f"{folder}/reason")
    assert await disk.list("raft/wal") == []
    operations = disk.operations
    await finish_moving(disk, "raft")
    assert disk.operations <= operations + 3, "nothing is left to do"


async def test_power_loss_at_every_operation() -> None:
    disk = damaged()
    await condemn(disk, "raft", DAMAGE)
    for lost_at in range(1, disk.operations + 1):
        for seed in range(4):
            disk = damaged(seed)
            disk.power_lost_at = lost_at
            with pytest.raises(OSError, match="power"):
                await condemn(disk, "raft", DAMAGE)
            disk.crash()
            await finish_moving(disk, "raft")
            folders = await kept(disk, "raft")
            if not folders:
                # Nothing had begun: the log is read, found damaged, and condemned again.
                assert await disk.list("raft/wal") == ["1.wal", "2.wal", "3.wal"]
                folders = [await condemn(disk, "raft", DAMAGE)]
            assert_moved(disk, folders[0])
            assert await disk.list("raft/wal") == []


async def test_only_the_snapshots_of_one_group() -> None:
    disk = damaged()
    disk.put("raft/snapshots/2/8-1.snap", b"another group's")
    folder = await condemn_group(disk, "raft", 1, DAMAGE)
    assert disk.content(f"{folder}/snapshots/1/5-1.snap") == b"snapshot"
    assert await disk.list("raft/wal") == ["1.wal", "2.wal", "3.wal"]
    assert await disk.list("raft/snapshots/2") == ["8-1.snap"]
    await finish_moving(disk, "raft")
    assert await disk.list("raft/wal") == ["1.wal", "2.wal", "3.wal"]


async def test_a_disk_that_damages_too_much_is_not_trusted() -> None:
    disk = damaged()
    for _ in range(CONDEMNED_MAX):
        await condemn(disk, "raft", DAMAGE)
        for name, content in FILES.items():
            disk.put(f"raft/{name}", content)
    with pytest.raises(ReplicaCorrupted):
        await condemn(disk, "raft", DAMAGE)
    assert disk.content("raft/wal/1.wal") == b"one"
    assert len(await kept(disk, "raft")) == CONDEMNED_MAX
