"""One member's parts, put together around its replica. Neither sockets nor files: `main` owns those.

node = KvNode(machine, replica, identity, settings, clock=..., random=..., link=...)
node.add_client_heads(grpc_server)
node.add_peer_heads(peer_grpc_server)
for task in node.tasks(): scope.start(task)
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from grpc import aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import (
    add_ClusterServicer_to_server,
    add_KVServicer_to_server,
    add_LeaseServicer_to_server,
    add_MaintenanceServicer_to_server,
    add_WatchServicer_to_server,
)
from cluster.pb.orrery.kv.v1.command_pb2 import MemberAttributes
from cluster.pb.orrery.kv.v1.lessor_pb2_grpc import add_LessorServicer_to_server
from cluster.replica.interface import ReplicaError, Replicated
from runtime import Clock, Randomness
from services.kv import commands
from services.kv.api.calls import Calls, RequestLimits
from services.kv.api.cluster import ClusterHead
from services.kv.api.kv import KvHead
from services.kv.api.lease import LeaseHead
from services.kv.api.maintenance import LeaderTransfer, MaintenanceHead
from services.kv.api.peer import LessorHead
from services.kv.api.watch import WatchHead
from services.kv.identity import Identity
from services.kv.lease.lessor import LeaderLink, Lessor, LessorTimes, ttl_min_s
from services.kv.reclaimer import Reclaimer
from services.kv.state_machine import KvStateMachine, Result
from services.kv.watch.hub import WatchHub

_log = logging.getLogger(__name__)

PUBLISH_RETRY_S = 0.2
"""Pause before a member tries again to tell the others its addresses."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a member can be told."""

    limits: RequestLimits = field(default_factory=RequestLimits)
    client_urls: tuple[str, ...] = ()
    progress_interval_s: float = 600.0
    """How often a watcher that asks for it hears that nothing happened (etcd: 10 min)."""
    etcd_version: str = "3.6.0"
    """What Status reports."""


def new_state_machine() -> KvStateMachine:
    """An empty state machine that keeps everything in memory."""
    return KvStateMachine()


class KvNode:
    """A member: its heads, its watchers, its leases, and the tasks that keep them going."""

    def __init__(
        self,
        machine: KvStateMachine,
        replica: Replicated[Result],
        identity: Identity,
        settings: NodeSettings,
        *,
        clock: Clock,
        random: Randomness,
        link: LeaderLink,
        transfer_leader: LeaderTransfer | None = None,
    ) -> None:
        self.machine = machine
        self.replica = replica
        self.identity = identity
        self.settings = settings
        limits = settings.limits
        shortest_s = ttl_min_s(limits.election_timeout_s)
        self.hub = WatchHub(lambda: machine.store)
        self.lessor = Lessor(
            replica,
            lambda: machine.store.leases,
            clock,
            LessorTimes(limits.request_timeout_s, limits.election_timeout_s, shortest_s),
            link,
        )
        machine.observe(self.hub)
        machine.observe(self.lessor)
        self.reclaimer = Reclaimer(lambda: machine.store)
        self.calls = Calls(replica, machine, identity, limits)
        self._kv = KvHead(self.calls, self.reclaimer)
        self._watch = WatchHead(self.calls, self.hub, random, progress_interval_s=settings.progress_interval_s)
        self._lease = LeaseHead(self.calls, self.lessor, random, ttl_min_s=shortest_s)
        self._cluster = ClusterHead(self.calls)
        self._maintenance = MaintenanceHead(self.calls, self.reclaimer, settings.etcd_version, transfer_leader)
        self._peer = LessorHead(self.lessor)
        self.has_caught_up = False
        """Whether this member has, since it started, once had everything that was acknowledged before."""

    def add_client_heads(self, server: aio.Server) -> None:
        """Registers the etcd API."""
        add_KVServicer_to_server(self._kv, server)
        add_WatchServicer_to_server(self._watch, server)
        add_LeaseServicer_to_server(self._lease, server)
        add_ClusterServicer_to_server(self._cluster, server)
        add_MaintenanceServicer_to_server(self._maintenance, server)

    def add_peer_heads(self, server: aio.Server) -> None:
        """Registers what the other members call."""
        add_LessorServicer_to_server(self._peer, server)

    def stop_streams(self) -> None:
        """Ends what would otherwise stay open as long as its client likes."""
        self._watch.stop()
        self._lease.stop()

    def tasks(self) -> tuple[Callable[[], Coroutine[None, None, None]], ...]:
        """What must run as long as the member does; each runs until cancelled, or its work is done."""
        return (self.lessor.run, self.reclaimer.run, self.publish)

    async def publish(self) -> None:
        """Tells the others this member's name and client addresses, when what they know differs."""
        member = self.identity.member
        wanted = MemberAttributes(id=member.id, name=member.name, client_urls=self.settings.client_urls)
        while True:
            try:
                # What is known must not be judged before the log has been read to its present end.
                await self.replica.read_barrier(timeout_s=self.settings.limits.request_timeout_s)
                self.has_caught_up = True
                if self.machine.members.get(member.id) == wanted:
                    return
                await self.replica.propose(
                    commands.encode(commands.MEMBER_ATTRIBUTES, wanted),
                    timeout_s=self.settings.limits.request_timeout_s,
                )
            except ReplicaError as error:
                _log.info("cannot tell the others about this member yet", extra={"reason": str(error)})
                await asyncio.sleep(PUBLISH_RETRY_S)
