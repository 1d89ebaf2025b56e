"""The lessor for other members: orrery.kv.v1.Lessor on the peer port, and its client."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from grpc import aio

from cluster.pb.orrery.kv.v1.lessor_pb2 import (
    LeaseRenewRequest,
    LeaseRenewResponse,
    LeaseTimeLeftRequest,
    LeaseTimeLeftResponse,
)
from cluster.pb.orrery.kv.v1.lessor_pb2_grpc import LessorServicer, LessorStub

if TYPE_CHECKING:
    from cluster.pb.orrery.kv.v1.lessor_pb2_grpc import LessorAsyncStub
from services.kv.api.calls import Context, refuse
from services.kv.lease.lessor import Lessor, NotTimekeeper, TimeLeft
from services.kv.refusals import NOT_LEADER

ATTEMPT_TIMEOUT_S = 2.0
"""Of one call; the lessor then asks again who leads."""


class LessorHead(LessorServicer):
    """Answers for the leases whose time this member keeps."""

    def __init__(self, lessor: Lessor) -> None:
        self._lessor = lessor

    async def LeaseRenew(self, request: LeaseRenewRequest, context: Context) -> LeaseRenewResponse:  # noqa: N802, D102
        try:
            return LeaseRenewResponse(ttl_s=await self._lessor.renew_here(request.id))
        except NotTimekeeper:
            await refuse(context, NOT_LEADER)

    async def LeaseTimeToLive(self, request: LeaseTimeLeftRequest, context: Context) -> LeaseTimeLeftResponse:  # noqa: N802, D102
        try:
            left = await self._lessor.time_left_here(request.id, keys=request.keys)
        except NotTimekeeper:
            await refuse(context, NOT_LEADER)
        return LeaseTimeLeftResponse(ttl_s=left.ttl_s, granted_ttl_s=left.granted_ttl_s, keys=left.keys)


class GrpcLeaderLink:
    """A `LeaderLink` over gRPC channels to the peers."""

    def __init__(self, channel: Callable[[int], aio.Channel | None]) -> None:
        """`channel` gives the channel to a member, None when it is not known."""
        self._channel = channel

    async def renew(self, member_id: int, lease_id: int) -> int:
        """As `Lessor.renew_here`, at that member. Raises NotTimekeeper."""
        stub = self._stub(member_id)
        try:
            response = await stub.LeaseRenew(LeaseRenewRequest(id=lease_id), timeout=ATTEMPT_TIMEOUT_S)
        except aio.AioRpcError as error:
            raise _not_timekeeper(error) from error
        return response.ttl_s

    async def time_left(self, member_id: int, lease_id: int, *, keys: bool) -> TimeLeft:
        """As `Lessor.time_left_here`, at that member. Raises NotTimekeeper."""
        stub = self._stub(member_id)
        try:
            response = await stub.LeaseTimeToLive(
                LeaseTimeLeftRequest(id=lease_id, keys=keys), timeout=ATTEMPT_TIMEOUT_S
            )
        except aio.AioRpcError as error:
            raise _not_timekeeper(error) from error
        return TimeLeft(response.ttl_s, response.granted_ttl_s, tuple(response.keys))

    def _stub(self, member_id: int) -> "LessorAsyncStub":
        channel = self._channel(member_id)
        if channel is None:
            raise NotTimekeeper
        return LessorStub(channel)


def _not_timekeeper(error: aio.AioRpcError) -> NotTimekeeper:
    return NotTimekeeper(f"the leader answered {error.code().name}")
