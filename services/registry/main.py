"""The registry process: puts the parts together, and closes them in the right order. Wiring only."""

import asyncio
import logging

from prometheus_client import CollectorRegistry

from cluster.clients.kv import KvClient
from cluster.http import HttpConnections
from cluster.pb.orrery.registry.v1 import registry_pb2
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
from services.registry.config import RegistryConfig
from services.registry.domain import Node
from services.registry.kv_store import KvStore
from services.registry.metrics import Counters, RegistryMetrics
from services.registry.mirror import Mirror
from services.registry.process_record import ProcessKeeper
from services.registry.registrar import CatalogueRegistrar
from services.registry.status import CountsChecks, NoChecks

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
    section = config.registry
    address = section.advertise or section.listen
    registry = process_registry("registry", config.node)
    kv = KvClient(section.kv, net=net, random=random, clock=clock, within_s=section.kv_timeout_ms / 1000)
    counters = Counters()
    copy = MemoryCatalogue(clock)
    mirror = Mirror(kv, copy, counters)
    store = KvStore(kv, mirror, within_s=section.kv_timeout_ms / 1000)
    shared = Node(section.shared_node, section.shared_address or split_host_port(address)[0])
    registrar = CatalogueRegistrar(copy, store, clock, shared=shared, counters=counters)
    keeper = ProcessKeeper(kv, config.node, ProcessRecord(address), ttl_s=section.process_ttl_s)
    checks: CountsChecks = NoChecks()
    head = RegistryHead(
        copy,
        registrar,
        checks,
        counters,
        node=config.node,
        watchers_max=section.watchers_max,
        waiting_max=section.waiting_max,
    )
    consul = ConsulHead(
        copy,
        registrar,
        clock,
        random,
        ConsulSettings(address, section.datacenter, waiters_max=section.waiting_max),
    )
    http = HttpHead(consul, PrometheusDiscovery(copy), section.allowed_origins)
    pages = HttpConnections(http, clock, http_limits(section.waiting_max))
    server = _server(net, clock, registry, pages)
    head.add_to(server)
    health = await add_standard_services(server, CLIENT_SERVICES)
    RegistryMetrics(registry, counters, lambda: _gauges(copy, kv, mirror, checks))
    admin = AdminServer(
        net,
        clock,
        config.admin.listen,
        registry,
        lambda: Info("registry", config.node, "", "", {"registry": address}),
        lambda: _checks(copy, kv),
    )
    await admin.start()
    try:
        await listen(server, section.listen)
        await server.start()
        async with TaskScope("registry") as scope:
            scope.spawn(kv.run(), name="kv")
            scope.spawn(mirror.run(), name="mirror")
            scope.spawn(store.run(), name="store")
            keeping = scope.spawn(keeper.run(), name="process")
            scope.spawn(_report_health(health, copy, kv), name="health")
            _log.info("serving", extra={"clients": address, "admin": admin.address})
            await stop.wait()
            await health.leaving()
            keeping.cancel()
            head.stop()
            consul.stop_waiting()
            await asyncio.gather(
                _leave(keeper), pages.close(section.drain_ms / 1000), server.stop(section.drain_ms / 1000)
            )
            scope.cancel()
    finally:
        await pages.close(0)
        await server.stop(0)
        await kv.close()
        await admin.stop()


def _server(net: Net, clock: Clock, registry: CollectorRegistry, pages: HttpConnections) -> Server:
    series = GrpcSeries()
    registry.register(series)
    return create_server(
        RpcOptions(message_bytes_max=MESSAGE_BYTES_MAX),
        net=net,
        observers=[CallMetrics(series, clock)],
        http1=pages.accept,
    )


async def _leave(keeper: ProcessKeeper) -> None:
    try:
        async with asyncio.timeout(LEAVE_S_MAX):
            await keeper.leave()
    except TimeoutError:
        _log.debug("kv was not told of the end of this process in time")


async def _report_health(health: Health, copy: MemoryCatalogue, kv: KvClient) -> None:
    """Keeps the gRPC health service in step with the readiness that the admin port tells."""
    was_ready = False
    while True:
        ready = all(check.ok for check in _checks(copy, kv))
        if ready != was_ready:
            was_ready = ready
            await health.serving(ready=ready)
        await asyncio.sleep(HEALTH_INTERVAL_S)


def _checks(copy: MemoryCatalogue, kv: KvClient) -> list[Check]:
    """A process that has read the registry once serves: when kv is away it tells what it knows, and that it is old."""
    detail = "" if copy.is_ready else "the registry was not read from kv yet"
    if not kv.is_reached:
        detail = f"{detail}; no member of kv answers".removeprefix("; ")
    elif copy.staleness.is_stale and copy.is_ready:
        detail = "kv is silent; what is told may be old"
    return [Check("registry read", copy.is_ready, detail)]


def _gauges(copy: MemoryCatalogue, kv: KvClient, mirror: Mirror, checks: CountsChecks) -> dict[str, float]:
    counts = checks.counts()
    return {
        "waiting_queries": copy.topics.waiting,
        "services": len(copy.services()),
        "instances": copy.count(KeyKind.INSTANCE),
        "nodes": copy.count(KeyKind.NODE),
        "checks": copy.count(KeyKind.CHECK),
        "beats_running": copy.count(KeyKind.BEAT),
        "processes": copy.count(KeyKind.PROCESS),
        "checks_owned": counts.owned,
        "self_preservation": counts.is_preserving,
        "flips_held_back": counts.held_back,
        "kv_revision": copy.revision,
        "kv_silence_seconds": copy.staleness.behind_ms / 1000,
        "kv_failures": kv.failures,
        "records_unreadable": mirror.unreadable,
    }
