"""Clients of leases: they grant one, attach keys, keep it alive for a while, look, and revoke it or let it end."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator

import grpc

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
)
from orrery.checkers.history import Json
from orrery.sim.kv import etcd
from orrery.sim.kv.access import Access
from orrery.sim.kv.recording import Process, Unanswered

PREFIX = "e/"
"""Of all keys with a lease that are not a lock's."""
TTL_S = (2, 3, 5)
KEYS_MAX = 2


class Leases:
    """The leases of a run: who is who."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def new(self) -> int:
        """An id that no lease of this run had."""
        return next(self._ids)


async def keep_alive(access: Access, lease: int) -> int:
    """Renews a lease once; gives its TTL in seconds, 0 when there is none. Raises AioRpcError, Unanswered."""

    async def requests() -> AsyncIterator[LeaseKeepAliveRequest]:
        yield LeaseKeepAliveRequest(ID=lease)

    async for response in access.lease.LeaseKeepAlive(requests(), timeout=access.timeout_s):
        assert isinstance(response, LeaseKeepAliveResponse)
        return response.TTL
    raise Unanswered("no answer on the stream")


class LeaseClient:
    """One process."""

    def __init__(self, process: Process, access: Access, leases: Leases, source: random.Random) -> None:
        self._process = process
        self._access = access
        self._leases = leases
        self._source = source

    async def run(self, pause_s: float, stopping: asyncio.Event) -> None:
        """Works until it is to stop."""
        while not stopping.is_set():
            await self._live(stopping)
            await asyncio.sleep(self._source.uniform(0, 2 * pause_s))

    async def _live(self, stopping: asyncio.Event) -> None:
        """One lease, to its end or not."""
        source, lease = self._source, self._leases.new()
        ttl_s = source.choice(TTL_S)
        name, prefix = str(lease), f"{PREFIX}{lease}/"
        granted = await self._process.do("grant", name, {"ttl_s": ttl_s}, self._grant(lease, ttl_s))
        if granted.outcome != "ok":
            return
        for place in range(source.randint(1, KEYS_MAX)):
            await self._process.do("attach", name, f"{prefix}{place}", self._attach(lease, f"{prefix}{place}"))
        for _ in range(source.randint(0, 4)):
            if stopping.is_set():
                return
            await asyncio.sleep(source.uniform(0.2, 1.1 * ttl_s))
            if source.random() < 0.7:
                await self._process.do("keepalive", name, None, self._keep_alive(lease))
            else:
                await self._process.do("look", name, None, self._look(prefix))
        if source.random() < 0.4:
            await self._process.do("revoke", name, None, self._revoke(lease))
        await self._process.do("look", name, None, self._look(prefix))

    async def _grant(self, lease: int, ttl_s: int) -> Json:
        granted = await self._access.lease.LeaseGrant(
            LeaseGrantRequest(ID=lease, TTL=ttl_s), timeout=self._access.timeout_s
        )
        return {"ttl_s": granted.TTL}

    async def _attach(self, lease: int, key: str) -> Json:
        try:
            await self._access.kv.Put(
                PutRequest(key=key.encode(), value=b"x", lease=lease), timeout=self._access.timeout_s
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return {"there": False}
        return {"there": True}

    async def _keep_alive(self, lease: int) -> Json:
        return {"ttl_s": await keep_alive(self._access, lease)}

    async def _revoke(self, lease: int) -> Json:
        try:
            await self._access.lease.LeaseRevoke(LeaseRevokeRequest(ID=lease), timeout=self._access.timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return {"there": False}
        return {"there": True}

    async def _look(self, prefix: str) -> Json:
        found = await self._access.kv.Range(
            RangeRequest(key=prefix.encode(), range_end=etcd.prefix_end(prefix)), timeout=self._access.timeout_s
        )
        return {"keys": [each.key.decode() for each in found.kvs]}
