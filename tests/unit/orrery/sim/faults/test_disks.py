import errno

import pytest

from orrery.sim.faults import BitRot, FailingSync, FullDisk, LyingSync, SlowDisk, Wipe
from orrery.sim.faults.disks import closed_segments
from orrery.sim.faults.testing import HostCluster, Play
from runtime import SyncFailed


def test_a_slow_disk_is_fast_again(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        leader = cluster.leads = cluster.members[0]
        before = leader.disk.latency_s, leader.disk.sync_latency_s
        async with SlowDisk("leader", factor=10).on(cluster):
            assert (leader.disk.latency_s, leader.disk.sync_latency_s) == (before[0] * 10, before[1] * 10)
        assert (leader.disk.latency_s, leader.disk.sync_latency_s) == before

    play(scenario)


def test_a_sync_fails_once(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        member = cluster.leads = cluster.members[0]
        async with FailingSync("leader").on(cluster):
            with pytest.raises(SyncFailed):
                await member.disk.sync_directory(".")
            member.kill()
        assert member.process is not None
        await member.disk.sync_directory(".")

    play(scenario)


def test_a_full_disk_takes_what_it_has_room_for(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        member = cluster.leads = cluster.members[0]
        member.disk.put("file", bytes(10_000))
        file = await member.disk.open("file")
        async with FullDisk("leader", room_bytes=100).on(cluster):
            await file.pwrite([bytes(100)], 10_000)
            with pytest.raises(OSError, match="No space") as full:
                await file.pwrite([b"x"], 10_100)
            assert full.value.errno == errno.ENOSPC
        await file.pwrite([b"x"], 10_100)

    play(scenario)


def test_what_a_lying_disk_took_is_gone(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        member = cluster.leads = cluster.members[0]
        async with LyingSync("leader").on(cluster):
            for name in range(50):
                await member.disk.open(f"{name}", create=True)
                await member.disk.sync_directory(".")
        lost = 50 - len(member.disk.paths())
        assert member.process is not None
        assert not member.disk.lie_about_sync
        lost_in.append(lost)

    lost_in: list[int] = []
    play(scenario)
    assert max(lost_in) > 0


def test_a_minority_loses_its_disks(play: Play) -> None:
    async def scenario(cluster: HostCluster) -> None:
        for member in cluster.members:
            member.disk.put("file", b"x")
        async with Wipe().on(cluster):
            assert sum(member.process is None for member in cluster.members) == (len(cluster.members) - 1) // 2
        empty = [member for member in cluster.members if not member.disk.paths()]
        assert len(empty) == (len(cluster.members) - 1) // 2
        assert all(member.lives == 2 for member in empty)

    play(scenario)


def test_only_closed_segments_rot_and_are_turned_back(play: Play) -> None:
    async def nothing_closed(cluster: HostCluster) -> None:
        async with BitRot().on(cluster):
            assert all(member.lives == 1 for member in cluster.members)

    async def scenario(cluster: HostCluster) -> None:
        nemesis = BitRot()
        member = cluster.members[1]
        for name in ("raft/wal/00.wal", "raft/wal/07.wal", "raft/wal/09.wal", "other/00.wal", "file"):
            member.disk.put(name, bytes(100))
        assert closed_segments(member.disk) == ["raft/wal/00.wal", "raft/wal/07.wal"]
        async with nemesis.on(cluster):
            assert nemesis.rotten is member
            assert member.lives == 2
            flipped = [path for path in member.disk.paths() if any(member.disk.content(path))]
            assert len(flipped) == 1
            assert flipped[0] in closed_segments(member.disk)
            member.kill()
        assert not any(any(member.disk.content(path)) for path in member.disk.paths())
        assert member.lives == 3

    play(nothing_closed)
    play(scenario)
