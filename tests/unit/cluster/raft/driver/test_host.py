"""Power loss at every single disk operation of a host's life: founding, persisting, snapshots, compaction, installing.

Goal: whatever was acknowledged is there afterwards, once, in order, and the host boots and serves.
Method: one run counts the disk operations; then one run for each operation loses the power in its midst, lets the
simulated disk keep a random part of what was not synced, boots, and compares. A hard-to-place fault needs no luck.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

import pytest

from cluster.raft.driver import HostOptions, ReplicaCorrupted
from cluster.raft.driver.holding_back import EAGER_TICKS
from cluster.raft.driver.transport import GroupMessage
from cluster.replica import ReplicaError
from cluster.replica.in_process import InProcessCluster
from runtime import DirectoryInUse, Runtime, SyncFailed
from runtime.real import StreamNet, SystemClock
from runtime.sim import SeededRandomness, SimDisk

SMALL = HostOptions(
    snapshot_log_bytes=600, snapshot_size_factor=0.01, trailing_entries=3, wal_segment_bytes=1_500, pin_bytes_max=3_000
)


class Journal:
    """Keeps every command in order, and refuses to see one twice."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
        for _, command in commands:
            assert command not in self.commands, f"{command!r} is applied twice"
            self.commands.append(command)
        return [0] * len(commands)

    def snapshot(self) -> Iterator[bytes]:
        commands = list(self.commands)
        for start in range(0, len(commands), 4):
            yield b"".join(command + b"\n" for command in commands[start : start + 4])

    async def restore(self, chunks: AsyncIterator[bytes]) -> None:
        self.commands = b"".join([chunk async for chunk in chunks]).split(b"\n")[:-1]


class Cluster(InProcessCluster[int]):
    """Journals on simulated disks."""

    def __init__(self, *, seed: int, size: int = 1, groups: Sequence[int] = (1,), options: HostOptions = SMALL) -> None:
        self.disks = {member: SimDisk(random.Random(seed * 100 + member)) for member in range(1, size + 1)}
        runtimes = {
            member: Runtime(SystemClock(), SeededRandomness(random.Random(seed * 1000 + member)), disk, StreamNet())
            for member, disk in self.disks.items()
        }
        super().__init__(Journal, runtimes, options=options, groups=groups)

    def journal(self, member: int, group: int = 1) -> list[bytes]:
        machine = self.machines[member, group]
        assert isinstance(machine, Journal)
        return machine.commands

    async def lose_power(self, member: int) -> None:
        if member in self.runs:
            await self.crash(member)
            if not self.runs[member].cancelled():
                self.runs[member].exception()
        self.disks[member].crash()


async def write_until_it_fails(cluster: Cluster, prefix: bytes, count: int) -> list[bytes]:
    """Boots and writes on a single member; returns what was acknowledged. Ends early when the power goes."""
    acknowledged: list[bytes] = []
    try:
        await cluster.boot(1)
        for number in range(count):
            command = prefix + b"%03d" % number
            work = asyncio.create_task(cluster.replica(1).propose(command, timeout_s=600))
            await cluster.until(lambda work=work: work.done() or cluster.runs[1].done())  # type: ignore[misc]
            if cluster.runs[1].done():
                work.cancel()
                await asyncio.wait([work])
                break
            await work
            acknowledged.append(command)
    except (OSError, ReplicaError):
        pass
    return acknowledged


async def test_power_loss_at_every_disk_operation_of_one_member() -> None:
    cluster = Cluster(seed=1)
    await write_until_it_fails(cluster, b"a", 60)
    operations = cluster.disks[1].operations
    assert cluster.hosts[1].raft._snapshotting.taken >= 3
    assert cluster.hosts[1].raft.wal.statistics.segments_removed >= 1
    await cluster.stop()
    for lost_at in range(1, operations + 1):
        cluster = Cluster(seed=lost_at)
        cluster.disks[1].power_lost_at = lost_at
        acknowledged = await write_until_it_fails(cluster, b"a", 60)
        await cluster.lose_power(1)
        cluster.disks[1].power_lost_at = None
        more = await write_until_it_fails(cluster, b"b", 3)
        assert len(more) == 3, f"power lost at {lost_at}: the second life does not serve"
        journal = cluster.journal(1)
        # One command may have been under way: it may be there, unacknowledged.
        first_life = [command for command in journal if command.startswith(b"a")]
        assert first_life[: len(acknowledged)] == acknowledged, f"power lost at {lost_at}"
        assert len(first_life) <= len(acknowledged) + 1
        assert journal == first_life + more
        await cluster.stop()


