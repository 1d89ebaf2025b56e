"""Three kv members, three registry processes, and clients that register, beat, stop beating and ask, in a simulated
world.

Nothing is replaced but the doors: the wiring of `services.kv.main` and `services.registry.main`, our RPC engine, the
generated stubs.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryStub
from cluster.presence.config import RegistrationSection
from cluster.rpc.engine import create_channel
from cluster.telemetry.config import AdminSection
from orrery.sim.registry.ledger import Entry, Ledger, Unlawful
from runtime import Runtime, SyncFailed
from runtime.process import StopSignal
from runtime.sim import SimHost, World
from services.kv import main as kv_main
from services.kv.config import KvConfig, KvSection
from services.registry import main as registry_main
from services.registry.config import ChecksSection, RegistryConfig, RegistrySection
from services.registry.dns import DnsSection

if TYPE_CHECKING:
    from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryAsyncStub

MEMBERS = ("kv-1", "kv-2", "kv-3")
PROCESSES = ("registry-1", "registry-2", "registry-3")
CLIENTS = ("client-1", "client-2", "client-3")
SERVICES = ("web", "db")
NODE = "orrery"
"""The shared node: clients register and beat at any process."""
TTL_MS = 3000
BEAT_S = 0.7
CALL_S_MAX = 4.0
BEAT_CALL_S_MAX = 1.0
"""Shorter than the TTL: who waits for one process too long comes too late at the next."""
INSTANCES_MAX = 6
"""Of one client at a time."""
_NO_ANSWER = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)


@dataclass(slots=True)
class Watched:
    """What a stream of changes of one process says is there."""

    endpoints: dict[tuple[str, str], pb.Endpoint] = field(default_factory=dict)
    index: int = 0
    streams: int = 0


class RegistryCluster:
    """The hosts, and what the clients were told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.members = [world.host(name) for name in MEMBERS]
        self.processes = [world.host(name) for name in PROCESSES]
        self.clients = [world.host(name) for name in CLIENTS]
        self.watcher = world.host("watcher")
        self.ledger = Ledger()
        self.watched = {process: Watched() for process in PROCESSES}
        self.is_calm = False
        """Nobody registers, removes or stops any more; who beats goes on."""
        self.stopping = False

    @property
    def servers(self) -> list[SimHost]:
        """All hosts that serve."""
        return [*self.members, *self.processes]

    def boot_servers(self) -> None:
        """Starts every server that does not run."""
        for host in self.servers:
            if host.process is None:
                self.boot(host)

    def boot(self, host: SimHost) -> None:
        """Starts one server."""

        async def member(runtime: Runtime) -> None:
            try:
                await kv_main.serve_on(runtime, _kv_config(host.name), StopSignal())
            except* SyncFailed:
                host.tell("ended by a failed sync")

        async def process(runtime: Runtime) -> None:
            await registry_main.serve_on(
                _registry_config(host.name), StopSignal(), clock=runtime.clock, random=runtime.random, net=runtime.net
            )

        host.boot(member if host.name in MEMBERS else process)

    def boot_clients(self) -> "list[asyncio.Future[None]]":
        """Starts the clients, and who watches; they end when told to stop."""
        return [*(host.boot(Client(self, host.name).run) for host in self.clients), self.watcher.boot(self._watch_all)]

    async def _watch_all(self, runtime: Runtime) -> None:
        async with asyncio.TaskGroup() as group:
            for process in PROCESSES:
                group.create_task(self._watch(runtime, process))

    async def _watch(self, runtime: Runtime, process: str) -> None:
        """Follows one process's stream of changes, and begins anew when it breaks."""
        watched = self.watched[process]
        channel = create_channel(f"{process}:8500", net=runtime.net, random=runtime.random)
        try:
            while not self.stopping:
                call = RegistryStub(channel).Watch(pb.WatchRequest())
                watched.streams += 1
                try:
                    await self._follow(process, watched, call)
                except (grpc.aio.AioRpcError, TimeoutError):
                    await asyncio.sleep(0.3)
                finally:
                    call.cancel()
        finally:
            await channel.close()

    async def _follow(
        self, process: str, watched: Watched, call: "grpc.aio.UnaryStreamCall[pb.WatchRequest, pb.WatchResponse]"
    ) -> None:
        while not self.stopping:
            async with asyncio.timeout(20):
                response = await call.read()
            if not isinstance(response, pb.WatchResponse):
                return
            if response.is_snapshot:
                watched.endpoints.clear()
            for endpoint in response.changed:
                watched.endpoints[endpoint.instance.node, endpoint.instance.id] = endpoint
            for key in response.removed:
                watched.endpoints.pop((key.node, key.id), None)
            if response.freshness.index:
                self.ledger.saw(process, "the watch of all", response.freshness.index)
                watched.index = response.freshness.index


