"""Service discovery on etcd as people build it: an instance is a key with JSON, on a lease that its owner renews; who
asks reads the service's range; who wants to know watches it.
"""

import asyncio
import json
from collections.abc import Callable

import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    PutRequest,
    RangeRequest,
    WatchCreateRequest,
    WatchRequest,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, LeaseStub, WatchStub

TTL_S = 300


class Recipe:
    """A client on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._kv, self._lease, self._watch = KVStub(channel), LeaseStub(channel), WatchStub(channel)
        self.leases: list[int] = []

    async def register(self, service: str, instance: str, health: str = "passing") -> None:
        lease = (await self._lease.LeaseGrant(LeaseGrantRequest(TTL=TTL_S))).ID
        self.leases.append(lease)
        await self._put(service, instance, health, lease)

    async def change(self, service: str, instance: str, health: str) -> None:
        await self._put(service, instance, health, 0)

    async def _put(self, service: str, instance: str, health: str, lease: int) -> None:
        value = {
            "node": "node",
            "id": instance,
            "address": "10.1.2.3",
            "port": 8080,
            "tags": ["v1", "primary"],
            "health": health,
        }
        key = f"/services/{service}/{instance}".encode()
        await self._kv.Put(PutRequest(key=key, value=json.dumps(value).encode(), lease=lease))

    async def passing(self, service: str) -> int:
        key = f"/services/{service}/".encode()
        answer = await self._kv.Range(RangeRequest(key=key, range_end=key[:-1] + b"0"))
        return sum(json.loads(pair.value)["health"] == "passing" for pair in answer.kvs)

    async def beat(self) -> None:
        """Renews all leases on one stream."""
        call = self._lease.LeaseKeepAlive()

        async def write() -> None:
            for lease in self.leases:
                await call.write(LeaseKeepAliveRequest(ID=lease))

        writing = asyncio.create_task(write())
        for _ in self.leases:
            await call.read()
        await writing
        call.cancel()

    async def follow(self, service: str, told: Callable[[], None], ready: Callable[[], None]) -> None:
        key = f"/services/{service}/".encode()
        call = self._watch.Watch()
        await call.write(WatchRequest(create_request=WatchCreateRequest(key=key, range_end=key[:-1] + b"0")))
        while True:
            response = await call.read()
            if response.created:
                ready()
            for event in response.events:
                json.loads(event.kv.value)
                told()