async def test_power_loss_while_an_idle_group_is_moved_to_the_logs_end() -> None:
    """The idle group's old records may go only once its new ones are durable."""

    async def live(cluster: Cluster) -> int:
        try:
            await cluster.boot(1)
            replica = cluster.replica(1, 2)
            work = asyncio.create_task(replica.propose(b"idle", timeout_s=600))
            await cluster.until(lambda: work.done() or cluster.runs[1].done())
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            begun = cluster.disks[1].operations
            for number in range(120):
                work = asyncio.create_task(cluster.replica(1).propose(b"%03d" % number, timeout_s=600))
                await cluster.until(lambda work=work: work.done() or cluster.runs[1].done())  # type: ignore[misc]
                if cluster.runs[1].done():
                    break
                await work
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        except (OSError, ReplicaError):
            return 0
        return begun

    cluster = Cluster(seed=1, groups=(1, 2))
    begun = await live(cluster)
    assert cluster.hosts[1].raft.wal.statistics.segments_removed > 2
    operations = cluster.disks[1].operations
    await cluster.stop()
    # The moves recur with every few snapshots, so every fourth operation meets each of their steps.
    for lost_at in range(begun + 1, operations + 1, 4):
        cluster = Cluster(seed=lost_at, groups=(1, 2))
        cluster.disks[1].power_lost_at = lost_at
        await live(cluster)
        await cluster.lose_power(1)
        cluster.disks[1].power_lost_at = None
        await cluster.boot(1)
        await cluster.until(lambda cluster=cluster: cluster.journal(1, 2) == [b"idle"])  # type: ignore[misc]
        await cluster.stop()


async def test_power_loss_at_every_disk_operation_of_a_snapshot_install() -> None:
    async def prepared(seed: int) -> Cluster:
        cluster = Cluster(seed=seed, size=3)
        await cluster.start()
        leader = await cluster.leader()
        away = next(member for member in (1, 2, 3) if member != leader)
        await cluster.drive(cluster.replica(leader).propose(b"000", timeout_s=600))
        await cluster.lose_power(away)
        for number in range(1, 40):
            await cluster.drive(cluster.replica(leader).propose(b"%03d" % number, timeout_s=600))
        await cluster.until(lambda: not cluster.replica(leader).group.taking_snapshot)
        return cluster

    async def catch_up(cluster: Cluster) -> int:
        (away,) = {1, 2, 3} - set(cluster.hosts)
        begun = cluster.disks[away].operations
        try:
            await cluster.boot(away)
            lost = cluster.disks[away]
            await cluster.until(
                lambda: len(cluster.journal(away)) == 40 or cluster.runs[away].done() or lost.power_lost
            )
        except OSError:
            pass
        return cluster.disks[away].operations - begun

    cluster = await prepared(1)
    operations = await catch_up(cluster)
    assert sum(host.raft.counters.snapshots_installed for host in cluster.hosts.values()) == 1
    await cluster.stop()
    for lost_at in range(1, operations + 1):
        cluster = await prepared(1)
        (away,) = {1, 2, 3} - set(cluster.hosts)
        disk = cluster.disks[away]
        disk.power_lost_at = disk.operations + lost_at
        await catch_up(cluster)
        await cluster.lose_power(away)
        disk.power_lost_at = None
        await catch_up(cluster)
        assert cluster.journal(away) == [b"%03d" % number for number in range(40)], f"power lost at {lost_at}"
        assert not any(run.done() for run in cluster.runs.values())
        await cluster.stop()


async def test_an_idle_group_does_not_hold_the_log_forever() -> None:
    cluster = Cluster(seed=3, groups=(1, 2))
    await cluster.start()
    await cluster.leader(2)
    await cluster.drive(cluster.replica(1, 2).propose(b"idle", timeout_s=600))
    for number in range(300):
        await cluster.drive(cluster.replica(1, 1).propose(b"%04d" % number, timeout_s=600))
    assert cluster.hosts[1].raft.wal.bytes_total < 4 * SMALL.pin_bytes_max
    await cluster.lose_power(1)
    await cluster.boot(1)
    await cluster.until(lambda: len(cluster.journal(1, 1)) == 300)
    await cluster.until(lambda: cluster.journal(1, 2) == [b"idle"])
    await cluster.stop()


async def test_a_directory_belongs_to_one_host() -> None:
    cluster = Cluster(seed=4)
    await cluster.start()
    with pytest.raises(DirectoryInUse):
        await cluster.boot(1)
    await cluster.stop()


async def test_incarnations_grow_even_when_the_clock_stands_still() -> None:
    cluster = Cluster(seed=5)
    seen = []
    for _ in range(3):
        await cluster.boot(1)
        seen.append(cluster.hosts[1].raft.incarnation)
        await cluster.lose_power(1)
    assert seen == sorted(set(seen))
    cluster.disks[1].put("raft/incarnation", b"12 00000000\n")
    with pytest.raises(ReplicaCorrupted):
        await cluster.boot(1)


