"""The gRPC transport between real loopback servers, with real hosts behind it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import grpc
import grpc.aio
import pytest

from cluster.pb.orrery.raft.v1 import raft_pb2 as pb
from cluster.pb.orrery.raft.v1 import raft_pb2_grpc as pb_grpc
from cluster.raft.core.types import Message, MessageKind
from cluster.raft.driver import GroupMessage, HostOptions, SnapshotChunk, SnapshotReceipt
from cluster.raft.driver import grpc_transport as module
from cluster.raft.driver.grpc_transport import CHANNEL_OPTIONS, GrpcTransport
from cluster.replica import Replica, ReplicaHost
from runtime import Runtime
from runtime.real import StreamNet, SystemClock
from runtime.sim import SeededRandomness, SimDisk

OPTIONS = HostOptions(tick_s=0.02, snapshot_log_bytes=3_000, snapshot_size_factor=0.1, trailing_entries=5)
CLUSTER = 7


class Journal:
    """Keeps every command in order."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
        self.commands += [command for _, command in commands]
        return [0] * len(commands)

    def snapshot(self) -> Iterator[bytes]:
        yield b"\n".join(self.commands)

    async def restore(self, chunks: AsyncIterator[bytes]) -> None:
        self.commands = (b"".join([chunk async for chunk in chunks])).split(b"\n")


class Member:
    """One host with a server of its own, which may come and go."""

    def __init__(self, member: int, addresses: dict[int, str]) -> None:
        self.member = member
        self.addresses = addresses
        self.disk = SimDisk(random.Random(member))
        self.journal = Journal()
        self.replica: Replica[int]

    async def start(self) -> None:
        runtime = Runtime(SystemClock(), SeededRandomness(random.Random(self.member)), self.disk, StreamNet())
        self.server = grpc.aio.server()
        self.transport = GrpcTransport(
            member_id=self.member,
            cluster_id=CLUSTER,
            addresses=self.addresses,
            channel_factory=lambda address: grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS),
            server=self.server,
            random=runtime.random,
        )
        self.host = await ReplicaHost.open(
            runtime, "raft", member_id=self.member, voters=[1, 2, 3], transport=self.transport, options=OPTIONS
        )
        self.journal = Journal()
        self.replica = await self.host.replica(1, self.journal)
        port = self.server.add_insecure_port(self.addresses.get(self.member, "127.0.0.1:0"))
        self.addresses[self.member] = f"127.0.0.1:{port}"
        await self.server.start()
        self.run = asyncio.create_task(self.host.run())

    async def stop(self) -> None:
        await self.host.stop()
        await self.run
        await self.server.stop(None)
        self.disk.crash()


async def until(condition: Callable[[], bool], *, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # real sockets: there is no event to wait for
            await asyncio.sleep(0.01)


@pytest.fixture
async def members() -> AsyncIterator[dict[int, Member]]:
    addresses: dict[int, str] = {}
    members = {number: Member(number, addresses) for number in (1, 2, 3)}
    for member in members.values():
        await member.start()
    yield members
    for member in members.values():
        if not member.run.done():
            await member.stop()


async def test_replicates_and_reconnects_and_sends_snapshots(members: dict[int, Member]) -> None:
    first = members[1]
    await first.replica.propose(b"one", timeout_s=20)
    await first.replica.read_barrier(timeout_s=20)
    await until(lambda: all(member.journal.commands == [b"one"] for member in members.values()))
    await members[3].stop()
    for number in range(200):
        await first.replica.propose(b"%04d" % number, timeout_s=20)
    await members[3].start()
    await until(lambda: members[3].journal.commands == first.journal.commands)
    assert members[3].host.raft.counters.snapshots_installed >= 1
    assert len(first.journal.commands) == 201
    leader = members[first.replica.leadership.leader]
    await until(lambda: any(counters.round_trip_s_last > 0 for counters in leader.transport.counters.values()))
    assert sum(counters.snapshots_sent for counters in leader.transport.counters.values()) >= 1


async def test_refuses_another_cluster_and_nonsense(members: dict[int, Member]) -> None:
    async with grpc.aio.insecure_channel(members[1].addresses[1]) as channel:
        stub = pb_grpc.RaftStub(channel)
        for batch, code in (
            (pb.MessageBatch(cluster=8), grpc.StatusCode.FAILED_PRECONDITION),
            (pb.MessageBatch(cluster=CLUSTER, messages=[pb.Message(kind=99)]), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Exchange(iter([batch]))
            assert caught.value.code() is code
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.InstallSnapshot(iter([pb.SnapshotChunk(cluster=CLUSTER, offset=5)]))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class Losses:
    """A receiver that only counts what was lost."""

    def __init__(self) -> None:
        self.members: list[int] = []

    def receive(self, messages: Sequence[GroupMessage]) -> None:
        raise AssertionError

    async def receive_snapshot(self, chunks: AsyncIterator[SnapshotChunk]) -> SnapshotReceipt:
        raise AssertionError

    def unreachable(self, member: int) -> None:
        self.members.append(member)


async def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_MESSAGES_MAX", 5)
    transport = GrpcTransport(
        member_id=1,
        cluster_id=CLUSTER,
        addresses={2: "127.0.0.1:1"},
        channel_factory=grpc.aio.insecure_channel,
        server=grpc.aio.server(),
        random=SeededRandomness(random.Random(1)),
    )
    losses = Losses()
    transport.attach(losses)
    run = asyncio.create_task(transport.run())
    await asyncio.sleep(0)
    heartbeat = GroupMessage(1, Message(MessageKind.HEARTBEAT, 1, 2))
    transport.send(2, [heartbeat] * 8)
    assert transport.counters[2].dropped_queue_full == 3
    assert losses.members == [2, 2, 2]
    # Nobody listens there: the stream fails, and the peer is reported again.
    await until(lambda: transport.counters[2].connect_failures > 1)
    assert len(losses.members) > 4
    run.cancel()
    await asyncio.wait([run])
