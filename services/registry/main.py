"""The registry process: puts the parts together, and closes them in the right order. Wiring only."""

import asyncio
import logging
from functools import partial

from cluster.clients.kv import KvClient
from cluster.http import HttpConnections
from cluster.pb.orrery.registry.v1 import registry_pb2
from cluster.presence import Identity, Presence
from cluster.rpc.engine import RpcOptions, Server, create_server, listen
from cluster.rpc.grpc.address import split_host_port
from cluster.rpc.metrics import CallMetrics
from cluster.rpc.standard import Health, add_standard_services
from cluster.telemetry import AdminServer, Check, Info, process_registry
from cluster.telemetry.grpc_series import GrpcSeries
from runtime import Clock, Net, Randomness
from runtime.process import StopSignal
from runtime.real import StreamNet, SystemClock, SystemRandomness
from runtime.tasks import TaskScope
from services.registry.api.consul import ConsulHead, ConsulSettings
from services.registry.api.http import HttpHead, http_limits
from services.registry.api.prometheus import PrometheusDiscovery
from services.registry.api.registry import RegistryHead
from services.registry.catalogue import KeyKind, MemoryCatalogue, ProcessRecord
from services.registry.checks.checks import Checks
from services.registry.checks.judging import observe
from services.registry.checks.metrics import CheckMetrics
from services.registry.config import RegistryConfig
from services.registry.dns import DnsMetrics, DnsServer
from services.registry.domain import Node
from services.registry.kv_store import KvStore
from services.registry.metrics import Counters, RegistryMetrics
from services.registry.mirror import Mirror
from services.registry.notes import NoteCollector
from services.registry.process_record import ProcessKeeper
from services.registry.registrar import CatalogueRegistrar
from services.registry.status import CheckCounts

CLIENT_SERVICES = tuple(service.full_name for service in registry_pb2.DESCRIPTOR.services_by_name.values())
"""What the client port serves, as reflection and health name it."""
MESSAGE_BYTES_MAX = 32 * 1024 * 1024
"""The largest answer: a list of the instances of one service, ten thousand of them with room."""
HEALTH_INTERVAL_S = 0.5
"""How often is looked whether this process can serve, for those who watch its health over gRPC."""
LEAVE_S_MAX = 2.0
"""How long kv may take to hear that this process ends."""

_log = logging.getLogger(__name__)


async def serve(config: RegistryConfig, stop: StopSignal) -> None:
    """Runs a process until `stop`. Raises OSError when a port is taken; later, whatever ends it."""
    await serve_on(config, stop, clock=SystemClock(), random=SystemRandomness(), net=StreamNet())


async def serve_on(config: RegistryConfig, stop: StopSignal, *, clock: Clock, random: Randomness, net: Net) -> None:
    """Runs a process behind these doors, real or simulated, until `stop`. It keeps nothing, so it needs no disk."""
    await _Process(config, clock, random, net).run(stop)


