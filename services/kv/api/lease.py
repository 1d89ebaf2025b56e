"""etcdserverpb.Lease: keys that end when their owner does."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseStatus,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import LeaseServicer
from runtime import Randomness
from services.kv import commands
from services.kv.api.calls import Calls, Context, refuse
from services.kv.lease.lessor import Lessor
from services.kv.mvcc.leases import TTL_MAX_S
from services.kv.refusals import LEASE_TTL_TOO_LARGE, NO_LEADER, STOPPED, Refused

RENEWALS_MAX = 4096
"""Of one stream that are taken together."""
LEASE_ID_END = 1 << 63
"""Ids that the server chooses are positive signed 64-bit integers."""


class LeaseHead(LeaseServicer):
    """Serves the Lease service of etcd."""

    def __init__(self, calls: Calls, lessor: Lessor, random: Randomness, *, ttl_min_s: int) -> None:
        self._calls = calls
        self._lessor = lessor
        self._random = random
        self._ttl_min_s = ttl_min_s
        self._streams: dict[asyncio.Event, None] = {}
        self._is_stopped = False

    def stop(self) -> None:
        """Ends all streams: clients come back to another member."""
        self._is_stopped = True
        for end in self._streams:
            end.set()

    async def LeaseGrant(self, request: LeaseGrantRequest, context: Context) -> LeaseGrantResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._grant, request)

    async def LeaseRevoke(self, request: LeaseRevokeRequest, context: Context) -> LeaseRevokeResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._revoke, request)

    async def LeaseTimeToLive(  # noqa: N802, D102
        self, request: LeaseTimeToLiveRequest, context: Context
    ) -> LeaseTimeToLiveResponse:
        return await self._calls.unary(context, self._time_to_live, request)

    async def LeaseLeases(self, request: LeaseLeasesRequest, context: Context) -> LeaseLeasesResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._leases, request)

    async def LeaseKeepAlive(  # noqa: N802, D102
        self, request_iterator: AsyncIterator[LeaseKeepAliveRequest], context: Context
    ) -> AsyncIterator[LeaseKeepAliveResponse]:
        calls = self._calls
        lost = asyncio.Event()
        self._streams[lost] = None
        forget = None
        try:
            if calls.check_leader(context):
                forget = calls.gate.on_loss(lost.set)
            async for lease_ids in _batches(lost, request_iterator):
                # The header comes first: the revision must not be newer than the renewal.
                header = calls.header(calls.machine.store.revision)
                for lease_id, ttl_s in zip(lease_ids, await self._lessor.renew_all(lease_ids), strict=True):
                    yield LeaseKeepAliveResponse(header=header, ID=lease_id, TTL=ttl_s)
            if lost.is_set():
                raise Refused(STOPPED if self._is_stopped else NO_LEADER)
        except Refused as refused:
            await refuse(context, refused.refusal)
        finally:
            del self._streams[lost]
            if forget is not None:
                forget()

    async def _grant(self, request: LeaseGrantRequest) -> LeaseGrantResponse:
        if request.TTL > TTL_MAX_S:
            raise Refused(LEASE_TTL_TOO_LARGE)
        # What is random or configured is settled here; applying the command must give the same everywhere.
        command = LeaseGrantRequest(
            ID=request.ID or self._random.integer(1, LEASE_ID_END), TTL=max(request.TTL, self._ttl_min_s)
        )
        response = await self._calls.propose(commands.LEASE_GRANT, command, LeaseGrantResponse)
        self._calls.fill(response.header)
        return response

    async def _revoke(self, request: LeaseRevokeRequest) -> LeaseRevokeResponse:
        response = await self._calls.propose(commands.LEASE_REVOKE, request, LeaseRevokeResponse)
        self._calls.fill(response.header)
        return response

    async def _time_to_live(self, request: LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse:
        left = await self._lessor.time_left(request.ID, keys=request.keys)
        return LeaseTimeToLiveResponse(
            header=self._calls.header(self._calls.machine.store.revision),
            ID=request.ID,
            TTL=left.ttl_s,
            grantedTTL=left.granted_ttl_s,
            keys=left.keys,
        )

    async def _leases(self, request: LeaseLeasesRequest) -> LeaseLeasesResponse:
        await self._calls.barrier()
        store = self._calls.machine.store
        return LeaseLeasesResponse(
            header=self._calls.header(store.revision), leases=[LeaseStatus(ID=lease.id) for lease in store.leases]
        )


async def _batches(lost: asyncio.Event, requests: AsyncIterator[LeaseKeepAliveRequest]) -> AsyncIterator[Sequence[int]]:
    """The leases that are to be renewed, those together that have come meanwhile, until no more come or `lost` is set.

    A client may renew thousands on one stream; each by itself would wait for a round of heartbeats.
    """
    waiting: deque[int] = deque()
    come, room = asyncio.Event(), asyncio.Event()
    room.set()

    async def read() -> None:
        async for request in requests:
            waiting.append(request.ID)
            come.set()
            if len(waiting) >= RENEWALS_MAX:
                room.clear()
                await room.wait()

    reader = asyncio.create_task(read())
    reader.add_done_callback(lambda _: come.set())
    loss = asyncio.create_task(lost.wait())
    loss.add_done_callback(lambda _: come.set())
    try:
        while True:
            await come.wait()
            if lost.is_set():
                return
            come.clear()
            if waiting:
                batch = tuple(waiting)
                waiting.clear()
                room.set()
                yield batch
            if reader.done():
                # A stream that broke ends with its error.
                reader.result()
                if not waiting:
                    return
                come.set()
    finally:
        loss.cancel()
        reader.cancel()
        await asyncio.gather(loss, reader, return_exceptions=True)
