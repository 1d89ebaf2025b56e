"""Members of the real kv service lose their disks under traffic, and come back under the same names.

Method: clients put keys that nobody else puts, through any member. Again and again as many members as a majority can do
without lose their disks, the leader among them when the seed says so; in between others are killed, and links cut.
No more are hit before all are settled again. In the end every member must hold every key that was acknowledged, and
all the same. Without the safeguard, the same runs lose keys or never come back.
"""

import asyncio
import functools
import json
import logging
import unittest.mock
from collections.abc import Awaitable, Callable, Sequence

import grpc
import grpc.aio
import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import HashKVRequest, PutRequest, RangeRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, MaintenanceStub
from cluster.raft.core import Safeguards
from cluster.raft.driver import HostOptions
from cluster.rpc.engine import create_channel
from cluster.telemetry.config import AdminSection
from runtime import Runtime
from runtime.process import StopSignal
from runtime.sim import Limits, SimHost, SimulationFailed, SwarmOptions, World, run
from services.kv import main as kv_main
from services.kv.config import KvConfig, KvSection
from services.kv.main import serve_on

CALL_TIMEOUT_S = 3.0
SETTLED_S_MAX = 90.0
CLIENTS = 2
ROUNDS = 2
SNAPSHOT_LOG_BYTES = 8_000
"""Small, so that some members come back by a snapshot and others by the log alone."""


class Answer(asyncio.Protocol):
    """What an admin port answers to one question."""

    def __init__(self) -> None:
        self.data = b""
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(self.data)


class Cluster:
    """So many members, and clients that write."""

    def __init__(self, world: World, size: int) -> None:
        self.world = world
        self.names = [f"kv-{number}" for number in range(1, size + 1)]
        self.members = [world.host(name) for name in self.names]
        self.clients = [world.host(f"client-{number}") for number in range(CLIENTS)]
        self.asker = world.host("asker")
        self.acknowledged: list[bytes] = []
        self.stopping = False

    def boot(self, members: Sequence[SimHost]) -> None:
        for member in members:
            if member.process is None:
                member.boot(functools.partial(self._serve, member.name))

    async def _serve(self, name: str, runtime: Runtime) -> None:
        section = KvSection(
            listen="0.0.0.0:2379",
            advertise=f"{name}:2379",
            members=tuple(f"{member}={member}:2380" for member in self.names),
            snapshot_log_bytes=SNAPSHOT_LOG_BYTES,
            snapshot_trailing_entries=10,
        )
        config = KvConfig(node=name, data_dir="simulated", admin=AdminSection(listen="0.0.0.0:2381"), kv=section)
        await serve_on(runtime, config, StopSignal())

    async def write(self, runtime: Runtime) -> None:
        channels = [create_channel(f"{name}:2379", net=runtime.net, random=runtime.random) for name in self.names]
        number = 0
        while not self.stopping:
            number += 1
            key = b"%x-%d" % (runtime.random.integer(0, 1 << 40), number)
            try:
                stub = KVStub(channels[runtime.random.integer(0, len(channels))])
                await stub.Put(PutRequest(key=key, value=b"x" * 50), timeout=CALL_TIMEOUT_S)
                self.acknowledged.append(key)
            except grpc.aio.AioRpcError:
                pass
            await asyncio.sleep(runtime.random.random() * 0.05)
        for channel in channels:
            await channel.close()

    async def ask(self, question: Callable[[Runtime], Awaitable[bool]], within_s: float = SETTLED_S_MAX) -> None:
        """Asks from a host of its own until the answer is yes."""

        async def main(runtime: Runtime) -> None:
            while not await question(runtime):
                await asyncio.sleep(0.2)

        async with asyncio.timeout(within_s):
            await self.asker.boot(main)

    async def all_settled(self, runtime: Runtime) -> bool:
        for name in self.names:
            try:
                transport, protocol = await runtime.net.connect(Answer, name, 2381)
                assert isinstance(protocol, Answer)
                transport.write(b"GET /info HTTP/1.1\r\nhost: kv\r\nconnection: close\r\n\r\n")
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    answer = await protocol.done
            except (OSError, TimeoutError):
                return False
            if json.loads(answer.partition(b"\r\n\r\n")[2])["role"] not in ("leader", "follower"):
                return False
        return True

    async def all_equal(self, runtime: Runtime) -> bool:
        hashes = set()
        for name in self.names:
            channel = create_channel(f"{name}:2379", net=runtime.net, random=runtime.random)
            try:
                found = await KVStub(channel).Range(RangeRequest(key=b"\0", range_end=b"\0"), timeout=CALL_TIMEOUT_S)
                lost = set(self.acknowledged) - {kv.key for kv in found.kvs}
                assert not lost, f"{name} does not hold {len(lost)} of {len(self.acknowledged)} acknowledged keys"
                hashes.add((await MaintenanceStub(channel).HashKV(HashKVRequest(), timeout=CALL_TIMEOUT_S)).hash)
            except grpc.aio.AioRpcError:
                return False
            finally:
                await channel.close()
        return len(hashes) == 1


async def scenario(world: World, size: int) -> None:
    logging.getLogger("services").setLevel(logging.CRITICAL)
    cluster, random, net = Cluster(world, size), world.random, world.net
    cluster.boot(cluster.members)
    clients = [client.boot(cluster.write) for client in cluster.clients]
    await cluster.ask(cluster.all_settled)
    for _ in range(ROUNDS):
        await asyncio.sleep(random.uniform(0.5, 4))
        wiped = random.sample(cluster.members, (size - 1) // 2)
        for member in wiped:
            if random.random() < 0.5:
                member.kill()
            else:
                member.crash()
            member.wipe()
        await asyncio.sleep(random.uniform(0, 3))
        cluster.boot(wiped)
        # While they rebuild, another one may die, and one may not be heard; neither loses its disk.
        await asyncio.sleep(random.uniform(0, 1))
        other = random.choice([member for member in cluster.members if member not in wiped])
        match random.randrange(3):
            case 0:
                other.kill()
            case 1:
                net.cut(other.name, random.choice(wiped).name, both=random.random() < 0.5)
        await asyncio.sleep(random.uniform(0, 3))
        net.heal()
        cluster.boot(cluster.members)
        await cluster.ask(cluster.all_settled)
    cluster.stopping = True
    await asyncio.gather(*clients)
    assert len(cluster.acknowledged) > 20
    await cluster.ask(cluster.all_equal)


LIMITS = Limits(virtual_s_max=600.0)


@pytest.mark.parametrize(("size", "seed"), [(3, 1), (3, 2), (3, 3), (3, 4), (5, 1), (5, 2), (5, 3)])
def test_a_minority_loses_its_disks_and_nothing_is_lost(size: int, seed: int) -> None:
    run(seed, functools.partial(scenario, size=size), options=SwarmOptions(), limits=LIMITS)


def test_a_member_that_votes_before_it_has_recovered_is_found_out() -> None:
    options = functools.partial(HostOptions, safeguards=Safeguards(recover_before_voting=False))
    with unittest.mock.patch.object(kv_main, "HostOptions", options):
        for seed in range(1, 20):
            try:
                run(seed, functools.partial(scenario, size=3), options=SwarmOptions(), limits=LIMITS)
            except SimulationFailed:
                return
    pytest.fail("no seed shows that a member that lost its disk must recover first")
