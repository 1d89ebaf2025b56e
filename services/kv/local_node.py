"""A kv member for tests: all of the service but consensus and disk, behind real gRPC on a free loopback port.

async with LocalNode.start() as node:
    await node.kv.Put(PutRequest(key=b"a", value=b"1"))
    node.replica.set_leader(0)      # see cluster.replica.local for what it can be told to do
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from grpc import aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import (
    ClusterStub,
    KVStub,
    LeaseStub,
    MaintenanceStub,
    WatchStub,
)
from cluster.replica.local import LocalReplica
from runtime import Clock, Randomness
from services.kv.api.calls import RequestLimits
from services.kv.api.peer import GrpcLeaderLink
from services.kv.identity import Identity, identify
from services.kv.lease.lessor import LeaderLink
from services.kv.node import KvNode, NodeSettings, new_state_machine
from services.kv.state_machine import KvStateMachine, Result

if TYPE_CHECKING:
    from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import (
        ClusterAsyncStub,
        KVAsyncStub,
        LeaseAsyncStub,
        MaintenanceAsyncStub,
        WatchAsyncStub,
    )

GRPC_OVERHEAD_BYTES = 512 * 1024


class LocalNode:
    """The member and clients of each of its heads."""

    def __init__(self, node: KvNode, replica: LocalReplica[Result], channel: aio.Channel, address: str) -> None:
        self.node = node
        self.address = address
        """`host:port` of its client port, for clients of another service under test."""
        self.replica = replica
        self.channel = channel
        self.kv: KVAsyncStub = KVStub(channel)
        self.watch: WatchAsyncStub = WatchStub(channel)
        self.lease: LeaseAsyncStub = LeaseStub(channel)
        self.cluster: ClusterAsyncStub = ClusterStub(channel)
        self.maintenance: MaintenanceAsyncStub = MaintenanceStub(channel)

    @property
    def machine(self) -> KvStateMachine:
        """Its state machine."""
        return self.node.machine

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        *,
        clock: Clock,
        random: Randomness,
        settings: NodeSettings | None = None,
        link: LeaderLink | None = None,
    ) -> "AsyncIterator[LocalNode]":
        """Serves until the context ends. `link` is how it reaches another leader; by default there is none."""
        identity: Identity = identify("local", "kv-1", ["kv-1=127.0.0.1:1", "kv-2=127.0.0.1:2"])
        machine = new_state_machine()
        replica: LocalReplica[Result] = LocalReplica(machine, member_id=identity.member.id)
        node = KvNode(
            machine,
            replica,
            identity,
            settings or NodeSettings(limits=RequestLimits(), client_urls=("http://127.0.0.1:2379",)),
            clock=clock,
            random=random,
            link=link or GrpcLeaderLink(lambda _: None),
        )
        size_max = node.settings.limits.request_bytes_max + GRPC_OVERHEAD_BYTES
        server = aio.server(options=(("grpc.max_receive_message_length", size_max), ("grpc.so_reuseport", 0)))
        node.add_client_heads(server)
        node.add_peer_heads(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        tasks = [asyncio.create_task(task()) for task in node.tasks()]
        options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
        try:
            async with aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                yield cls(node, replica, channel, f"127.0.0.1:{port}")
        finally:
            await server.stop(None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
