"""Replicas whose state machine keeps its own state on the disk, with the log as its only write-ahead log.

Goal: nothing acknowledged is lost, nothing is applied twice, and the log is cut off only behind what the state holds,
wherever the power goes. Method: as in the tests of the driver's host, one run counts the disk operations, and then one
run for each of them loses the power in its midst.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence

from cluster.raft.driver import HostOptions
from cluster.replica import ReplicaError
from cluster.replica.in_process import InProcessCluster
from cluster.replica.interface import DurableState, StateMachine
from runtime import Disk, Runtime
from runtime.real import StreamNet, SystemClock
from runtime.sim import SeededRandomness, SimDisk

SMALL = HostOptions(
    snapshot_log_bytes=600, snapshot_size_factor=0.01, trailing_entries=3, wal_segment_bytes=1_500, pin_bytes_max=3_000
)
FILE = "journal"
RECORDS_PER_PAUSE = 3


class StoredJournal:
    """Keeps every command in order, refuses to see one twice, and forgets at a crash what was not persisted.

    State machine and DurableState in one: the simplest that keeps the promises.
    """

    def __init__(self, disk: Disk, index: int, note: bytes, commands: list[bytes]) -> None:
        self.index = index
        self.note = note
        self.commands = commands
        self._disk = disk
        self._recorded = (index, note, list(commands))
        self._records = 0
        self._busy = asyncio.Lock()
        self.highest = index

    @staticmethod
    async def open(runtime: Runtime) -> "tuple[StateMachine[int], DurableState]":
        disk = runtime.disk
        if await disk.exists(FILE):
            kept = json.loads(await disk.read(FILE))
            commands = [command.encode() for command in kept["commands"]]
            journal = StoredJournal(disk, kept["index"], bytes.fromhex(kept["note"]), commands)
        else:
            journal = StoredJournal(disk, 0, b"", [])
        return journal, journal

    def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
        for index, command in commands:
            assert index > self.highest, f"entry {index} is applied again"
            assert command not in self.commands, f"{command!r} is applied twice"
            self.highest = index
            self.commands.append(command)
        return [0] * len(commands)

    def snapshot(self) -> Iterator[bytes]:
        commands = list(self.commands)
        for start in range(0, len(commands), 4):
            yield b"".join(command + b"\n" for command in commands[start : start + 4])

    async def restore(self, chunks: AsyncIterator[bytes]) -> None:
        self.commands = b"".join([chunk async for chunk in chunks]).split(b"\n")[:-1]

    def record(self, index: int, note: bytes) -> None:
        assert index >= self._recorded[0]
        self._recorded = (index, note, list(self.commands))
        self._records += 1

    async def restored(self, index: int, note: bytes) -> None:
        self.highest = index
        self._recorded = (index, note, list(self.commands))
        await self.persist()

    async def persist(self) -> None:
        async with self._busy:
            index, note, commands = self._recorded
            kept = {"index": index, "note": note.hex(), "commands": [command.decode() for command in commands]}
            if await self._disk.exists(FILE + ".new"):
                await self._disk.remove(FILE + ".new")
            file = await self._disk.open(FILE + ".new", create=True)
            await file.pwrite([json.dumps(kept).encode()], 0, sync=True)
            await file.close()
            await self._disk.rename(FILE + ".new", FILE)
            await self._disk.sync_directory(".")

    @property
    def must_pause(self) -> bool:
        return self._records >= RECORDS_PER_PAUSE

    async def pause(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self._records = 0


def never() -> StateMachine[int]:
    raise AssertionError("all state machines are stored ones")


class Cluster(InProcessCluster[int]):
    def __init__(self, *, seed: int, size: int = 1) -> None:
        self.disks = {member: SimDisk(random.Random(seed * 100 + member)) for member in range(1, size + 1)}
        runtimes = {
            member: Runtime(SystemClock(), SeededRandomness(random.Random(seed * 1000 + member)), disk, StreamNet())
            for member, disk in self.disks.items()
        }
        super().__init__(never, runtimes, options=SMALL, open_stored=StoredJournal.open)

    def journal(self, member: int) -> StoredJournal:
        machine = self.machines[member, 1]
        assert isinstance(machine, StoredJournal)
        return machine

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
    host = cluster.hosts[1].raft
    assert host._snapshotting.taken >= 3
    assert host.wal.statistics.segments_removed >= 1
    assert await cluster.disks[1].list("raft/snapshots/1") == []
    await cluster.stop()
    for lost_at in range(1, operations + 1, 2):
        cluster = Cluster(seed=lost_at)
        cluster.disks[1].power_lost_at = lost_at
        acknowledged = await write_until_it_fails(cluster, b"a", 60)
        await cluster.lose_power(1)
        cluster.disks[1].power_lost_at = None
        more = await write_until_it_fails(cluster, b"b", 3)
        assert len(more) == 3, f"power lost at {lost_at}: the second life does not serve"
        commands = cluster.journal(1).commands
        first_life = [command for command in commands if command.startswith(b"a")]
        assert first_life[: len(acknowledged)] == acknowledged, f"power lost at {lost_at}"
        assert len(first_life) <= len(acknowledged) + 1
        assert commands == first_life + more
        await cluster.stop()


async def away_while_others_write(seed: int) -> Cluster:
    cluster = Cluster(seed=seed, size=3)
    await cluster.start()
    leader = await cluster.leader()
    away = next(member for member in (1, 2, 3) if member != leader)
    await cluster.drive(cluster.replica(leader).propose(b"000", timeout_s=600))
    await cluster.until(lambda: cluster.journal(away).commands == [b"000"])
    await cluster.lose_power(away)
    for number in range(1, 40):
        await cluster.drive(cluster.replica(leader).propose(b"%03d" % number, timeout_s=600))
    await cluster.until(lambda: not cluster.replica(leader).group.taking_snapshot)
    return cluster


async def catch_up(cluster: Cluster) -> int:
    (away,) = {1, 2, 3} - set(cluster.hosts)
    disk = cluster.disks[away]
    begun = disk.operations
    try:
        await cluster.boot(away)
        await cluster.until(
            lambda: len(cluster.journal(away).commands) == 40 or cluster.runs[away].done() or disk.power_lost
        )
    except OSError:
        pass
    return disk.operations - begun


async def test_a_snapshot_is_written_for_whom_it_is_sent_to_and_survives_any_loss_of_power_there() -> None:
    expected = [b"%03d" % number for number in range(40)]
    cluster = await away_while_others_write(1)
    (away,) = {1, 2, 3} - set(cluster.hosts)
    leader = await cluster.leader()
    operations = await catch_up(cluster)
    assert cluster.hosts[away].raft.counters.snapshots_installed == 1
    assert cluster.journal(away).commands == expected
    # What was written to be sent is gone again.
    await cluster.tick(5)
    assert await cluster.disks[leader].list("raft/snapshots/1") == []
    await cluster.stop()
    for lost_at in range(1, operations + 1, 2):
        cluster = await away_while_others_write(1)
        (away,) = {1, 2, 3} - set(cluster.hosts)
        disk = cluster.disks[away]
        disk.power_lost_at = disk.operations + lost_at
        await catch_up(cluster)
        await cluster.lose_power(away)
        disk.power_lost_at = None
        await catch_up(cluster)
        assert cluster.journal(away).commands == expected, f"power lost at {lost_at}"
        assert not any(run.done() for run in cluster.runs.values())
        await cluster.stop()


async def test_applying_goes_on_after_each_pause_and_reads_wait_for_it() -> None:
    cluster = Cluster(seed=7)
    await cluster.start()
    await cluster.leader()
    tasks = [asyncio.create_task(cluster.replica(1).propose(b"%03d" % number, timeout_s=600)) for number in range(50)]
    await cluster.until(lambda: all(task.done() for task in tasks))
    await cluster.drive(cluster.replica(1).read_barrier(timeout_s=600))
    assert sorted(cluster.journal(1).commands) == [b"%03d" % number for number in range(50)]
    await cluster.stop()