async def test_damage_within_the_log_is_refused_by_name() -> None:
    cluster = Cluster(seed=6)
    await write_until_it_fails(cluster, b"a", 10)
    await cluster.stop()
    cluster.disks[1].crash()
    (name, *_) = await cluster.disks[1].list("raft/wal")
    cluster.disks[1].flip_bit(f"raft/wal/{name}", 8 * 130)
    with pytest.raises(ReplicaCorrupted) as caught:
        await cluster.boot(1)
    assert caught.value.file == f"raft/wal/{name}"


async def test_a_log_that_forgot_a_group_is_refused() -> None:
    """Founding the group anew would forget its votes."""
    cluster = Cluster(seed=8)
    await write_until_it_fails(cluster, b"a", 60)
    await cluster.stop()
    disk = cluster.disks[1]
    disk.crash()
    for name in await disk.list("raft/wal"):
        await disk.remove(f"raft/wal/{name}")
    with pytest.raises(ReplicaCorrupted):
        await cluster.boot(1)


async def test_a_failed_sync_of_a_received_snapshot_stops_the_host() -> None:
    cluster = Cluster(seed=9, size=3, options=replace(SMALL, hold_back_s=0.1))
    await cluster.start()
    leader = await cluster.leader()
    away = next(member for member in (1, 2, 3) if member != leader)
    await cluster.lose_power(away)
    for number in range(60):
        await cluster.drive(cluster.replica(leader).propose(b"%03d" % number, timeout_s=600))
    await cluster.until(lambda: not cluster.replica(leader).group.taking_snapshot)
    await cluster.boot(away)
    incoming = cluster.hosts[away].raft._incoming
    cluster.network.delay_s = 0.001
    for _ in range(100_000):
        if incoming._transfers:
            break
        cluster.hosts[leader].raft.tick()
        await asyncio.sleep(0)
    cluster.disks[away].fail_syncs = 100
    await cluster.until(cluster.runs[away].done)
    with pytest.raises(SyncFailed):
        await cluster.runs[away]
    assert not cluster.runs[leader].done()
    await cluster.stop()


async def test_a_leaders_entries_leave_before_its_own_disk_is_asked() -> None:
    cluster = Cluster(seed=8, size=3)
    await cluster.start()
    leader = await cluster.leader()
    for number in range(20):
        await cluster.drive(cluster.replica(leader).propose(b"warm%d" % number, timeout_s=60))
    cluster.hosts[leader].raft.wal.pace.is_quick = True
    events: list[str] = []

    def spy(source: int, target: int, item: GroupMessage) -> bool:
        if source == leader and item.message.entries:
            events.append("sent")
        return False

    def wrote(data: bytes) -> None:
        if b"needle" in data:
            events.append("written")

    cluster.network.lose = spy
    cluster.disks[leader].on_write = wrote
    await cluster.drive(cluster.replica(leader).propose(b"needle", timeout_s=60))
    assert events[0] == "sent"
    assert "written" in events
    await cluster.stop()


async def test_only_a_quorum_is_sent_entries_at_once_and_the_other_takes_its_place_when_it_fails() -> None:
    cluster = Cluster(seed=9, size=3, options=replace(SMALL, hold_back_s=0.1))
    await cluster.start()
    leader = await cluster.leader()
    # Whoever forwarded something lately is told at once, too.
    await cluster.tick(2 * EAGER_TICKS)
    sent: defaultdict[int, int] = defaultdict(int)

    def spy(source: int, target: int, item: GroupMessage) -> bool:
        sent[target] += source == leader and bool(item.message.entries)
        return False

    cluster.network.lose = spy
    for number in range(20):
        await cluster.replica(leader).propose(b"one%d" % number, timeout_s=60)
    needed = max(sent, key=lambda member: sent[member])
    other = next(member for member in cluster.hosts if member not in (leader, needed))
    assert sent[needed] == 20
    assert sent[other] < 20, "what gathers is one message"
    cluster.network.cut(leader, needed)
    sent.clear()
    for number in range(20):
        await cluster.replica(leader).propose(b"two%d" % number, timeout_s=60)
    assert sent[other] == 20
    cluster.network.heal()
    await cluster.until(lambda: all(len(cluster.journal(member)) == 40 for member in cluster.hosts))
    await cluster.stop()


async def test_a_stalled_loop_makes_up_for_a_few_ticks_only() -> None:
    cluster = Cluster(seed=7)
    await cluster.start()
    host = cluster.hosts[1].raft
    host.options = HostOptions(tick_s=0.1)
    host._tick_next_s = asyncio.get_running_loop().time() - 60
    host._on_tick_timer()
    assert host._ticks == host.options.ticks_per_turn_max
    await cluster.stop()