class Client:
    """One client: its instances, and the calls about them."""

    def __init__(self, cluster: RegistryCluster, name: str) -> None:
        self._cluster = cluster
        self._ledger = cluster.ledger
        self._name = name
        self._made = 0
        self._mine: dict[str, Entry] = {}
        self._gone: list[str] = []
        self._stubs: dict[str, RegistryAsyncStub] = {}

    async def run(self, runtime: Runtime) -> None:
        """Until the cluster stops."""
        channels = []
        for process in PROCESSES:
            channel = create_channel(f"{process}:8500", net=runtime.net, random=runtime.random)
            channels.append(channel)
            self._stubs[process] = RegistryStub(channel)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(runtime))
                group.create_task(self._change(runtime))
                group.create_task(self._ask(runtime))
        finally:
            for channel in channels:
                await channel.close()

    def _any(self, runtime: Runtime) -> str:
        return PROCESSES[runtime.random.integer(0, len(PROCESSES))]

    async def _change(self, runtime: Runtime) -> None:
        while not self._cluster.is_calm:
            await asyncio.sleep(runtime.random.random() * 0.8)
            draw = runtime.random.integer(0, 10)
            if draw < 5 and len(self._mine) < INSTANCES_MAX:
                await self._register(runtime)
            elif draw < 7 and self._mine:
                await self._deregister(runtime)
            elif draw < 8 and self._mine:
                # It dies without a word.
                entry = list(self._mine.values())[runtime.random.integer(0, len(self._mine))]
                entry.beats = False

    async def _register(self, runtime: Runtime) -> None:
        """Registers until that is acknowledged: a new instance, or one that was removed before, at another process."""
        if self._gone and runtime.random.random() < 0.8:
            instance_id = self._gone.pop()
        else:
            self._made += 1
            instance_id = f"{self._name}-{self._made}"
        service = SERVICES[self._made % len(SERVICES)]
        entry = self._ledger.registering((NODE, instance_id), service)
        entry.beats = True
        check = pb.CheckDefinition(id=instance_id, ttl=pb.TtlCheck(ttl_ms=TTL_MS), initial=pb.PASSING)
        instance = pb.Instance(service=entry.service, id=instance_id, address=self._name, port=80, checks=[check])
        while not self._cluster.stopping:
            try:
                answer = await self._stubs[self._any(runtime)].Register(
                    pb.RegisterRequest(instance=instance), timeout=CALL_S_MAX
                )
            except grpc.aio.AioRpcError as error:
                _check_code(error)
                self._ledger.doubt(entry, removing=False)
                await asyncio.sleep(0.2)
            else:
                assert answer.index > 0
                self._ledger.registered(entry)
                self._mine[instance_id] = entry
                return

    async def _deregister(self, runtime: Runtime) -> None:
        instance_id = list(self._mine)[runtime.random.integer(0, len(self._mine))]
        entry = self._mine.pop(instance_id)
        try:
            await self._stubs[self._any(runtime)].Deregister(pb.DeregisterRequest(id=instance_id), timeout=CALL_S_MAX)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND and entry.in_doubt:
                return
            _check_code(error)
            self._ledger.doubt(entry, removing=True)
        else:
            self._ledger.removed(entry)
            self._gone.append(instance_id)
            if runtime.random.random() < 0.7:
                # At once, and elsewhere: who is asked now may not have heard that it is gone.
                await self._register(runtime)

    async def _beat(self, runtime: Runtime) -> None:
        while not self._cluster.stopping:
            await asyncio.sleep(BEAT_S)
            beating = [instance_id for instance_id, entry in self._mine.items() if entry.beats]
            if not beating:
                continue
            beats = [pb.Beat(check_id=instance_id) for instance_id in beating]
            try:
                answer = await self._stubs[self._any(runtime)].Heartbeat(
                    pb.HeartbeatRequest(beats=beats), timeout=BEAT_CALL_S_MAX
                )
            except grpc.aio.AioRpcError as error:
                _check_code(error)
                continue
            self._ledger.beats += sum(not result.code for result in answer.results)

    async def _ask(self, runtime: Runtime) -> None:
        while not self._cluster.stopping:
            await asyncio.sleep(runtime.random.random() * 0.6)
            process = self._any(runtime)
            service = SERVICES[runtime.random.integer(0, len(SERVICES))]
            block = None
            if runtime.random.random() < 0.3:
                known = self._ledger.indexes.get((process, service), 0)
                block = pb.Block(index=known, wait_ms_max=1000)
            try:
                answer = await self._stubs[process].ListInstances(
                    pb.ListInstancesRequest(service=service, block=block), timeout=CALL_S_MAX
                )
            except grpc.aio.AioRpcError as error:
                _check_code(error)
                continue
            self._see(process, service, answer)

    def _see(self, process: str, service: str, answer: pb.ListInstancesResponse) -> None:
        # Answers overtake each other; what counts is that the next question is not answered from an older state.
        self._ledger.saw(f"{process} to {self._name}", service, answer.freshness.index)


def _check_code(error: grpc.aio.AioRpcError) -> None:
    """Every wish of the clients can be fulfilled. Raises Unlawful for one that was refused."""
    if error.code() not in _NO_ANSWER:
        raise Unlawful(f"refused: {error.code().name}: {error.details()}") from error


def _kv_config(name: str) -> KvConfig:
    return KvConfig(
        node=name,
        data_dir="the simulated disk",
        admin=AdminSection(listen="0.0.0.0:2381"),
        kv=KvSection(
            listen="0.0.0.0:2379",
            advertise=f"{name}:2379",
            members=tuple(f"{member}={member}:2380" for member in MEMBERS),
        ),
        registration=RegistrationSection(enabled=False),
    )


def _registry_config(name: str) -> RegistryConfig:
    return RegistryConfig(
        node=name,
        admin=AdminSection(listen="0.0.0.0:8501"),
        registry=RegistrySection(
            listen="0.0.0.0:8500",
            advertise=f"{name}:8500",
            kv=tuple(f"{member}:2379" for member in MEMBERS),
            shared_node=NODE,
            shared_address="10.0.0.1",
        ),
        dns=DnsSection(listen=()),
        # Everything fails at once here, and often: what is held back for that is another matter.
        checks=ChecksSection(flap_half_life_ms=1000, flap_suppress=100.0, preserve_share=1.0),
        registration=RegistrationSection(enabled=False),
    )
