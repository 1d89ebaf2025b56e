"""The real kv service, three members of it, in a simulated world: gRPC bytes over SimNet, write-ahead logs on SimDisk.

    orrery sim run --scenario kv --seeds 1..50                              # under every fault that there is
    orrery sim run --scenario kv-deposed --seeds 1..50                      # nothing but partitions around members
    orrery sim run --scenario kv --seeds 1..200 --without confirm_reads     # of a cluster that lacks a safeguard

Nothing is replaced but the doors: the wiring of `services.kv.main`, our RPC engine, the generated stubs, the Raft
driver. Clients are hosts of their own.
"""

import asyncio
import collections
import contextlib
import dataclasses
import functools
import logging
import unittest.mock
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import HashKVRequest, PutRequest, RangeRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, MaintenanceStub
from cluster.raft.core import Safeguards
from cluster.raft.driver import HostOptions
from cluster.rpc.engine import create_channel
from orrery.sim.revisions import Operation, check_revisions
from orrery.sim.setting import Setting
from runtime import Runtime, SyncFailed
from runtime.process import StopSignal
from runtime.sim import Limits, Outcome, SimHost, SwarmOptions, World, run
from services.kv import main as kv_main
from services.kv.config import AdminConfig, KvConfig, KvSection
from services.kv.main import serve_on

if TYPE_CHECKING:
    from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVAsyncStub

MEMBERS = ("kv-1", "kv-2", "kv-3")
CLIENTS = ("client-1", "client-2", "client-3")
KEYS = (b"a", b"b")
CALL_TIMEOUT_S = 3.0
FAULTS_S = 30.0
"""How long things are broken."""
CONVERGED_S_MAX = 120.0
"""How long everything may take to work again once nothing is broken any more."""

ASK_AGAIN_S = 0.2
"""Between two looks whether everything works again."""


class NotConverged(AssertionError):
    """All is healed, and the cluster still does not serve."""


class KvCluster:
    """The members, the clients and what they saw."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.members = [world.host(name) for name in MEMBERS]
        self.clients = [world.host(name) for name in CLIENTS]
        self.history: list[Operation] = []
        self.stopping = False
        self.writes = 0
        self.refusals: collections.Counter[str] = collections.Counter()
        """The status codes of calls without an answer."""

    def boot_members(self) -> None:
        """Starts every member that does not run."""
        for member in self.members:
            if member.process is None:
                self.boot(member)

    def boot(self, member: SimHost) -> None:
        """Starts one member."""

        async def main(runtime: Runtime) -> None:
            try:
                await serve_on(runtime, _config(member.name), StopSignal())
            except* SyncFailed:
                # As it must: nothing is known of what was written since the last good sync, so the process ends.
                member.tell("ended by a failed sync")

        member.boot(main)

    def boot_clients(self) -> list["asyncio.Future[None]"]:
        """Starts the clients; they end when told to stop."""
        return [client.boot(lambda runtime, name=client.name: self._work(runtime, name)) for client in self.clients]  # type: ignore[misc]

    async def _work(self, runtime: Runtime, name: str) -> None:
        channels = [_channel(runtime, member) for member in MEMBERS]
        stubs: list[KVAsyncStub] = [KVStub(channel) for channel in channels]
        # Clients stop with the faults: members are compared when nothing is written any more.
        while not self.stopping:
            await self._operate(runtime, name, stubs[runtime.random.integer(0, len(stubs))])
            await asyncio.sleep(runtime.random.random() * 0.1)
        for channel in channels:
            await channel.close()

    async def _operate(self, runtime: Runtime, name: str, stub: "KVAsyncStub") -> None:
        key = KEYS[runtime.random.integer(0, len(KEYS))]
        is_put = runtime.random.random() < 0.5
        operation = Operation(name, key, self.world.virtual_s, is_put)
        self.history.append(operation)
        try:
            if is_put:
                self.writes += 1
                operation.value = b"%s-%d" % (name.encode(), self.writes)
                put = await stub.Put(PutRequest(key=key, value=operation.value), timeout=CALL_TIMEOUT_S)
                operation.revision = put.header.revision
            else:
                found = await stub.Range(RangeRequest(key=key), timeout=CALL_TIMEOUT_S)
                if found.kvs:
                    operation.value, operation.revision = found.kvs[0].value, found.kvs[0].mod_revision
        except grpc.aio.AioRpcError as error:
            # Whatever was said: no answer, no claim.
            self.refusals[error.code().name] += 1
            return
        operation.end_s = self.world.virtual_s

    async def break_things(self, *, for_s: float) -> None:
        """Faults by the seed, one after another, overlapping; at least one member may always be up, or none."""
        world, random, net = self.world, self.world.random, self.world.net
        until_s = world.virtual_s + for_s
        names = [*MEMBERS, *CLIENTS]
        while world.virtual_s < until_s:
            await asyncio.sleep(random.expovariate(1.0))
            member = random.choice(self.members)
            other = random.choice([name for name in names if name != member.name])
            match random.randrange(14):
                case 0:
                    member.crash()
                case 1:
                    member.kill()
                case 2 | 3:
                    self.boot_members()
                case 4:
                    member.pause()
                case 5:
                    member.resume()
                case 6:
                    # With a client beside it, so that a deposed leader is still asked.
                    beside = random.choice(CLIENTS)
                    net.partition([member.name, beside], [name for name in names if name not in (member.name, beside)])
                case 7:
                    net.cut(member.name, other, both=random.random() < 0.5)
                case 8:
                    net.clog(member.name, other)
                case 9:
                    net.reset(member.name, other)
                case 10:
                    net.half_open(member.name, other)
                case 11:
                    member.disk.fail_syncs = 1
                case 12:
                    member.disk.sync_latency_s = world.options.sync_latency_s * random.choice((1, 1, 10, 100))
                case _:
                    net.heal()
            if random.random() < 0.2:
                member.clock.step(random.uniform(-100, 100))

    async def depose(self, *, for_s: float) -> None:
        """Cuts one member after another off from the others, together with a client."""
        world, random, net = self.world, self.world.random, self.world.net
        until_s = world.virtual_s + for_s
        names = [*MEMBERS, *CLIENTS]
        while world.virtual_s < until_s:
            inside = [random.choice(MEMBERS), random.choice(CLIENTS)]
            net.partition(inside, [name for name in names if name not in inside])
            await asyncio.sleep(random.uniform(1, 4))
            net.heal()
            await asyncio.sleep(random.uniform(0, 2))

    async def heal(self) -> None:
        """Ends every fault, then waits until every member serves and holds the same. Raises NotConverged."""
        self.world.net.heal()
        for member in self.members:
            member.disk.fail_syncs = 0
            member.disk.sync_latency_s = self.world.options.sync_latency_s
            member.resume()
        self.boot_members()
        started_s = self.world.virtual_s
        asker = self.world.host("asker")
        try:
            async with asyncio.timeout(CONVERGED_S_MAX):
                await asker.boot(self._converge)
        except TimeoutError as error:
            raise NotConverged(f"not after {CONVERGED_S_MAX} s\n{self.world.loop.describe_waiting()}") from error
        asker.tell(f"converged in {self.world.virtual_s - started_s:.3f} s")

    async def _converge(self, runtime: Runtime) -> None:
        for member in MEMBERS:
            await _until(lambda member=member: self._put_final(runtime, member))  # type: ignore[misc]
        await _until(lambda: self._equal(runtime))

    async def _put_final(self, runtime: Runtime, member: str) -> bool:
        channel = _channel(runtime, member)
        try:
            await KVStub(channel).Put(PutRequest(key=b"final", value=member.encode()), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        finally:
            await channel.close()
        return True

    async def _equal(self, runtime: Runtime) -> bool:
        hashes: set[int | None] = set()
        for member in MEMBERS:
            channel = _channel(runtime, member)
            try:
                # A linearizable read first: what it sees, the member has applied.
                await KVStub(channel).Range(RangeRequest(key=b"final"), timeout=CALL_TIMEOUT_S)
                answer = await MaintenanceStub(channel).HashKV(HashKVRequest(), timeout=CALL_TIMEOUT_S)
                hashes.add(answer.hash)
            except grpc.aio.AioRpcError:
                hashes.add(None)
            await channel.close()
        return len(hashes) == 1 and None not in hashes


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again: what is asked is elsewhere, so there is no event to wait for."""
    while True:
        if await holds():
            return
        await asyncio.sleep(ASK_AGAIN_S)


