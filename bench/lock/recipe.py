"""etcd's lock recipe in Python, as client libraries have it: the opponent.

A key below the lock's name on a lease; who has the lowest create revision holds; everybody else watches the key right
before its own, and looks again when that is gone.
"""

import asyncio
from collections.abc import Callable

import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
    WatchRequest,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, LeaseStub, WatchStub
from cluster.pb.etcd.mvccpb.kv_pb2 import Event

TTL_S = 60


class RecipeLock:
    """One contender: a lease, and a lock on it."""

    def __init__(self, channel: grpc.aio.Channel, on_event: Callable[[int], None]) -> None:
        self._kv, self._lease, self._watch = KVStub(channel), LeaseStub(channel), WatchStub(channel)
        self._on_event = on_event
        self._id = 0

    async def open(self) -> None:
        self._id = (await self._lease.LeaseGrant(LeaseGrantRequest(TTL=TTL_S))).ID

    async def acquire(self, name: str) -> bytes:
        prefix = name.encode() + b"/"
        end = name.encode() + b"0"
        key = prefix + b"%x" % self._id
        first = RangeRequest(
            key=prefix, range_end=end, limit=1, sort_target=RangeRequest.CREATE, sort_order=RangeRequest.ASCEND
        )
        answer = await self._kv.Txn(
            TxnRequest(
                compare=[Compare(key=key, target=Compare.CREATE, create_revision=0)],
                success=[
                    RequestOp(request_put=PutRequest(key=key, lease=self._id)),
                    RequestOp(request_range=first),
                ],
                failure=[RequestOp(request_range=RangeRequest(key=key)), RequestOp(request_range=first)],
            )
        )
        revision = answer.header.revision
        if answer.responses[1].response_range.kvs[0].create_revision == revision:
            return key
        before = RangeRequest(
            key=prefix,
            range_end=end,
            limit=1,
            sort_target=RangeRequest.CREATE,
            sort_order=RangeRequest.DESCEND,
            max_create_revision=revision - 1,
        )
        while True:
            found = await self._kv.Range(before)
            if not found.kvs:
                break
            await self._until_gone(found.kvs[0].key, found.header.revision)
        # The recipe makes sure that its own key is still there.
        assert (await self._kv.Range(RangeRequest(key=key))).kvs
        return key

    async def _until_gone(self, key: bytes, revision: int) -> None:
        call = self._watch.Watch()
        try:
            create = WatchCreateRequest(key=key, start_revision=revision)
            await call.write(WatchRequest(create_request=create))
            while True:
                response = await call.read()
                self._on_event(len(response.events))
                if any(event.type == Event.DELETE for event in response.events):
                    return
        finally:
            call.cancel()
            await asyncio.sleep(0)

    async def release(self, key: bytes) -> None:
        await self._kv.DeleteRange(DeleteRangeRequest(key=key))
