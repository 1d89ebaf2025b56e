"""Replicas of a three-member cluster: no acknowledged command is lost, none is applied twice, reads are fresh.

Method: the real hosts over simulated disks and an in-memory network; ticks are driven, so no test waits for a clock.
The state machine is a journal of all commands, so that loss, repetition and reordering all show.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest

from cluster.raft.core.types import MessageKind
from cluster.raft.driver import GroupMessage, HostOptions, ReplicaCorrupted
from cluster.replica import Leadership, NoLeader, Overloaded, ProposalTimeout, ReadTimeout, ReplicaStopped, Replicated
from cluster.replica import replica as replica_module
from cluster.replica.in_process import InProcessCluster
from runtime import Runtime, SyncFailed
from runtime.real import StreamNet, SystemClock
from runtime.sim import SeededRandomness, SimDisk


class Journal:
    """Keeps every command in order; the result is the command's place."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
        results = []
        for _, command in commands:
            self.commands.append(command)
            results.append(len(self.commands))
        return results

    def snapshot(self) -> Iterator[bytes]:
        commands = list(self.commands)
        for start in range(0, len(commands), 10):
            yield b"".join(len(command).to_bytes(4, "big") + command for command in commands[start : start + 10])

    async def restore(self, chunks: AsyncIterator[bytes]) -> None:
        commands = []
        async for chunk in chunks:
            at = 0
            while at < len(chunk):
                length = int.from_bytes(chunk[at : at + 4], "big")
                commands.append(chunk[at + 4 : at + 4 + length])
                at += 4 + length
        self.commands = commands


class ClockBehind(SystemClock):
    """A machine that came back without a battery."""

    def wall_s(self) -> float:
        return 1_000.0


class Cluster(InProcessCluster[int]):
    """Three journals on simulated disks."""

    def __init__(
        self,
        *,
        seed: int = 1,
        options: HostOptions | None = None,
        groups: Sequence[int] = (1,),
        size: int = 3,
        factory: Callable[[], Journal] = Journal,
    ) -> None:
        self.disks = {member: SimDisk(random.Random(seed * 100 + member)) for member in range(1, size + 1)}
        runtimes = {
            member: Runtime(SystemClock(), SeededRandomness(random.Random(seed * 1000 + member)), disk, StreamNet())
            for member, disk in self.disks.items()
        }
        super().__init__(factory, runtimes, options=options, groups=groups)

    def journal(self, member: int, group: int = 1) -> list[bytes]:
        machine = self.machines[member, group]
        assert isinstance(machine, Journal)
        return machine.commands

    async def propose(self, member: int, command: bytes, *, group: int = 1) -> int:
        return await self.drive(self.replica(member, group).propose(command, timeout_s=60))

    async def power_cut(self, *members: int) -> None:
        for member in members:
            await self.crash(member)
            self.disks[member].crash()

    async def converge(self, group: int = 1) -> list[bytes]:
        """Ticks until all that are up have applied the same; returns it."""

        def same() -> bool:
            statuses = [self.replica(member, group).status for member in self.hosts]
            return len({status.applied_index for status in statuses}) == 1 and all(
                status.applied_index == status.last_index for status in statuses
            )

        await self.leader(group)
        await self.until(same)
        journals = [self.journal(member, group) for member in self.hosts]
        assert all(journal == journals[0] for journal in journals)
        return journals[0]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    await cluster.start()
    yield cluster
    await cluster.stop()


@pytest.mark.parametrize("snapshots", [False, True], ids=["by the log", "by a snapshot"])
async def test_a_member_writes_after_the_loss_of_its_disk_with_its_clock_behind(*, snapshots: bool) -> None:
    options = HostOptions(snapshot_log_bytes=600, snapshot_size_factor=0.01, trailing_entries=3) if snapshots else None
    cluster = Cluster(options=options)
    await cluster.start()
    leader = await cluster.leader()
    lost = next(member for member in (1, 2, 3) if member != leader)
    for number in range(40):
        await cluster.propose(lost, b"before %d" % number)
    await cluster.power_cut(lost)
    empty = SimDisk(random.Random(9))
    cluster._runtimes[lost] = Runtime(ClockBehind(), SeededRandomness(random.Random(9)), empty, StreamNet())  # type: ignore[index]
    await cluster.boot(lost)
    # What was under way when a snapshot arrives has an open outcome; so first the snapshot.
    await cluster.drive(cluster.replica(lost).read_barrier(timeout_s=60))
    for number in range(3):
        await cluster.propose(lost, b"after %d" % number)
    journal = await cluster.converge()
    assert journal == [b"before %d" % number for number in range(40)] + [b"after %d" % number for number in range(3)]
    await cluster.stop()