def _channel(runtime: Runtime, member: str) -> grpc.aio.Channel:
    return create_channel(f"{member}:2379", net=runtime.net, random=runtime.random)


def _config(name: str) -> KvConfig:
    return KvConfig(
        node=name,
        data_dir="the simulated disk",
        admin=AdminConfig(listen="0.0.0.0:2381"),
        kv=KvSection(
            listen="0.0.0.0:2379",
            advertise=f"{name}:2379",
            members=tuple(f"{member}={member}:2380" for member in MEMBERS),
        ),
    )


async def scenario(world: World, *, deposing: bool = False) -> KvCluster:
    """Boots, works, breaks, heals, converges, judges. With `deposing` nothing but partitions around members."""
    logging.getLogger("orrery").setLevel(logging.CRITICAL)
    cluster = KvCluster(world)
    cluster.boot_members()
    clients = cluster.boot_clients()
    await (cluster.depose if deposing else cluster.break_things)(for_s=FAULTS_S)
    cluster.stopping = True
    await cluster.heal()
    async with asyncio.timeout(CONVERGED_S_MAX):
        await asyncio.gather(*clients)
    answered = check_revisions(cluster.history)
    world.host("asker").tell(f"{answered} of {len(cluster.history)} operations were answered and judged")
    return cluster


@contextlib.contextmanager
def lacking(without: str) -> Iterator[None]:
    """Boots members with one of Raft's safeguards off, if it is named, while the block runs."""
    safeguards = Safeguards(**{without: False}) if without else Safeguards()
    # Production has no way to switch one off, and shall have none.
    with unittest.mock.patch.object(kv_main, "HostOptions", functools.partial(HostOptions, safeguards=safeguards)):
        yield


def play(seed: int, *, options: SwarmOptions | None = None, without: str = "", deposing: bool = False) -> Outcome:
    """One run of `scenario`, with one of Raft's safeguards off if it is named. Raises SimulationFailed."""
    setting = DEPOSED if deposing else FAULTS
    with lacking(without):
        return run(seed, setting.scenario, options=options, limits=setting.limits)


async def _faults(world: World) -> None:
    await scenario(world)


async def _deposed(world: World) -> None:
    await scenario(world, deposing=True)


LIMITS = Limits(virtual_s_max=600.0)
SAFEGUARDS = tuple(field.name for field in dataclasses.fields(Safeguards))

FAULTS = Setting(_faults, limits=LIMITS, safeguards=SAFEGUARDS, lacking=lacking)
DEPOSED = Setting(_deposed, limits=LIMITS, safeguards=SAFEGUARDS, lacking=lacking, options=SwarmOptions())
