"""Members that lost what they had stored, or find it damaged, come back under the same id and hold everything.

Method: real hosts on simulated disks; one disk is emptied, or rots, and whoever can be elected without that member's
help must hold what was acknowledged. Once the member is settled, it carries a majority itself.
"""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

import pytest

from cluster.raft.core import Safeguards
from cluster.raft.core.types import Stage
from cluster.raft.driver import HostOptions, ReplicaCorrupted
from cluster.raft.driver.records import RecordKind
from cluster.raft.driver.recovery import Replay
from cluster.replica.in_process import InProcessCluster
from runtime import Runtime
from runtime.real import StreamNet, SystemClock
from runtime.sim import SeededRandomness, SimDisk

SMALL = HostOptions(
    snapshot_log_bytes=600, snapshot_size_factor=0.01, trailing_entries=3, wal_segment_bytes=1_500, pin_bytes_max=3_000
)


class Journal:
    """Keeps every command in order."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
        self.commands += [command for _, command in commands]
        return [0] * len(commands)

    def snapshot(self) -> Iterator[bytes]:
        for command in list(self.commands):
            yield command + b"\n"

    async def restore(self, chunks: AsyncIterator[bytes]) -> None:
        self.commands = b"".join([chunk async for chunk in chunks]).split(b"\n")[:-1]


class Cluster(InProcessCluster[int]):
    """Journals on simulated disks that can be lost."""

    def __init__(self, *, size: int = 3, options: HostOptions = SMALL, groups: Sequence[int] = (1,)) -> None:
        self.disks: dict[int, SimDisk] = {}
        self.runtimes: dict[int, Runtime] = {}
        for member in range(1, size + 1):
            self.wipe(member)
        super().__init__(Journal, self.runtimes, options=options, groups=groups)
        self.written: list[bytes] = []

    def wipe(self, member: int) -> None:
        """The member's disk is a new one."""
        disk = self.disks[member] = SimDisk(random.Random(member))
        seeded = SeededRandomness(random.Random(member + 1000 * len(self.runtimes)))
        self.runtimes[member] = Runtime(SystemClock(), seeded, disk, StreamNet())

    def journal(self, member: int, group: int = 1) -> list[bytes]:
        machine = self.machines[member, group]
        assert isinstance(machine, Journal)
        return machine.commands

    def stage(self, member: int, group: int = 1) -> Stage:
        return self.replica(member, group).group.core.standing.stage

    async def write(self, count: int) -> None:
        leader = await self.leader()
        for _ in range(count):
            command = b"%04d" % len(self.written)
            await self.drive(self.replica(leader).propose(command, timeout_s=600))
            self.written.append(command)

    async def follower(self) -> int:
        leader = await self.leader()
        return next(member for member in self.hosts if member != leader)

    async def lose_power(self, member: int) -> None:
        await self.crash(member)
        self.disks[member].crash()

    async def holds_everything(self, member: int) -> None:
        """Waits until the member is settled and has all that was acknowledged."""
        await self.until(lambda: self.stage(member) is Stage.SETTLED and self.journal(member) == self.written)

    async def carries(self, member: int) -> None:
        """Loses another member for good: what is written now, this one must have acknowledged."""
        other = next(up for up in self.hosts if up != member)
        await self.lose_power(other)
        await self.write(2)
        await self.holds_everything(member)


@pytest.mark.parametrize("writes", [3, 60], ids=["from the log", "from a snapshot"])
async def test_a_member_that_lost_its_disk_comes_back(writes: int) -> None:
    cluster = Cluster()
    await cluster.start()
    await cluster.write(writes)
    lost = await cluster.follower()
    await cluster.lose_power(lost)
    cluster.wipe(lost)
    await cluster.write(2)
    await cluster.boot(lost)
    assert cluster.stage(lost) is Stage.JOINING
    await cluster.holds_everything(lost)
    await cluster.write(2)
    await cluster.carries(lost)
    await cluster.stop()


async def test_the_leader_itself_may_lose_its_disk() -> None:
    cluster = Cluster()
    await cluster.start()
    await cluster.write(10)
    lost = await cluster.leader()
    await cluster.lose_power(lost)
    cluster.wipe(lost)
    await cluster.boot(lost)
    await cluster.holds_everything(lost)
    await cluster.carries(lost)
    await cluster.stop()


