"""The kv process: opens what it owns, puts the parts together, and closes them in the right order. Wiring only."""

import asyncio
import logging
from collections.abc import Sequence

from grpc import aio
from prometheus_client import CollectorRegistry

from cluster.http import HttpConnections
from cluster.pb.etcd.etcdserverpb import rpc_pb2
from cluster.presence import Identity as Who
from cluster.presence import Presence
from cluster.raft.core.types import Stage
from cluster.raft.driver import HostOptions
from cluster.raft.driver.grpc_transport import MESSAGE_BYTES_MAX, GrpcTransport
from cluster.replica.host import ReplicaHost
from cluster.replica.interface import Leadership
from cluster.replica.replica import Replica
from cluster.rpc.engine import RpcOptions, create_channel, create_server, listen
from cluster.rpc.grpc import Server
from cluster.rpc.in_process import InProcessCalls
from cluster.rpc.metrics import CallMetrics
from cluster.rpc.standard import Health, add_standard_services
from cluster.telemetry import AdminServer, Check, Info, process_registry
from cluster.telemetry.grpc_metrics import GrpcMetricsInterceptor
from cluster.telemetry.grpc_series import GrpcSeries
from runtime import Runtime
from runtime.process import StopSignal
from runtime.real import RealDisk, real_runtime
from runtime.tasks import TaskScope
from services.kv.api.calls import RequestLimits
from services.kv.api.http import HttpHead, HttpSettings, http_limits
from services.kv.api.peer import GrpcLeaderLink
from services.kv.backend.engines import open_state
from services.kv.config import KvConfig
from services.kv.data_directory import claim
from services.kv.identity import Identity, identify
from services.kv.metrics import KvMetrics, RebuildMetrics, RoundTrips, sync_times
from services.kv.node import KvNode, NodeSettings
from services.kv.state_machine import KvStateMachine, Result

GROUP = 1
"""The one Raft group of kv."""
GRPC_OVERHEAD_BYTES = 512 * 1024
"""Requests may be this much larger than the limit before gRPC itself refuses them; below, etcd's message is given."""
CLIENT_SERVICES = tuple(service.full_name for service in rpc_pb2.DESCRIPTOR.services_by_name.values())
"""What the client port serves, as reflection and health name it."""
HEALTH_INTERVAL_S = 0.5
"""How often a member looks whether it can serve, for those who watch its health over gRPC."""
DRAIN_S = 2.0
"""How long calls under way may take when the process is asked to stop."""
HANDOVER_S = 1.0
"""How long a leader waits for another to take over before it stops."""

_log = logging.getLogger(__name__)


async def serve(config: KvConfig, stop: StopSignal) -> None:
    """Runs a member until `stop`.

    Raises DirectoryInUse, WrongDataDirectory, OSError when a port is taken; later, whatever ends the replica.
    """
    runtime = real_runtime(config.data_dir)
    try:
        await serve_on(runtime, config, stop)
    finally:
        # The lock of the directory would otherwise last as long as the process, which in a test is not this member.
        if isinstance(runtime.disk, RealDisk):
            runtime.disk.close()


async def serve_on(runtime: Runtime, config: KvConfig, stop: StopSignal) -> None:
    """Runs a member behind these doors, real or simulated, until `stop`; for errors see `serve`."""
    identity = identify(config.kv.cluster_token, config.node, config.kv.members)
    await _Process(config, identity, runtime).run(stop)


