"""Scenarios of the registry.

    orrery sim run --scenario registry --seeds 1..50
    orrery sim run --scenario registry --seeds 1..50 --without notes      # removals leave no trace: found out

Faults end after a while. Then all processes must come to tell the same, and what kv keeps; nothing acknowledged
may be lost; who beats must pass and go on passing, and who does not must be critical.
"""

import asyncio
import contextlib
import logging
import unittest.mock
from collections.abc import Iterator, Mapping

import grpc.aio

from cluster.clients.kv import prefix_end
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub
from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryStub
from cluster.rpc.engine import create_channel
from orrery.sim.histories import Histories
from orrery.sim.registry.cluster import (
    CALL_S_MAX,
    CLIENTS,
    MEMBERS,
    PROCESSES,
    SERVICES,
    RegistryCluster,
)
from orrery.sim.registry.ledger import Must, Unlawful
from orrery.sim.setting import Contradiction, Setting
from runtime import Runtime
from runtime.sim import Limits, SimHost, World
from services.registry.api.messages import endpoint_message
from services.registry.catalogue import Key, KeyKind, MemoryCatalogue, Record, Update
from services.registry.interface import Topic, TopicKind
from services.registry.kv_store import KvStore
from services.registry.planning import Plan
from services.registry.records import PREFIX, decode_key, decode_value
from services.registry.store import Outcome

FAULTS_S = 20.0
"""How long things are broken."""
CONVERGED_S_MAX = 90.0
"""How long everything may take to work again, and to tell the same, once nothing is broken any more."""
SETTLED_S = 15.0
"""How long what was broken may be felt: connections that are half open, leases that nobody could renew, an election."""
CALM_S = 8.0
"""How long who beats must then pass without a break."""
ASK_AGAIN_S = 0.5
LIMITS = Limits(virtual_s_max=600.0)
SAFEGUARDS = ("notes", "verifying")


class NotConverged(Contradiction):
    """All is healed, and something is still not as it must be."""

    def __init__(self, text: str) -> None:
        super().__init__("convergence", text)


@contextlib.contextmanager
def lacking(without: str) -> Iterator[None]:
    """Takes a safeguard away, if one is named, while the block runs.

    `notes`: removals leave none, so that a process that reads everything anew does not know of them. `verifying`: what
    a process's copy says is there is taken for registered, and not looked up in kv.
    """
    put, commit = Plan.put, KvStore.commit

    def put_without_notes(plan: Plan, key: Key, value: Record) -> None:
        if key.kind not in (KeyKind.GONE_NODE, KeyKind.GONE_SERVICE):
            put(plan, key, value)

    async def commit_unverified(store: KvStore, plan: Plan) -> Outcome:
        return await commit(store, plan) if plan.writes else Outcome(True, 1, False)

    with contextlib.ExitStack() as stack:
        if without == "notes":
            stack.enter_context(unittest.mock.patch.object(Plan, "put", put_without_notes))
        if without == "verifying":
            stack.enter_context(unittest.mock.patch.object(KvStore, "commit", commit_unverified))
        yield


async def break_things(cluster: RegistryCluster, *, for_s: float) -> None:
    """Faults by the seed, one after another, overlapping."""
    world = cluster.world
    random, net = world.random, world.net
    until_s = world.virtual_s + for_s
    names = [*MEMBERS, *PROCESSES, *CLIENTS]
    while world.virtual_s < until_s:
        await asyncio.sleep(random.expovariate(0.8))
        member, process = random.choice(cluster.members), random.choice(cluster.processes)
        host: SimHost = random.choice(cluster.servers)
        other = random.choice([name for name in names if name != host.name])
        match random.randrange(13):
            case 0:
                member.crash()
            case 1 | 2:
                process.kill()
            case 3 | 4:
                cluster.boot_servers()
            case 5:
                # Longer than a lease lives, at times.
                paused = random.choice((process, member))
                paused.pause()
                await asyncio.sleep(random.uniform(0, 6))
                paused.resume()
            case 6:
                inside = [name for name in names if random.random() < 0.5]
                net.partition(inside, [name for name in names if name not in inside])
            case 7:
                # The process tells what it knows, and kv is away.
                net.partition([process.name], MEMBERS)
            case 8:
                net.cut(host.name, other, both=random.random() < 0.5)
            case 9:
                net.clog(host.name, other)
            case 10:
                net.reset(host.name, other)
            case 11:
                net.half_open(host.name, other)
            case _:
                net.heal()
                cluster.boot_servers()


def heal(cluster: RegistryCluster) -> None:
    """Ends every fault."""
    cluster.world.net.heal()
    for host in cluster.servers:
        host.resume()
    cluster.boot_servers()