async def test_elects_and_applies_from_every_member(cluster: Cluster) -> None:
    await cluster.leader()
    as_interface: Replicated[int] = cluster.replica(1)
    assert as_interface.member_id == 1
    for member in (1, 2, 3):
        await cluster.propose(member, b"from %d" % member)
    assert await cluster.converge() == [b"from 1", b"from 2", b"from 3"]


async def test_many_at_once_share_appends(cluster: Cluster) -> None:
    leader = await cluster.leader()
    appends = cluster.hosts[leader].raft.log.appends
    replica = cluster.replica(leader)

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(replica.propose(b"%d" % number, timeout_s=60) for number in range(500)))

    results = await cluster.drive(all_of_them())
    assert sorted(results) == list(range(1, 501))
    assert await cluster.converge() == [b"%d" % number for number in range(500)]
    assert cluster.hosts[leader].raft.log.appends - appends < 50


async def test_any_member_may_die_and_come_back(cluster: Cluster) -> None:
    for victim in (1, 2, 3):
        leader = await cluster.leader()
        await cluster.propose(leader, b"before %d" % victim)
        await cluster.power_cut(victim)
        leader = await cluster.leader()
        await cluster.propose(leader, b"without %d" % victim)
        await cluster.boot(victim)
        await cluster.converge()
    expected = [word + b" %d" % victim for victim in (1, 2, 3) for word in (b"before", b"without")]
    assert await cluster.converge() == expected


async def test_all_die_at_once_and_nothing_acknowledged_is_lost(cluster: Cluster) -> None:
    for life in range(3):
        leader = await cluster.leader()
        for number in range(5):
            await cluster.propose(leader, b"%d.%d" % (life, number))
        await cluster.power_cut(1, 2, 3)
        for member in (1, 2, 3):
            await cluster.boot(member)
        assert await cluster.converge() == [b"%d.%d" % (past, n) for past in range(life + 1) for n in range(5)]


async def test_a_leader_change_neither_loses_nor_repeats_a_command(cluster: Cluster) -> None:
    """The follower's forwarded commands are swallowed with the old leader, or proposed twice; each is applied once."""
    leader = await cluster.leader()
    follower = next(member for member in (1, 2, 3) if member != leader)
    third = ({1, 2, 3} - {leader, follower}).pop()
    await cluster.propose(leader, b"first")
    # The leader takes and commits the command, but its follower never hears of it.
    cluster.network.cut(leader, follower)
    work = asyncio.create_task(cluster.replica(follower).propose(b"moved", timeout_s=60))
    await cluster.tick(3)
    assert not work.done()
    assert b"moved" in cluster.journal(third)
    await cluster.power_cut(leader)
    cluster.network.heal()
    await cluster.until(work.done)
    await work
    await cluster.boot(leader)
    assert await cluster.converge() == [b"first", b"moved"]
    assert cluster.replica(follower).reproposals > 0


async def test_repeated_and_lost_messages_do_no_harm() -> None:
    cluster = Cluster(seed=5)
    await cluster.start()
    chance = random.Random(7)
    cluster.network.lose = lambda source, target, message: chance.random() < 0.2
    cluster.network.repeat = lambda source, target, message: chance.random() < 0.2
    work = [
        asyncio.create_task(cluster.replica(1 + number % 3).propose(b"%d" % number, timeout_s=60))
        for number in range(60)
    ]
    await cluster.until(lambda: all(task.done() for task in work))
    for task in work:
        await task
    cluster.network.lose = None
    journal = await cluster.converge()
    assert sorted(journal) == sorted(b"%d" % number for number in range(60))
    assert sum(cluster.replica(member).duplicates for member in (1, 2, 3)) > 0
    await cluster.stop()


async def test_read_barrier_is_not_fooled_by_an_old_leader(cluster: Cluster) -> None:
    old = await cluster.leader()
    await cluster.propose(old, b"old")
    others = {1, 2, 3} - {old}
    cluster.network.partition({old}, others)
    barrier = asyncio.create_task(cluster.replica(old).read_barrier(timeout_s=60))
    new_leader = 0

    def moved() -> bool:
        nonlocal new_leader
        new_leader = next((member for member in others if cluster.replica(member).leadership.is_self), 0)
        return new_leader != 0

    await cluster.until(moved)
    await cluster.propose(new_leader, b"new")
    await cluster.tick(10)
    assert not barrier.done()
    cluster.network.heal()
    await cluster.until(barrier.done)
    await barrier
    assert cluster.journal(old) == [b"old", b"new"]


