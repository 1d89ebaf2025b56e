"""etcdserverpb.Cluster: who is a member."""

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    Member,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import ClusterServicer
from services.kv.api.calls import Calls, Context, refuse
from services.kv.refusals import MEMBERSHIP_IS_CONFIGURED


class ClusterHead(ClusterServicer):
    """Serves the Cluster service of etcd, as far as it reads: the membership is that of the configuration."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def MemberList(self, request: MemberListRequest, context: Context) -> MemberListResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._list, request)

    async def MemberAdd(self, request: MemberAddRequest, context: Context) -> MemberAddResponse:  # noqa: N802, D102
        await refuse(context, MEMBERSHIP_IS_CONFIGURED)

    async def MemberRemove(self, request: MemberRemoveRequest, context: Context) -> MemberRemoveResponse:  # noqa: N802, D102
        await refuse(context, MEMBERSHIP_IS_CONFIGURED)

    async def MemberUpdate(self, request: MemberUpdateRequest, context: Context) -> MemberUpdateResponse:  # noqa: N802, D102
        await refuse(context, MEMBERSHIP_IS_CONFIGURED)

    async def MemberPromote(self, request: MemberPromoteRequest, context: Context) -> MemberPromoteResponse:  # noqa: N802, D102
        await refuse(context, MEMBERSHIP_IS_CONFIGURED)

    async def _list(self, request: MemberListRequest) -> MemberListResponse:
        if request.linearizable:
            await self._calls.barrier()
        attributes = self._calls.machine.members
        response = MemberListResponse(header=self._calls.header(0))
        for member in self._calls.identity.members:
            told = attributes.get(member.id)
            # A member that was never started has told nothing, and by that etcd's clients recognise it.
            response.members.append(
                Member(
                    ID=member.id,
                    name=told.name if told is not None else "",
                    peerURLs=[member.peer_url],
                    clientURLs=told.client_urls if told is not None else (),
                )
            )
        return response