async def test_it_does_not_make_a_majority_before() -> None:
    cluster = Cluster()
    await cluster.start()
    await cluster.write(10)
    away = await cluster.leader()
    lost = await cluster.follower()
    await cluster.lose_power(away)
    await cluster.lose_power(lost)
    cluster.wipe(lost)
    await cluster.boot(lost)
    await cluster.until(lambda: cluster.stage(lost) is Stage.RECOVERING)
    await cluster.tick(60)
    assert cluster.stage(lost) is Stage.RECOVERING
    assert "waits for a leader" in cluster.replica(lost).recovery
    assert not any(cluster.replica(member).leadership.is_self for member in cluster.hosts)
    # A restart does not make it forget that it recovers.
    await cluster.lose_power(lost)
    await cluster.boot(lost)
    assert cluster.stage(lost) is Stage.RECOVERING
    await cluster.boot(away)
    await cluster.holds_everything(lost)
    await cluster.stop()


async def test_two_of_five_at_once() -> None:
    cluster = Cluster(size=5)
    await cluster.start()
    await cluster.write(20)
    lost = [await cluster.follower(), await cluster.leader()]
    for member in lost:
        await cluster.lose_power(member)
        cluster.wipe(member)
    await cluster.write(2)
    for member in lost:
        await cluster.boot(member)
    for member in lost:
        await cluster.holds_everything(member)
    await cluster.stop()


async def test_two_of_three_are_too_many() -> None:
    cluster = Cluster()
    await cluster.start()
    await cluster.write(5)
    for member in (1, 2):
        await cluster.lose_power(member)
        cluster.wipe(member)
        await cluster.boot(member)
    await cluster.until(lambda: cluster.stage(1) is cluster.stage(2) is Stage.RECOVERING)
    await cluster.tick(100)
    assert not any(cluster.replica(member).leadership.is_self for member in cluster.hosts)
    await cluster.stop()


async def test_the_first_start_waits_for_enough_members() -> None:
    cluster = Cluster()
    await cluster.boot(1)
    await cluster.boot(2)
    await cluster.tick(60)
    assert cluster.stage(1) is cluster.stage(2) is Stage.JOINING
    assert "1 of 2 answered, 2 must" in cluster.replica(1).recovery
    await cluster.boot(3)
    await cluster.write(1)
    assert {cluster.stage(member) for member in (1, 2, 3)} == {Stage.SETTLED}
    # From now on a majority is enough.
    for member in (1, 2, 3):
        await cluster.lose_power(member)
    await cluster.boot(3)
    await cluster.boot(1)
    await cluster.write(1)
    await cluster.stop()


@pytest.mark.parametrize("place", [130, 400], ids=["the first frame", "a later one"])
async def test_damage_within_the_log_is_moved_aside_and_rebuilt(place: int) -> None:
    cluster = Cluster()
    await cluster.start()
    await cluster.write(8)
    lost = await cluster.follower()
    await cluster.lose_power(lost)
    disk = cluster.disks[lost]
    name = (await disk.list("raft/wal"))[0]
    disk.flip_bit(f"raft/wal/{name}", 8 * place)
    before = disk.content(f"raft/wal/{name}")
    await cluster.boot(lost)
    assert cluster.stage(lost) is Stage.RECOVERING
    assert cluster.hosts[lost].raft.condemned == ("raft/condemned-1",)
    assert disk.content(f"raft/condemned-1/wal/{name}") == before
    assert name.encode() in disk.content("raft/condemned-1/reason")
    await cluster.holds_everything(lost)
    await cluster.carries(lost)
    # The next start is an ordinary one.
    await cluster.lose_power(lost)
    await cluster.boot(lost)
    assert cluster.stage(lost) is Stage.SETTLED
    await cluster.holds_everything(lost)
    await cluster.stop()


async def test_power_loss_at_every_operation_of_a_rebuild() -> None:
    async def prepared() -> tuple[Cluster, int]:
        cluster = Cluster()
        await cluster.start()
        await cluster.write(8)
        lost = await cluster.follower()
        await cluster.lose_power(lost)
        disk = cluster.disks[lost]
        disk.flip_bit("raft/wal/" + (await disk.list("raft/wal"))[0], 8 * 400)
        return cluster, lost

    cluster, lost = await prepared()
    begun = cluster.disks[lost].operations
    await cluster.boot(lost)
    await cluster.holds_everything(lost)
    operations = cluster.disks[lost].operations - begun
    await cluster.stop()
    for lost_at in range(1, operations + 1):
        cluster, lost = await prepared()
        disk = cluster.disks[lost]
        disk.power_lost_at = disk.operations + lost_at
        try:
            await cluster.boot(lost)
            await cluster.until(lambda disk=disk: disk.power_lost)  # type: ignore[misc]
            await cluster.crash(lost)
        except OSError:
            pass
        disk.crash()
        await cluster.boot(lost)
        await cluster.holds_everything(lost)
        assert len(cluster.hosts[lost].raft.condemned) == 1, f"power lost at {lost_at}"
        await cluster.stop()


