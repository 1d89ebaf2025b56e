"""Clients that put and read a few keys, each on a host of its own, and what they saw."""

import asyncio
import collections
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import PutRequest, RangeRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub
from orrery.sim.kv.cluster import CALL_TIMEOUT_S, KvCluster, connect
from orrery.sim.kv.revisions import Operation
from runtime import Runtime

if TYPE_CHECKING:
    from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVAsyncStub

KEYS = (b"a", b"b")


class Workload:
    """The clients of a cluster."""

    def __init__(self, cluster: KvCluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._running: list[asyncio.Future[None]] = []
        self._stopping = False
        self.history: list[Operation] = []
        self.writes = 0
        self.refusals: collections.Counter[str] = collections.Counter()
        """The status codes of calls without an answer."""

    def start(self) -> None:
        """Boots the clients."""
        self._running = [
            client.boot(lambda runtime, name=client.name: self._work(runtime, name))  # type: ignore[misc]
            for client in self._cluster.clients
        ]

    def stop(self) -> None:
        """Tells the clients to end."""
        self._stopping = True

    async def ended(self) -> None:
        """Waits until the clients have ended."""
        await asyncio.gather(*self._running)

    async def _work(self, runtime: Runtime, name: str) -> None:
        channels = [connect(runtime, member.name) for member in self._cluster.members]
        stubs: list[KVAsyncStub] = [KVStub(channel) for channel in channels]
        while not self._stopping:
            await self._operate(runtime, name, stubs[runtime.random.integer(0, len(stubs))])
            await asyncio.sleep(runtime.random.random() * 0.1)
        for each in channels:
            await each.close()

    async def _operate(self, runtime: Runtime, name: str, stub: "KVAsyncStub") -> None:
        key = KEYS[runtime.random.integer(0, len(KEYS))]
        is_put = runtime.random.random() < 0.5
        operation = Operation(name, key, self._world.virtual_s, is_put)
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
        operation.end_s = self._world.virtual_s