class Auditor:
    """Compares what the processes tell with what kv keeps, and both with what clients were told."""

    def __init__(self, cluster: RegistryCluster, runtime: Runtime) -> None:
        self._cluster = cluster
        self._runtime = runtime
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def run(self) -> None:
        """Waits until all is as it must be, and watches that it stays so. Raises NotConverged, Unlawful."""
        try:
            await asyncio.sleep(SETTLED_S)
            await self._converge()
            until_s = self._cluster.world.virtual_s + CALM_S
            while self._cluster.world.virtual_s < until_s:
                await asyncio.sleep(ASK_AGAIN_S)
                difference = await self._difference()
                if difference:
                    raise Unlawful(f"nothing is broken, and yet: {difference}")
            catalogue = await self._read_kv()
            self._cluster.ledger.check_places(
                {(one.instance.node, one.instance.id) for name in SERVICES for one in catalogue.endpoints(name)}
            )
        finally:
            for channel in self._channels.values():
                await channel.close()

    async def _converge(self) -> None:
        difference = "nothing was asked"
        try:
            async with asyncio.timeout(CONVERGED_S_MAX):
                while True:
                    try:
                        difference = await self._difference()
                    except grpc.aio.AioRpcError as error:
                        difference = f"no answer: {error.code().name}: {error.details()}"
                    if not difference:
                        return
                    await asyncio.sleep(ASK_AGAIN_S)
        except TimeoutError as error:
            raise NotConverged(f"not after {CONVERGED_S_MAX} s: {difference}") from error

    async def _difference(self) -> str:
        """What is not as it must be; empty when nothing is. Raises AioRpcError."""
        catalogue = await self._read_kv()
        told = {process: await self._ask(process) for process in PROCESSES}
        for service in SERVICES:
            kept = [endpoint_message(one) for one in catalogue.endpoints(service)]
            index = catalogue.index(Topic(TopicKind.SERVICE, service))
            for process in PROCESSES:
                answer = told[process][service]
                if answer.freshness.stale:
                    return f"{process} says that it is stale"
                if list(answer.endpoints) != kept:
                    return f"{process} tells otherwise of {service} than kv keeps"
                if answer.freshness.index != index:
                    return f"{process} tells index {answer.freshness.index} of {service}, by kv it is {index}"
        everything = {
            (one.instance.node, one.instance.id): endpoint_message(one)
            for service in SERVICES
            for one in catalogue.endpoints(service)
        }
        for process, watched in self._cluster.watched.items():
            if watched.endpoints != everything:
                return f"who watches {process} knows otherwise than kv keeps"
        return self._unwell(everything)

    def _unwell(self, everything: Mapping[tuple[str, str], pb.Endpoint]) -> str:
        for place, entry in self._cluster.ledger.entries.items():
            endpoint = everything.get(place)
            if endpoint is None or entry.must is not Must.BE_THERE:
                continue
            wanted = pb.PASSING if entry.beats else pb.CRITICAL
            if endpoint.health != wanted:
                return f"{place} beats: {entry.beats}, and is {pb.Health.Name(endpoint.health)}"
        return ""

    async def _ask(self, process: str) -> dict[str, pb.ListInstancesResponse]:
        stub = RegistryStub(self._channel(f"{process}:8500"))
        return {
            service: await stub.ListInstances(pb.ListInstancesRequest(service=service), timeout=CALL_S_MAX)
            for service in SERVICES
        }

    async def _read_kv(self) -> MemoryCatalogue:
        """What kv keeps, read anew."""
        request = RangeRequest(key=PREFIX, range_end=prefix_end(PREFIX))
        answer = await KVStub(self._channel(f"{MEMBERS[0]}:2379")).Range(request, timeout=CALL_S_MAX)
        updates = []
        for pair in answer.kvs:
            key = decode_key(pair.key)
            assert key is not None
            updates.append(Update(key, decode_value(key, pair.value), pair.mod_revision, pair.lease))
        catalogue = MemoryCatalogue(self._runtime.clock)
        catalogue.reset(updates, answer.header.revision)
        return catalogue

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            channel = create_channel(address, net=self._runtime.net, random=self._runtime.random)
            self._channels[address] = channel
        return channel


async def scenario(world: World, histories: Histories) -> None:
    """Boots, works, breaks, heals, converges, audits."""
    logging.getLogger("orrery").setLevel(logging.CRITICAL)
    logging.getLogger("services").setLevel(logging.CRITICAL)
    cluster = RegistryCluster(world)
    cluster.boot_servers()
    clients = cluster.boot_clients()
    await break_things(cluster, for_s=FAULTS_S)
    heal(cluster)
    cluster.is_calm = True
    auditor = world.host("auditor")

    async def audit(runtime: Runtime) -> None:
        await Auditor(cluster, runtime).run()

    await auditor.boot(audit)
    cluster.stopping = True
    async with asyncio.timeout(CONVERGED_S_MAX):
        await asyncio.gather(*clients)
    ledger = cluster.ledger
    auditor.tell(
        f"{ledger.registrations} registrations, {ledger.removals} removals, {ledger.beats} beats and"
        f" {ledger.answers} answers are lawful"
    )


SETTINGS = {"registry": Setting(scenario, limits=LIMITS, safeguards=SAFEGUARDS, lacking=lacking)}
"""By the names in `orrery/sim/scenarios.py`."""