class _Process:
    """What a member owns while it runs."""

    def __init__(self, config: KvConfig, identity: Identity, runtime: Runtime) -> None:
        self._config = config
        self._identity = identity
        self._runtime = runtime
        self._channels: dict[int, aio.Channel] = {}

    async def run(self, stop: StopSignal) -> None:
        config, kv, runtime, identity = self._config, self._config.kv, self._runtime, self._identity
        await claim(runtime.disk, identity)
        registry = process_registry("kv", config.node)
        round_trips = RoundTrips(registry)
        peer_options = RpcOptions(message_bytes_max=MESSAGE_BYTES_MAX, engine=kv.rpc_engine)
        peers = create_server(peer_options, net=runtime.net)
        transport = GrpcTransport(
            member_id=identity.member.id,
            cluster_id=identity.cluster_id,
            addresses={member.id: member.peer_address for member in identity.members},
            channel_factory=lambda address: create_channel(
                address, peer_options, net=runtime.net, random=runtime.random
            ),
            server=peers,
            random=runtime.random,
            on_round_trip=round_trips.observe,
        )
        host = await ReplicaHost.open(
            runtime,
            "raft",
            member_id=identity.member.id,
            voters=[member.id for member in identity.members],
            transport=transport,
            options=HostOptions(
                tick_s=kv.tick_ms / 1000,
                election_ticks=max(5, kv.election_ms // kv.tick_ms),
                snapshot_log_bytes=kv.snapshot_log_bytes,
                trailing_entries=kv.snapshot_trailing_entries,
            ),
            observe_sync=sync_times(registry),
        )
        durable = None
        if kv.engine != "memory":
            durable = await open_state(kv.engine, runtime, keep=host.raft.knows(GROUP), replaceable=host.may_rebuild)
        machine = KvStateMachine(backend=durable)
        replica = await host.replica(GROUP, machine, durable)
        client_url = f"http://{kv.advertise or kv.listen}"
        node = KvNode(
            machine,
            replica,
            identity,
            NodeSettings(
                limits=RequestLimits(
                    request_bytes_max=kv.request_bytes_max,
                    txn_operations_max=kv.txn_operations_max,
                    request_timeout_s=kv.request_timeout_ms / 1000,
                    election_timeout_s=kv.election_ms / 1000,
                ),
                client_urls=(client_url,),
                progress_interval_s=kv.progress_interval_ms / 1000,
                etcd_version=kv.etcd_version,
            ),
            clock=runtime.clock,
            random=runtime.random,
            link=GrpcLeaderLink(self._channel),
            transfer_leader=lambda target: _hand_over(replica, [target]),
        )
        clients, pages = self._client_heads(node, registry)
        health = await add_standard_services(clients, CLIENT_SERVICES)
        node.add_peer_heads(peers)
        KvMetrics(
            registry,
            node,
            replica,
            lambda: {
                member_id: counters.dropped_queue_full + counters.dropped_disconnected
                for member_id, counters in transport.counters.items()
            },
        )
        RebuildMetrics(registry, lambda: replica.stage, lambda: len(host.raft.condemned))
        who = Who.of("kv", config.node, kv.advertise or kv.listen, "etcd", admin=config.admin.listen)
        presence = Presence(
            who,
            config.membership,
            config.registration,
            lambda: _checks(node, replica, ()),
            net=runtime.net,
            clock=runtime.clock,
            random=runtime.random,
            registry=registry,
        )
        admin = AdminServer(
            runtime.net,
            runtime.clock,
            config.admin.listen,
            registry,
            lambda: _info(config, identity, replica, client_url, presence),
            lambda: _checks(node, replica, host.raft.condemned),
        )
        await admin.start()
        try:
            # Ports open last: whoever gets through finds every servicer there, and the log read back.
            await listen(peers, kv.peer_listen or identity.member.peer_address)
            await peers.start()
            await listen(clients, kv.listen)
            await clients.start()
            await presence.start()
            async with TaskScope("kv") as scope:
                scope.spawn(host.run(), name="replica")
                for task in node.tasks():
                    scope.spawn(task(), name=task.__name__)
                scope.spawn(_report_health(health, node, replica), name="health")
                scope.spawn(presence.run(), name="presence")
                _log.info("serving", extra={"clients": client_url, "admin": admin.address})
                await stop.wait()
                # At once: the registry can hear of it only while kv can still write.
                leaving = scope.spawn(presence.leave(), name="leave")
                await _hand_over(replica, [member.id for member in identity.members])
                await health.leaving()
                node.stop_streams()
                await asyncio.gather(pages.close(DRAIN_S), clients.stop(DRAIN_S), leaving)
                await host.stop()
                if durable is not None:
                    # What is flushed now need not be applied again at the next start.
                    await durable.persist()
                await peers.stop(0)
                scope.cancel()
        finally:
            await presence.stop()
            await pages.close(0)
            await clients.stop(0)
            await peers.stop(0)
            for channel in self._channels.values():
                await channel.close()
            await admin.stop()
            if durable is not None:
                await durable.close()

    def _client_heads(self, node: KvNode, registry: CollectorRegistry) -> tuple[aio.Server, HttpConnections]:
        """What the client port serves: gRPC, and HTTP/1.1 for the JSON gateway and etcd's pages.

        With grpcio as the engine the port speaks gRPC only, since grpcio hands no connection on.
        """
        kv, runtime = self._config.kv, self._runtime
        request_bytes_max = kv.request_bytes_max + GRPC_OVERHEAD_BYTES
        series = GrpcSeries()
        registry.register(series)
        interceptor = GrpcMetricsInterceptor(series, runtime.clock)
        rpcs = InProcessCalls([interceptor])
        http = HttpHead(node.calls, rpcs, registry, HttpSettings(kv.etcd_version, kv.allowed_origins))
        pages = HttpConnections(http, runtime.clock, http_limits(request_bytes_max))
        clients = create_server(
            RpcOptions(message_bytes_max=request_bytes_max, engine=kv.rpc_engine),
            [interceptor] if kv.rpc_engine == "grpcio" else (),
            net=runtime.net,
            observers=[CallMetrics(series, runtime.clock)],
            http1=pages.accept,
        )
        node.add_client_heads(rpcs)
        node.add_client_heads(clients)
        if kv.channelz and isinstance(clients, Server):
            # Its messages cost every process a megabyte, and hardly one is ever asked.
            from cluster.rpc.channelz import add_channelz

            add_channelz(clients, [clients])
        return clients, pages

    def _channel(self, member_id: int) -> aio.Channel | None:
        """The channel to a peer, for what does not go through the log."""
        channel = self._channels.get(member_id)
        member = self._identity.by_id(member_id)
        if channel is None and member is not None:
            channel = self._channels[member_id] = create_channel(
                member.peer_address,
                RpcOptions(engine=self._config.kv.rpc_engine),
                net=self._runtime.net,
                random=self._runtime.random,
            )
        return channel


async def _report_health(health: Health, node: KvNode, replica: Replica[Result]) -> None:
    """Keeps the gRPC health service in step with the readiness that the admin port tells."""
    was_ready = False
    while True:
        ready = all(check.ok for check in _checks(node, replica, ()))
        if ready != was_ready:
            was_ready = ready
            await health.serving(ready=ready)
        await asyncio.sleep(HEALTH_INTERVAL_S)


async def _hand_over(replica: Replica[Result], candidates: Sequence[int]) -> None:
    """Lets another member lead, if this one does, so that nobody has to wait for an election."""
    for target in candidates:
        if target == replica.member_id or not replica.leadership.is_self:
            continue
        lost = asyncio.Event()

        def notice(leadership: Leadership, lost: asyncio.Event = lost) -> None:
            if not leadership.is_self:
                lost.set()

        replica.on_leadership(notice)
        replica.transfer_leadership(target)
        try:
            async with asyncio.timeout(HANDOVER_S):
                await lost.wait()
        except TimeoutError:
            _log.warning("nobody took over the lead in time", extra={"target": f"{target:x}"})


def _info(config: KvConfig, identity: Identity, replica: Replica[Result], client_url: str, presence: Presence) -> Info:
    leader = identity.by_id(replica.leadership.leader)
    return Info(
        service="kv",
        node=config.node,
        role=_role(replica),
        leader=leader.name if leader is not None else "",
        endpoints={"etcd": client_url},
        data_dir=config.data_dir,
        parts=presence.parts(),
    )


def _role(replica: Replica[Result]) -> str:
    if replica.stage is not Stage.SETTLED:
        return replica.stage.name.lower()
    return "leader" if replica.leadership.is_self else "follower"


def _checks(node: KvNode, replica: Replica[Result], condemned: Sequence[str]) -> list[Check]:
    status = replica.status
    details = [replica.recovery] if replica.recovery else []
    if condemned:
        details.append(f"damaged logs are kept for you to look at in {', '.join(condemned)}")
    return [
        Check("takes part", not replica.recovery, "; ".join(details)),
        Check("leader known", status.leader != 0, "" if status.leader else "no leader is known; is a majority up?"),
        Check(
            "caught up",
            node.has_caught_up,
            "" if node.has_caught_up else f"applied {status.applied_index} of {status.commit_index}",
        ),
    ]
