"""A state on a disk that loses its power at any time, against one in memory that does not.

Method: a log of random commands is applied in turns to a state machine over a real engine on a SimDisk, which is
flushed, paced, restored from snapshots and crashed as a seed will have it. What is found after each crash must be the
state of some turn, no older than the last flush, byte for byte the one that a machine in memory has at that index; and
applying the rest of the log must lead to the same end.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RequestOp,
    TxnRequest,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseCheckpoint as CheckpointItem,
)
from cluster.pb.orrery.kv.v1.command_pb2 import LeaseCheckpoint, LessorEpoch, MemberAttributes
from runtime import Clock
from runtime.real import SystemClock
from runtime.sim import SeededRandomness, SimDisk
from services.kv import commands
from services.kv.backend.durable import KvDurability
from services.kv.backend.home import EngineHome
from services.kv.mvcc.hashing import hash_records
from services.kv.state_machine import KvStateMachine
from storage.btree import BTreeEngine
from storage.engine import DurableEngine
from storage.lsm import LsmEngine, LsmOptions

COMMANDS = 120
KEYS = [b"a", b"b", b"c", b"d", b"e"]
DIRECTORY = "state"
Open = Callable[[SimDisk, random.Random], Callable[[str], Awaitable[DurableEngine]]]


def lsm(disk: SimDisk, source: random.Random) -> Callable[[str], Awaitable[DurableEngine]]:
    clock: Clock = SystemClock()
    options = LsmOptions(memtable_bytes_max=1_500, level1_bytes=4_000, table_bytes_max=2_000, block_bytes=512)

    async def open_engine(path: str) -> DurableEngine:
        return await LsmEngine.open(disk, path, clock=clock, random=SeededRandomness(source), options=options)

    return open_engine


def btree(disk: SimDisk, source: random.Random) -> Callable[[str], Awaitable[DurableEngine]]:
    async def open_engine(path: str) -> DurableEngine:
        return await BTreeEngine.open(disk, path, changed_bytes_max=4_000)

    return open_engine


def command(source: random.Random) -> bytes:
    key, lease = source.choice(KEYS), source.randrange(3)
    match source.randrange(16):
        case 0 | 1:
            return commands.encode(commands.DELETE_RANGE, DeleteRangeRequest(key=key, range_end=source.choice(KEYS)))
        case 2 | 3:
            keys = sorted(source.sample(KEYS, 3))
            puts = [RequestOp(request_put=PutRequest(key=each, value=b"t")) for each in keys]
            return commands.encode(commands.TXN, TxnRequest(success=puts))
        case 4:
            return commands.encode(commands.COMPACT, CompactionRequest(revision=source.randrange(1, 2 * COMMANDS)))
        case 5 | 6:
            return commands.encode(commands.LEASE_GRANT, LeaseGrantRequest(ID=source.randrange(1, 3), TTL=5))
        case 7:
            return commands.encode(commands.LEASE_REVOKE, LeaseRevokeRequest(ID=source.randrange(1, 3)))
        case 8:
            checkpoint = CheckpointItem(ID=source.randrange(1, 3), remaining_TTL=source.randrange(5))
            return commands.encode(
                commands.LEASE_CHECKPOINT, LeaseCheckpoint(epoch=source.randrange(2), checkpoints=[checkpoint])
            )
        case 9:
            return commands.encode(commands.LESSOR_EPOCH, LessorEpoch(epoch=source.randrange(1, 4)))
        case 10:
            number = source.randrange(1, 4)
            told = MemberAttributes(id=number, name=f"n{source.randrange(9)}")
            return commands.encode(commands.MEMBER_ATTRIBUTES, told)
        case _:
            value = source.randbytes(source.randrange(120))
            return commands.encode(commands.PUT, PutRequest(key=key, value=value, lease=lease))


def state(machine: KvStateMachine) -> bytes:
    return b"".join(machine.snapshot())


def note(index: int) -> bytes:
    return b"note %d" % index


class Member:
    """One life of a member."""

    def __init__(self, home: EngineHome, durable: KvDurability) -> None:
        self.home = home
        self.durable = durable
        self.machine = KvStateMachine(backend=durable)

    @staticmethod
    async def boot(disk: SimDisk, open_engine: Callable[[str], Awaitable[DurableEngine]]) -> "Member":
        home = await EngineHome.open(disk, DIRECTORY, open_engine)
        return Member(home, await KvDurability.open(home, SystemClock()))


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 700):
        yield data[start : start + 700]


class Story:
    """A log, the states that it leads to, and a member that lives through it."""

    def __init__(self, seed: int, open_engine: Open) -> None:
        self.source = random.Random(seed)
        self.disk = SimDisk(self.source)
        self.open_engine = open_engine(self.disk, self.source)
        self.log = [command(self.source) for _ in range(COMMANDS)]
        reference = KvStateMachine()
        self.states = [state(reference)]
        for index, data in enumerate(self.log, 1):
            reference.apply([(index, data)])
            self.states.append(state(reference))
        self.hashes = list(hash_records(reference.store, 0))
        self.durable_index = 0
        self.crashes = self.restores = 0

    async def play(self) -> None:
        applied = 0
        while applied < COMMANDS:
            member = None
            try:
                member = await Member.boot(self.disk, self.open_engine)
                applied = member.durable.index
                assert applied >= self.durable_index
                assert member.durable.note == (note(applied) if applied else b"")
                assert state(member.machine) == self.states[applied]
                # Sometimes soon, sometimes never.
                self.disk.power_lost_at = self.disk.operations + int(self.source.expovariate(1 / 40)) + 1
                applied = await self._live(member, applied)
                self.disk.power_lost_at = None
                assert state(member.machine) == self.states[COMMANDS]
                assert list(hash_records(member.machine.store, 0)) == self.hashes
                await member.home.close()
            except OSError:
                # Whatever the engine calls it.
                assert self.disk.power_lost
                applied = 0
                self.crashes += 1
                if member is not None:
                    # Its tasks are gone with it; what they would still write fails, and reaches nothing.
                    await _close_dead(member)
                self.disk.crash()

    async def _live(self, member: Member, applied: int) -> int:
        while applied < COMMANDS:
            match self.source.randrange(12):
                case 0 | 1:
                    await member.durable.persist()
                    self.durable_index = applied
                case 2 if applied < COMMANDS - 5:
                    target = min(COMMANDS, applied + self.source.randrange(1, 20))
                    await member.machine.restore(chunks_of(self.states[target]))
                    await member.durable.restored(target, note(target))
                    self.restores += 1
                    applied = self.durable_index = target
                case 3:
                    await member.durable.pause()
                case 4:
                    member.machine.store.reclaim(self.source.randrange(1, 20))
                case _:
                    turn = min(COMMANDS - applied, self.source.randrange(1, 6))
                    entries = [(index, self.log[index - 1]) for index in range(applied + 1, applied + turn + 1)]
                    member.machine.apply(entries)
                    applied += turn
                    member.durable.record(applied, note(applied))
        return applied


async def _close_dead(member: Member) -> None:
    try:
        await member.home.close()
    except OSError:
        pass


@pytest.mark.parametrize("open_engine", [lsm, btree])
async def test_every_crash_leaves_the_state_of_a_turn(open_engine: Open) -> None:
    crashes = restores = 0
    for seed in range(40):
        story = Story(seed, open_engine)
        try:
            await story.play()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        crashes += story.crashes
        restores += story.restores
    # Otherwise the test shows less than it says.
    assert crashes > 20
    assert restores > 20