class _Process:
    """What a process owns while it runs."""

    def __init__(self, config: RegistryConfig, clock: Clock, random: Randomness, net: Net) -> None:
        section = config.registry
        self._config = config
        self._clock = clock
        self._random = random
        self._net = net
        self._address = section.advertise or section.listen
        self._metrics = registry = process_registry("registry", config.node)
        within_s = section.kv_timeout_ms / 1000
        self._kv = KvClient(section.kv, net=net, random=random, clock=clock, within_s=within_s)
        self._counters = counters = Counters()
        self._copy = copy = MemoryCatalogue(clock)
        self._mirror = Mirror(self._kv, copy, counters)
        self._store = KvStore(self._kv, self._mirror, within_s=within_s)
        shared = Node(section.shared_node, section.shared_address or split_host_port(self._address)[0])
        # Beats are damped by the same numbers as what this process finds out itself.
        judge = partial(observe, damping=config.checks.options().damping)
        self._registrar = CatalogueRegistrar(copy, self._store, clock, shared=shared, judge=judge, counters=counters)
        self._keeper = ProcessKeeper(self._kv, config.node, ProcessRecord(self._address), ttl_s=section.process_ttl_s)
        dns_ports = {"dns": config.dns.listen[0]} if config.dns.listen else {}
        self._presence = Presence(
            Identity.of("registry", config.node, self._address, "registry", admin=config.admin.listen, **dns_ports),
            config.membership,
            config.registration,
            self._readiness,
            net=net,
            clock=clock,
            random=random,
            registry=registry,
        )
        self._dns = DnsServer(net, clock, random, copy, config.dns)
        DnsMetrics(registry, self._dns.counters)
        self._checks: Checks | None = None
        """Made once it is known who else there is."""
        RegistryMetrics(registry, counters, self._gauges)

    async def run(self, stop: StopSignal) -> None:
        """Until `stop`."""
        config, section = self._config, self._config.registry
        head = self._grpc_head()
        consul = self._consul_head()
        web = HttpHead(consul, PrometheusDiscovery(self._copy), section.allowed_origins)
        pages = HttpConnections(web, self._clock, http_limits(section.http_waiting_max))
        server = self._server(pages)
        head.add_to(server)
        health = await add_standard_services(server, CLIENT_SERVICES)
        admin = AdminServer(self._net, self._clock, config.admin.listen, self._metrics, self._info, self._readiness)
        drain_s = section.drain_ms / 1000
        await admin.start()
        try:
            await self._presence.start()
            self._checks = checks = self._make_checks()
            await listen(server, section.listen)
            await server.start()
            await self._dns.start()
            async with TaskScope("registry") as scope:
                scope.spawn(self._kv.run(), name="kv")
                scope.spawn(self._mirror.run(), name="mirror")
                scope.spawn(self._store.run(), name="store")
                scope.spawn(NoteCollector(self._copy, self._store, config.node).run(), name="notes")
                scope.spawn(self._presence.run(), name="presence")
                keeping = scope.spawn(self._keeper.run(), name="process")
                checking = scope.spawn(checks.run(), name="checks")
                scope.spawn(head.run(), name="watchers")
                scope.spawn(self._report_health(health), name="health")
                _log.info("serving", extra={"clients": self._address, "dns": self._dns.addresses})
                await stop.wait()
                await health.leaving()
                # Whoever takes the checks over must not meet this process at them.
                checking.cancel()
                keeping.cancel()
                await asyncio.gather(_leave(self._keeper), self._presence.leave())
                head.stop()
                consul.stop_waiting()
                await asyncio.gather(self._dns.stop(), pages.close(drain_s), server.stop(drain_s))
                scope.cancel()
        finally:
            await self._dns.stop()
            await pages.close(0)
            await server.stop(0)
            await self._presence.stop()
            await self._kv.close()
            await admin.stop()

    # ---- heads

    def _grpc_head(self) -> RegistryHead:
        section = self._config.registry
        return RegistryHead(
            self._copy,
            self._registrar,
            self._count_checks,
            self._counters,
            node=self._config.node,
            watchers_max=section.watchers_max,
            waiting_max=section.waiting_max,
        )

    def _consul_head(self) -> ConsulHead:
        settings = ConsulSettings(
            self._address, datacenter=self._config.dns.datacenter, waiters_max=self._config.registry.http_waiting_max
        )
        return ConsulHead(
            self._copy,
            self._registrar,
            self._clock,
            self._random,
            settings,
            lambda: self._count_checks().held_back,
        )

    def _server(self, pages: HttpConnections) -> Server:
        series = GrpcSeries()
        self._metrics.register(series)
        return create_server(
            RpcOptions(message_bytes_max=MESSAGE_BYTES_MAX),
            net=self._net,
            observers=[CallMetrics(series, self._clock)],
            http1=pages.accept,
        )

    def _make_checks(self) -> Checks:
        checks = Checks(
            self._copy,
            self._registrar,
            self._presence.membership,
            self._config.node,
            clock=self._clock,
            random=self._random,
            net=self._net,
            options=self._config.checks.options(),
        )
        CheckMetrics(
            self._metrics,
            checks.counters,
            owned=lambda: checks.owned,
            held_back=lambda: checks.flips_held_back,
            skipped=lambda: checks.probes_skipped,
        )
        return checks

    # ---- what it tells of itself

    def _count_checks(self) -> CheckCounts:
        checks = self._checks
        if checks is None:
            return CheckCounts()
        return CheckCounts(checks.owned, checks.self_preservation, checks.flips_held_back)

    def _info(self) -> Info:
        endpoints = {"registry": self._address, "consul": f"http://{self._address}"}
        if self._dns.addresses:
            endpoints["dns"] = self._dns.addresses[0]
        return Info("registry", self._config.node, "", "", endpoints, parts=self._presence.parts())

    def _readiness(self) -> list[Check]:
        """A process that has read the registry serves. When kv is away it tells what it knows, and that it is old."""
        copy = self._copy
        detail = "" if copy.is_ready else "the registry was not read from kv yet"
        if not self._kv.is_reached:
            detail = f"{detail}; no member of kv answers".removeprefix("; ")
        elif copy.is_ready and copy.staleness.is_stale:
            detail = "kv is silent; what is told may be old"
        return [Check("registry read", copy.is_ready, detail)]

    async def _report_health(self, health: Health) -> None:
        """Keeps the gRPC health service in step with the readiness that the admin port tells."""
        was_ready = False
        while True:
            ready = all(check.ok for check in self._readiness())
            if ready != was_ready:
                was_ready = ready
                await health.serving(ready=ready)
            await asyncio.sleep(HEALTH_INTERVAL_S)

    def _gauges(self) -> dict[str, float]:
        copy = self._copy
        return {
            "waiting_queries": copy.topics.waiting,
            "services": len(copy.services()),
            "instances": copy.count(KeyKind.INSTANCE),
            "nodes": copy.count(KeyKind.NODE),
            "checks": copy.count(KeyKind.CHECK),
            "beats_running": copy.count(KeyKind.BEAT),
            "processes": copy.count(KeyKind.PROCESS),
            "kv_revision": copy.revision,
            "kv_silence_seconds": copy.staleness.behind_ms / 1000,
            "kv_failures": self._kv.failures,
            "kv_plans": self._store.batches.plans,
            "kv_transactions": self._store.batches.transactions,
            "records_unreadable": self._mirror.unreadable,
        }


async def _leave(keeper: ProcessKeeper) -> None:
    try:
        async with asyncio.timeout(LEAVE_S_MAX):
            await keeper.leave()
    except TimeoutError:
        _log.debug("kv was not told of the end of this process in time")