async def test_a_damaged_snapshot_is_moved_aside_and_its_group_rebuilt() -> None:
    cluster = Cluster(groups=(1, 2))
    await cluster.start()
    await cluster.leader(2)
    await cluster.drive(cluster.replica(1, 2).propose(b"other", timeout_s=600))
    await cluster.write(60)
    lost = await cluster.follower()
    await cluster.until(lambda: not cluster.replica(lost).group.taking_snapshot)
    await cluster.lose_power(lost)
    disk = cluster.disks[lost]
    names = await disk.list("raft/snapshots/1")
    for name in names:
        disk.flip_bit(f"raft/snapshots/1/{name}", 8 * 200)
    await cluster.boot(lost)
    assert cluster.stage(lost) is Stage.RECOVERING
    assert cluster.stage(lost, 2) is Stage.SETTLED, "the other group's log is good"
    assert await disk.list("raft/condemned-1/snapshots/1") == names
    await cluster.holds_everything(lost)
    await cluster.until(lambda: cluster.journal(lost, 2) == [b"other"])
    await cluster.stop()


async def test_snapshots_without_their_log_prove_a_loss() -> None:
    cluster = Cluster()
    await cluster.start()
    await cluster.write(60)
    lost = await cluster.follower()
    await cluster.until(lambda: not cluster.replica(lost).group.taking_snapshot)
    await cluster.lose_power(lost)
    disk = cluster.disks[lost]
    for name in await disk.list("raft/wal"):
        await disk.remove(f"raft/wal/{name}")
    await cluster.boot(lost)
    assert cluster.stage(lost) is Stage.RECOVERING
    await cluster.holds_everything(lost)
    await cluster.stop()


@pytest.mark.parametrize("size", [1, 2])
async def test_a_group_that_can_do_without_nobody_refuses_a_damaged_log(size: int) -> None:
    cluster = Cluster(size=size)
    await cluster.start()
    await cluster.write(8)
    await cluster.lose_power(1)
    disk = cluster.disks[1]
    disk.flip_bit("raft/wal/" + (await disk.list("raft/wal"))[0], 8 * 400)
    with pytest.raises(ReplicaCorrupted):
        await cluster.boot(1)
    assert not [name for name in await disk.list("raft") if name.startswith("condemned")]


async def test_without_the_safeguard_a_damaged_log_is_refused() -> None:
    cluster = Cluster(options=replace(SMALL, safeguards=Safeguards(recover_before_voting=False)))
    await cluster.start()
    await cluster.write(8)
    await cluster.lose_power(1)
    disk = cluster.disks[1]
    disk.flip_bit("raft/wal/" + (await disk.list("raft/wal"))[0], 8 * 400)
    with pytest.raises(ReplicaCorrupted):
        await cluster.boot(1)
    await cluster.stop()


async def test_a_log_from_before_there_were_lives_is_settled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def record(replay: Replay, lsn: int, payload: bytes) -> None:
        if payload[0] != RecordKind.STANDING:
            read(replay, lsn, payload)

    read = Replay.record
    cluster = Cluster()
    await cluster.start()
    await cluster.write(5)
    for member in (1, 2, 3):
        await cluster.lose_power(member)
    with monkeypatch.context() as patched:
        patched.setattr(Replay, "record", record)
        await cluster.start()
    assert {cluster.stage(member) for member in (1, 2, 3)} == {Stage.SETTLED}
    await cluster.write(2)
    # Nobody has notes of an earlier life, and says so: who asks has lost its log.
    lost = await cluster.follower()
    await cluster.lose_power(lost)
    cluster.wipe(lost)
    await cluster.boot(lost)
    await cluster.holds_everything(lost)
    assert "it rebuilds before it votes" in caplog.text
    await cluster.stop()
