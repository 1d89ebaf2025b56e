"""etcdserverpb.KV: keys and values."""

from collections.abc import AsyncIterator

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RangeStreamResponse,
    TxnRequest,
    TxnResponse,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVServicer
from services.kv import commands
from services.kv.api.calls import Calls, Context, refuse
from services.kv.api.pages import pages
from services.kv.checks import check_delete_range, check_put, check_range, check_txn
from services.kv.mvcc.ranges import read_range
from services.kv.mvcc.transactions import is_read_only, is_serializable, read_txn
from services.kv.reclaimer import Reclaimer
from services.kv.refusals import Refused


class KvHead(KVServicer):
    """Serves the KV service of etcd."""

    def __init__(self, calls: Calls, reclaimer: Reclaimer) -> None:
        self._calls = calls
        self._reclaimer = reclaimer

    async def Range(self, request: RangeRequest, context: Context) -> RangeResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._range, request)

    async def RangeStream(  # noqa: N802, D102
        self, request: RangeRequest, context: Context
    ) -> AsyncIterator[RangeStreamResponse]:
        calls = self._calls
        try:
            calls.check_leader(context)
            check_range(request)
            await (calls.may_read_locally() if request.serializable else calls.barrier())
            for page in pages(calls.machine.store, request):
                if page.HasField("header"):
                    calls.fill(page.header)
                yield RangeStreamResponse(range_response=page)
        except Refused as refused:
            await refuse(context, refused.refusal)

    async def Put(self, request: PutRequest, context: Context) -> PutResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._put, request)

    async def DeleteRange(self, request: DeleteRangeRequest, context: Context) -> DeleteRangeResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._delete_range, request)

    async def Txn(self, request: TxnRequest, context: Context) -> TxnResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._txn, request)

    async def Compact(self, request: CompactionRequest, context: Context) -> CompactionResponse:  # noqa: N802, D102
        return await self._calls.unary(context, self._compact, request)

    async def _range(self, request: RangeRequest) -> RangeResponse:
        check_range(request)
        await (self._calls.may_read_locally() if request.serializable else self._calls.barrier())
        store = self._calls.machine.store
        response = read_range(store, request, store.revision)
        self._calls.fill(response.header)
        return response

    async def _put(self, request: PutRequest) -> PutResponse:
        check_put(request)
        response = await self._calls.propose(commands.PUT, request, PutResponse)
        self._calls.fill(response.header)
        return response

    async def _delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        check_delete_range(request)
        response = await self._calls.propose(commands.DELETE_RANGE, request, DeleteRangeResponse)
        self._calls.fill(response.header)
        return response

    async def _txn(self, request: TxnRequest) -> TxnResponse:
        check_txn(request, self._calls.limits.txn_operations_max)
        if is_read_only(request):
            await (self._calls.may_read_locally() if is_serializable(request) else self._calls.barrier())
            response = read_txn(self._calls.machine.store, request)
        else:
            response = await self._calls.propose(commands.TXN, request, TxnResponse)
        self._calls.fill(response.header)
        return response

    async def _compact(self, request: CompactionRequest) -> CompactionResponse:
        response = await self._calls.propose(commands.COMPACT, request, CompactionResponse)
        if request.physical:
            await self._reclaimer.finished()
        self._calls.fill(response.header)
        return response
