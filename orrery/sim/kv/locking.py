"""Clients of locks by etcd's own recipe: a key with a lease, a place in the queue by its create revision, a watch of
the key before. The create revision is the fencing token, and what is protected is written only while that key stands.

Reference: etcd's client/v3/concurrency, session.go, mutex.go and key.go (waitDeletes).
"""

import asyncio
import random

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseRevokeRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import Event, KeyValue
from orrery.checkers.history import Json
from orrery.sim.kv import etcd
from orrery.sim.kv.access import Access
from orrery.sim.kv.leasing import Leases, keep_alive
from orrery.sim.kv.recording import Declined, Process, Unanswered

PREFIX = "k/"
"""Of all locks' queues."""
LOCKS = 2
TTL_S = 2
WAIT_S = 6.0
"""How long a client waits for its turn, and then goes away."""
WATCH_S = 2.0
"""How long one watch of the key before may take; then the queue is looked at again."""
HELD_MAX = 5
"""Uses of a lock by one holder."""


class LockClient:
    """One process."""

    def __init__(self, process: Process, access: Access, leases: Leases, source: random.Random) -> None:
        self._process = process
        self._access = access
        self._leases = leases
        self._source = source

    async def run(self, pause_s: float, stopping: asyncio.Event) -> None:
        """Works until it is to stop."""
        while not stopping.is_set():
            lock = str(self._source.randrange(LOCKS))
            lease = self._leases.new()
            given = await self._process.do("acquire", lock, None, self._acquire(lock, lease))
            if isinstance(given.value, int):
                await self._use(lock, lease, given.value, pause_s, stopping)
            await self._leave(lease)
            await asyncio.sleep(self._source.uniform(0, 2 * pause_s))

    async def _acquire(self, lock: str, lease: int) -> Json:
        """The token."""
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._queue(lock, lease)
        except (grpc.aio.AioRpcError, Unanswered, TimeoutError) as error:
            # Definite, whatever became of the key: a lock is given when its client tells itself so, and it never will.
            raise Declined(type(error).__name__) from error

    async def _queue(self, lock: str, lease: int) -> int:
        await self._access.lease.LeaseGrant(LeaseGrantRequest(ID=lease, TTL=TTL_S), timeout=self._access.timeout_s)
        prefix, key = f"{PREFIX}{lock}/", self._key(lock, lease)
        txn = TxnRequest(
            compare=[etcd.equal(key, "create_revision", 0)], success=[etcd.put(key, "", lease)], failure=[etcd.get(key)]
        )
        entered = await self._access.kv.Txn(txn, timeout=self._access.timeout_s)
        if entered.succeeded:
            token = entered.header.revision
        else:
            token = entered.responses[0].response_range.kvs[0].create_revision
        while (before := await self._before(prefix, token)) is not None:
            if await keep_alive(self._access, lease) == 0:
                raise Declined("the lease has ended")
            await self._gone(before[0].key, before[1])
        # A lease that ended meanwhile has taken the key along.
        own = await self._access.kv.Range(RangeRequest(key=key.encode()), timeout=self._access.timeout_s)
        if not own.kvs or own.kvs[0].create_revision != token:
            raise Declined("the lease has ended")
        return token

    async def _before(self, prefix: str, token: int) -> tuple[KeyValue, int] | None:
        """Who stands right before in the queue, and the revision of that look; None: nobody."""
        found = await self._access.kv.Range(
            RangeRequest(
                key=prefix.encode(),
                range_end=etcd.prefix_end(prefix),
                max_create_revision=token - 1,
                sort_order=RangeRequest.DESCEND,
                sort_target=RangeRequest.CREATE,
                limit=1,
            ),
            timeout=self._access.timeout_s,
        )
        return (found.kvs[0], found.header.revision) if found.kvs else None

    async def _gone(self, key: bytes, revision: int) -> None:
        """Waits until a key that was there at a revision is deleted, or for some time."""
        call = self._access.watch.Watch(timeout=WATCH_S)
        try:
            await call.write(WatchRequest(create_request=WatchCreateRequest(key=key, start_revision=revision + 1)))
            while True:
                response = await call.read()
                if not isinstance(response, WatchResponse) or response.canceled:
                    return
                if any(event.type == Event.DELETE for event in response.events):
                    return
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The queue is looked at again.
            return
        finally:
            call.cancel()

    async def _use(self, lock: str, lease: int, token: int, pause_s: float, stopping: asyncio.Event) -> None:
        for _ in range(self._source.randint(1, HELD_MAX)):
            if stopping.is_set():
                break
            await asyncio.sleep(self._source.uniform(0, 2 * pause_s))
            if self._source.random() < 0.3:
                try:
                    await keep_alive(self._access, lease)
                except (grpc.aio.AioRpcError, Unanswered):
                    continue
            written = await self._process.do(
                "fenced-write",
                lock,
                token,
                self._if_held(lock, lease, token, etcd.put(f"{PREFIX}{lock}.protected", str(token))),
            )
            if written.outcome == "fail":
                return
        if self._source.random() < 0.7:
            gone = self._if_held(lock, lease, token, etcd.delete(self._key(lock, lease)))
            await self._process.do("release", lock, token, gone)

    async def _if_held(self, lock: str, lease: int, token: int, step: RequestOp) -> Json:
        """Does something only while the holder's key stands."""
        compare = etcd.equal(self._key(lock, lease), "create_revision", token)
        done = await self._access.kv.Txn(TxnRequest(compare=[compare], success=[step]), timeout=self._access.timeout_s)
        if not done.succeeded:
            raise Declined("the key is gone")
        return None

    async def _leave(self, lease: int) -> None:
        """Ends the session, if that works: otherwise its lease does, some time later."""
        try:
            await self._access.lease.LeaseRevoke(LeaseRevokeRequest(ID=lease), timeout=self._access.timeout_s)
        except grpc.aio.AioRpcError:
            return

    def _key(self, lock: str, lease: int) -> str:
        return f"{PREFIX}{lock}/{lease:x}"