async def test_read_barriers_share_rounds_and_work_on_followers(cluster: Cluster) -> None:
    leader = await cluster.leader()
    for member in (1, 2, 3):
        await cluster.propose(leader, b"for %d" % member)
        replica = cluster.replica(member)

        async def many() -> None:
            await asyncio.gather(*(replica.read_barrier(timeout_s=60) for _ in range(200)))  # noqa: B023

        rounds = replica._reads.rounds
        await cluster.drive(many())
        assert cluster.journal(member)[-1] == b"for %d" % member
        assert replica._reads.rounds - rounds <= 2


async def test_errors_say_whether_it_may_have_happened(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = await cluster.leader()
    replica = cluster.replica(leader)
    cluster.network.partition({leader}, {1, 2, 3} - {leader})
    with pytest.raises(ProposalTimeout):
        await replica.propose(b"lost?", timeout_s=0.01)
    with pytest.raises(ReadTimeout):
        await replica.read_barrier(timeout_s=0.01)
    await cluster.until(lambda: replica.leadership.leader == 0)
    with pytest.raises(NoLeader):
        await replica.propose(b"never", timeout_s=0.01)
    monkeypatch.setattr(replica_module, "PENDING_BYTES_MAX", 10)
    with pytest.raises(Overloaded):
        await replica.propose(b"far too long", timeout_s=1)
    waiting = asyncio.create_task(replica.propose(b"short", timeout_s=60))
    await asyncio.sleep(0)
    await cluster.hosts[leader].stop(hand_over_s=0)
    with pytest.raises(ReplicaStopped):
        await waiting


async def test_leadership_is_told_in_order(cluster: Cluster) -> None:
    seen: list[Leadership] = []
    cluster.replica(1).on_leadership(seen.append)
    leader = await cluster.leader()
    await cluster.tick(5)
    assert seen[-1].leader == leader
    assert seen[-1].is_self == (leader == 1)
    assert [item.term for item in seen] == sorted(item.term for item in seen)
    target = next(member for member in (1, 2, 3) if member != leader)
    cluster.replica(leader).transfer_leadership(target)
    await cluster.until(lambda: seen[-1].leader == target)


async def test_a_planned_stop_hands_leadership_over(cluster: Cluster) -> None:
    leader = await cluster.leader()
    await cluster.tick(2)
    host = cluster.hosts.pop(leader)
    # No tick passes: without the hand-over nobody could be elected.
    await host.stop(hand_over_s=10)
    for _ in range(100):
        await asyncio.sleep(0)
    assert any(cluster.replica(member).leadership.is_self for member in cluster.hosts)


async def test_more_than_a_message_can_hold_is_forwarded_in_parts(cluster: Cluster) -> None:
    leader = await cluster.leader()
    follower = next(member for member in (1, 2, 3) if member != leader)
    sizes: list[int] = []

    def measure(source: int, target: int, message: GroupMessage) -> bool:
        if message.message.kind is MessageKind.PROPOSE:
            sizes.append(sum(len(entry.data) for entry in message.message.entries))
        return False

    cluster.network.lose = measure
    replica = cluster.replica(follower)

    async def all_of_them() -> None:
        await asyncio.gather(*(replica.propose(bytes(1_000_000), timeout_s=60) for _ in range(20)))

    await cluster.drive(all_of_them())
    assert len(await cluster.converge()) == 20
    assert max(sizes) < replica_module.PROPOSE_BYTES_MAX + 10_000


SMALL = HostOptions(snapshot_log_bytes=2_000, snapshot_size_factor=0.1, trailing_entries=5)


async def fill(cluster: Cluster, first: int, count: int) -> None:
    leader = await cluster.leader()
    for number in range(first, first + count):
        await cluster.propose(leader, b"%05d" % number)


async def test_a_member_that_was_away_catches_up_by_snapshot_and_survives() -> None:
    cluster = Cluster(options=SMALL)
    await cluster.start()
    await fill(cluster, 0, 20)
    leader = await cluster.leader()
    away = next(member for member in (1, 2, 3) if member != leader)
    await cluster.power_cut(away)
    await fill(cluster, 20, 200)
    log = cluster.replica(leader).group.log
    assert log.first_index() > 50
    await cluster.boot(away)
    expected = [b"%05d" % number for number in range(220)]
    assert await cluster.converge() == expected
    assert cluster.hosts[away].raft.counters.snapshots_installed == 1
    await cluster.power_cut(1, 2, 3)
    for member in (1, 2, 3):
        await cluster.boot(member)
    assert await cluster.converge() == expected
    for disk in cluster.disks.values():
        names = await disk.list("raft/snapshots/1")
        assert len(names) == 1
        assert names[0].endswith(".snap")
    await cluster.stop()


async def test_a_snapshot_brings_along_what_was_applied_already() -> None:
    """A late repetition of an old command must be known as one to a member that has it only from a snapshot."""
    cluster = Cluster(options=SMALL)
    await cluster.start()
    leader = await cluster.leader()
    away = next(member for member in (1, 2, 3) if member != leader)
    await cluster.power_cut(away)
    await fill(cluster, 0, 100)
    await cluster.boot(away)
    journal = list(await cluster.converge())
    group = cluster.replica(leader).group
    old = group.log.entries(group.log.last_index(), group.log.last_index() + 1, 1000)
    assert cluster.hosts[away].raft.counters.snapshots_installed == 1
    group.core.propose([old[0].data])
    cluster.hosts[leader].raft.schedule(group)
    await cluster.tick(3)
    assert await cluster.converge() == journal
    assert cluster.replica(away).duplicates == 1
    await cluster.power_cut(1, 2, 3)
    for member in (1, 2, 3):
        await cluster.boot(member)
    group = cluster.replica(await cluster.leader()).group
    group.core.propose([old[0].data])
    assert await cluster.converge() == journal
    await cluster.stop()


async def test_a_broken_snapshot_stream_goes_on_where_it_broke() -> None:
    cluster = Cluster(options=SMALL)
    await cluster.start()
    leader = await cluster.leader()
    away = next(member for member in (1, 2, 3) if member != leader)
    await cluster.power_cut(away)
    big = bytes(200_000)
    for _ in range(12):
        await cluster.propose(leader, big)
    cluster.network.break_snapshots_after_bytes = 600_000
    await cluster.until(lambda: not cluster.replica(leader).group.taking_snapshot)
    await cluster.boot(away)
    assert len(await cluster.converge()) == 12
    file_bytes = cluster.replica(leader).group.snapshot_bytes
    assert file_bytes > 2_000_000
    assert cluster.network.snapshot_bytes < 1.3 * file_bytes
    await cluster.stop()


async def test_groups_share_a_host_and_its_log() -> None:
    cluster = Cluster(groups=(1, 2, 9), options=SMALL)
    await cluster.start()
    for group in (1, 2, 9):
        leader = await cluster.leader(group)
        for number in range(30):
            await cluster.propose(leader, b"%d in %d" % (number, group), group=group)
    await cluster.power_cut(1, 2, 3)
    for member in (1, 2, 3):
        await cluster.boot(member)
    for group in (1, 2, 9):
        assert await cluster.converge(group) == [b"%d in %d" % (number, group) for number in range(30)]
    await cluster.stop()


async def test_a_failed_sync_stops_the_host(cluster: Cluster) -> None:
    leader = await cluster.leader()
    cluster.disks[leader].fail_syncs = 1
    work = asyncio.create_task(cluster.replica(leader).propose(b"x", timeout_s=60))
    await cluster.until(cluster.runs[leader].done)
    with pytest.raises(SyncFailed):
        await cluster.runs[leader]
    with pytest.raises(ReplicaStopped):
        await work


async def test_a_state_machine_that_raises_ends_the_host_loudly() -> None:
    class Broken(Journal):
        def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
            raise ZeroDivisionError("a bug")

    cluster = Cluster(factory=Broken, size=1)
    await cluster.start()
    await cluster.leader()
    work = asyncio.create_task(cluster.replica(1).propose(b"x", timeout_s=60))
    await cluster.until(cluster.runs[1].done)
    with pytest.raises(ZeroDivisionError):
        await cluster.runs[1]
    with pytest.raises(ReplicaStopped):
        await work


async def test_damage_in_a_snapshot_is_named() -> None:
    cluster = Cluster(options=SMALL, size=1)
    await cluster.start()
    await fill(cluster, 0, 100)
    await cluster.until(lambda: not cluster.replica(1).group.taking_snapshot)
    await cluster.stop()
    (name,) = await cluster.disks[1].list("raft/snapshots/1")
    path = f"raft/snapshots/1/{name}"
    cluster.disks[1].crash()
    cluster.disks[1].flip_bit(path, 8 * 300)
    with pytest.raises(ReplicaCorrupted) as caught:
        await cluster.boot(1)
    assert caught.value.file == path


def _swallow_appends(source: int, target: int, message: GroupMessage) -> bool:
    return message.message.kind is MessageKind.APPEND


async def test_a_command_that_nobody_waits_for_any_more_is_not_proposed_again(cluster: Cluster) -> None:
    leader = await cluster.leader()
    cluster.network.lose = _swallow_appends
    work = asyncio.create_task(cluster.replica(leader).propose(b"x", timeout_s=60))
    await cluster.tick()
    work.cancel()
    await asyncio.wait([work])
    assert work.cancelled()
    reproposals = cluster.replica(leader).reproposals
    await cluster.tick(30)
    assert cluster.replica(leader).reproposals == reproposals
