"""etcdserverpb.Maintenance: how a member is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    DefragmentRequest,
    DefragmentResponse,
    DowngradeInfo,
    DowngradeRequest,
    DowngradeResponse,
    HashKVRequest,
    HashKVResponse,
    HashRequest,
    HashResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
    SnapshotRequest,
    SnapshotResponse,
    StatusRequest,
    StatusResponse,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import MaintenanceServicer
from services.kv.api.calls import Calls, Context, refuse
from services.kv.mvcc.hashing import RevisionHash, hash_records
from services.kv.reclaimer import Reclaimer
from services.kv.refusals import (
    ALARM_NOT_SUPPORTED,
    BAD_LEADER_TRANSFEREE,
    INVALID_ALARM_ACTION,
    NO_LEADER,
    NOT_LEADER,
    NOT_SUPPORTED,
    Refused,
)

LeaderTransfer = Callable[[int], Awaitable[None]]
"""Hands the lead to the member of that id. Raises Refused."""


class MaintenanceHead(MaintenanceServicer):
    """Serves the Maintenance service of etcd, as far as it applies here."""

    def __init__(
        self, calls: Calls, reclaimer: Reclaimer, version: str, transfer_leader: LeaderTransfer | None = None
    ) -> None:
        """`version` is the version of etcd whose API this is, as clients read it to know what they may use."""
        self._calls = calls
        self._reclaimer = reclaimer
        self._version = version
        self._transfer_leader = transfer_leader

    async def Alarm(self, request: AlarmRequest, context: Context) -> AlarmResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._alarm, request)

    async def Status(self, request: StatusRequest, context: Context) -> StatusResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._status, request)

    async def Defragment(self, request: DefragmentRequest, context: Context) -> DefragmentResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._defragment, request)

    async def Hash(self, request: HashRequest, context: Context) -> HashResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._hash, request)

    async def HashKV(self, request: HashKVRequest, context: Context) -> HashKVResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._hash_kv, request)

    async def MoveLeader(self, request: MoveLeaderRequest, context: Context) -> MoveLeaderResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._move_leader, request)

    async def Snapshot(self, request: SnapshotRequest, context: Context) -> AsyncIterator[SnapshotResponse]:  # noqa: N802, D102
        for part in await self._snapshot(context):
            yield part

    async def Downgrade(self, request: DowngradeRequest, context: Context) -> DowngradeResponse:  # noqa: N802, D102
        await refuse(context, NOT_SUPPORTED)

    async def _snapshot(self, context: Context) -> list[SnapshotResponse]:
        """etcd's snapshot is a file of its own storage engine, which only etcd can restore. We have none to give."""
        await refuse(context, NOT_SUPPORTED)

    async def _alarm(self, request: AlarmRequest) -> AlarmResponse:
        """There are no alarms, so none is listed or cleared."""
        if request.action == AlarmRequest.ACTIVATE:
            raise Refused(ALARM_NOT_SUPPORTED)
        if request.action not in (AlarmRequest.GET, AlarmRequest.DEACTIVATE):
            raise Refused(INVALID_ALARM_ACTION)
        # etcd sends it through the log, and clients use it to see whether the member can reach a quorum.
        await self._calls.barrier()
        return AlarmResponse(header=self._calls.header(self._calls.machine.store.revision))

    async def _status(self, request: StatusRequest) -> StatusResponse:
        store = self._calls.machine.store
        status = self._calls.replica.status
        size_bytes = store.engine.size_bytes
        return StatusResponse(
            header=self._calls.header(store.revision),
            version=self._version,
            dbSize=size_bytes,
            dbSizeInUse=size_bytes,
            leader=status.leader,
            raftIndex=status.commit_index,
            raftTerm=status.term,
            raftAppliedIndex=status.applied_index,
            errors=() if status.leader else (NO_LEADER.message,),
            storageVersion=".".join([*self._version.split(".")[:2], "0"]),
            downgradeInfo=DowngradeInfo(),
        )

    async def _defragment(self, request: DefragmentRequest) -> DefragmentResponse:
        """Space is reused as it becomes free; what is left to do is to finish freeing it."""
        await self._reclaimer.finished()
        return DefragmentResponse()

    async def _hash(self, request: HashRequest) -> HashResponse:
        found = await self._hash_at(0)
        return HashResponse(header=self._calls.header(found.revision), hash=found.value)

    async def _hash_kv(self, request: HashKVRequest) -> HashKVResponse:
        current = self._calls.machine.store.revision
        found = await self._hash_at(request.revision)
        return HashKVResponse(
            header=self._calls.header(current),
            hash=found.value,
            compact_revision=found.compact_revision,
            hash_revision=found.revision,
        )

    async def _hash_at(self, revision: int) -> RevisionHash:
        steps = hash_records(self._calls.machine.store, max(0, revision))
        try:
            for found in steps:
                if found is not None:
                    return found
                await asyncio.sleep(0)
        finally:
            steps.close()
        raise AssertionError("the last step yields the hash")

    async def _move_leader(self, request: MoveLeaderRequest) -> MoveLeaderResponse:
        if not self._calls.replica.leadership.is_self:
            raise Refused(NOT_LEADER)
        if self._calls.identity.by_id(request.targetID) is None:
            raise Refused(BAD_LEADER_TRANSFEREE)
        if self._transfer_leader is None:
            raise Refused(NOT_SUPPORTED)
        await self._transfer_leader(request.targetID)
        return MoveLeaderResponse()
