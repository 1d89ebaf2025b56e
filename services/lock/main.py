"""The lock process: puts the parts together, and closes them in the right order. Wiring only."""

import asyncio
import logging

import grpc.aio
from prometheus_client import CollectorRegistry

from cluster.clients.kv import KvClient, KvError
from cluster.discovery.config import kv_source
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest
from cluster.pb.orrery.lock.v1 import lock_pb2
from cluster.pb.orrery.lock.v1.lock_pb2_grpc import add_ElectionsServicer_to_server, add_LocksServicer_to_server
from cluster.presence import Identity, Presence
from cluster.rpc.engine import RpcOptions, create_server, listen
from cluster.rpc.metrics import CallMetrics
from cluster.rpc.standard import Health, add_standard_services
from cluster.telemetry import AdminServer, Check, Info, process_registry
from cluster.telemetry.grpc_series import GrpcSeries
from runtime import Clock, Net, Randomness
from runtime.process import StopSignal
from runtime.real import StreamNet, SystemClock, SystemRandomness
from runtime.tasks import TaskScope
from services.lock.api.elections import ElectionsHead
from services.lock.api.locks import LocksHead
from services.lock.config import LockConfig
from services.lock.holding import Context
from services.lock.inspection import Inspection
from services.lock.metrics import Counters, LockMetrics
from services.lock.settling import Settler
from services.lock.store import PlaceStore
from services.lock.view import Views

CLIENT_SERVICES = tuple(service.full_name for service in lock_pb2.DESCRIPTOR.services_by_name.values())
"""What the client port serves, as reflection and health name it."""
MESSAGE_BYTES_MAX = 256 * 1024
"""The largest request: a candidate's value, a name, and room."""
PROBE_S = 1.0
"""How often kv is asked whether it is there, for the readiness of this process."""
PROBE_WITHIN_S = 2.0
STOP_S = 0.5
"""How long calls under way may take after the drain."""

_log = logging.getLogger(__name__)


async def serve(config: LockConfig, stop: StopSignal) -> None:
    """Runs a process until `stop`. Raises OSError when a port is taken; later, whatever ends it."""
    await serve_on(config, stop, clock=SystemClock(), random=SystemRandomness(), net=StreamNet())


async def serve_on(config: LockConfig, stop: StopSignal, *, clock: Clock, random: Randomness, net: Net) -> None:
    """Runs a process behind these doors, real or simulated, until `stop`. It keeps nothing, so it needs no disk."""
    lock = config.lock
    registry = process_registry("lock", config.node)
    address = lock.advertise or lock.listen
    who = Identity.of("lock", config.node, address, "lock", admin=config.admin.listen)
    presence = Presence(
        who,
        config.membership,
        config.registration,
        lambda: _checks(kv),
        net=net,
        clock=clock,
        random=random,
        registry=registry,
    )
    # Members of kv that are added later are found by the registry, and that by the membership.
    registries = presence.registries if config.membership.listen else None
    members = kv_source(config.discovery, lock.kv, net=net, random=random, clock=clock, registries=registries)
    kv = KvClient(members, net=net, random=random, clock=clock, within_s=lock.kv_timeout_ms / 1000)
    counters = Counters()
    views = Views(kv, counters)
    store = PlaceStore(kv)
    settler = Settler(store)
    context = Context(store, views, counters, clock, lock.waiters_max, settler.settle)
    locks = LocksHead(kv, context, Inspection(kv, counters, clock, random), sessions_max=lock.sessions_max)
    elections = ElectionsHead(kv, views, observers_max=lock.observers_max)
    server = _server(net, clock, registry)
    add_LocksServicer_to_server(locks, server)
    add_ElectionsServicer_to_server(elections, server)
    health = await add_standard_services(server, CLIENT_SERVICES)
    LockMetrics(
        registry,
        counters,
        waiting=lambda: views.waiting,
        views=lambda: len(views),
        kv_failures=lambda: kv.failures,
    )
    admin = AdminServer(
        net,
        clock,
        config.admin.listen,
        registry,
        lambda: Info("lock", config.node, "", "", {"lock": address}, parts=presence.parts()),
        lambda: _checks(kv),
    )
    await admin.start()
    try:
        await listen(server, lock.listen)
        await server.start()
        await presence.start()
        async with TaskScope("lock") as scope:
            settler.run_in(scope)
            scope.spawn(kv.run(), name="watches")
            scope.spawn(_probe(kv, health), name="probe")
            scope.spawn(presence.run(), name="presence")
            _log.info("serving", extra={"clients": address, "admin": admin.address})
            await stop.wait()
            await health.leaving()
            elections.stop()
            await asyncio.gather(locks.drain(lock.drain_ms / 1000), presence.leave())
            await server.stop(STOP_S)
            scope.cancel()
    finally:
        await presence.stop()
        await server.stop(0)
        views.close()
        await kv.close()
        await admin.stop()


def _server(net: Net, clock: Clock, registry: CollectorRegistry) -> grpc.aio.Server:
    series = GrpcSeries()
    registry.register(series)
    return create_server(
        RpcOptions(message_bytes_max=MESSAGE_BYTES_MAX), net=net, observers=[CallMetrics(series, clock)]
    )


async def _probe(kv: KvClient, health: Health) -> None:
    """Asks kv now and then, and tells those who watch the health of this process."""
    was_reached = False
    while True:
        try:
            await kv.range(RangeRequest(key=b"orrery/lock/probe"), within_s=PROBE_WITHIN_S)
        except KvError as error:
            _log.debug("kv does not answer", extra={"reason": error.message})
        if kv.is_reached != was_reached:
            was_reached = kv.is_reached
            await health.serving(ready=was_reached)
        await asyncio.sleep(PROBE_S)


def _checks(kv: KvClient) -> list[Check]:
    return [Check("kv reached", kv.is_reached, "" if kv.is_reached else "no member of kv answers")]
