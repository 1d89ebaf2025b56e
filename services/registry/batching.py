"""Plans that wait at the same time go to kv as one transaction, which costs it one entry of its log instead of many.

Each is a transaction of its own within that one: it is done or not by its own comparisons. kv decides all of them
before it writes anything, so two go together only if neither writes what the other writes or compares; otherwise both
could be done although, one after the other, the second would not be.

Nothing waits for company: what comes while IN_FLIGHT_MAX transactions are under way goes with the next one.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.clients.kv import KvClient, KvRefused, prefix_end
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from services.registry.catalogue import Key, KeyKind
from services.registry.planning import Plan, Write
from services.registry.records import PREFIX, encode_key, encode_prefix, encode_value

IN_FLIGHT_MAX = 2
"""Transactions under way."""
PLANS_MAX = 32
"""Of one transaction: with the largest plan they stay below the 128 operations that kv takes on a path."""
BYTES_MAX = 512 * 1024
"""Of one transaction that has several plans."""

_LOOK = RequestOp(request_range=RangeRequest(key=PREFIX, keys_only=True))
"""A read that finds nothing, so that a transaction without writes is answered by the leader's state."""


@dataclass(frozen=True, slots=True)
class Done:
    """What kv answered."""

    succeeded: bool
    revision: int
    is_repeated: bool


class _Waiting:
    """A plan, and who waits for it."""

    __slots__ = ("answer", "is_alone", "request", "size", "touches", "writes")

    def __init__(self, plan: Plan) -> None:
        self.request = request_of(plan)
        self.size = self.request.ByteSize()
        self.writes: set[Key] = set(plan.writes)
        self.touches: set[Key] = self.writes | plan.guards.keys()
        self.is_alone = bool(plan.empty_nodes)
        """It compares a range: what would have to stay out of it is not told by keys."""
        self.answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()


class Batches:
    """The transactions of one process."""

    def __init__(self, kv: KvClient) -> None:
        self._kv = kv
        self._waiting: deque[_Waiting] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self.plans = 0
        """Plans that were sent, since the start."""
        self.transactions = 0
        """Transactions in which they went."""

    async def commit(self, plan: Plan) -> Done:
        """Does a plan. Raises KvError."""
        waiting = _Waiting(plan)
        self._waiting.append(waiting)
        self._send_more()
        return await waiting.answer

    def _send_more(self) -> None:
        while self._waiting and len(self._sending) < IN_FLIGHT_MAX:
            task = asyncio.create_task(self._send(list(self._take())), name="registry-transaction")
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        self._send_more()

    def _take(self) -> Iterator[_Waiting]:
        """The first that waits, and those after it that can go with it."""
        first = self._waiting.popleft()
        yield first
        if first.is_alone:
            return
        writes, touches, size, count = set(first.writes), set(first.touches), first.size, 1
        while self._waiting and count < PLANS_MAX:
            following = self._waiting[0]
            size += following.size
            if following.is_alone or size > BYTES_MAX:
                return
            if not following.writes.isdisjoint(touches) or not following.touches.isdisjoint(writes):
                return
            writes |= following.writes
            touches |= following.touches
            count += 1
            yield self._waiting.popleft()

    async def _send(self, batch: list[_Waiting]) -> None:
        batch = [waiting for waiting in batch if not waiting.answer.done()]
        if not batch:
            return
        self.plans += len(batch)
        self.transactions += 1
        try:
            if len(batch) == 1:
                answered = await self._kv.txn(batch[0].request)
                succeeded = [answered.response.succeeded]
            else:
                request = TxnRequest(success=[RequestOp(request_txn=waiting.request) for waiting in batch])
                answered = await self._kv.txn(request)
                succeeded = [each.response_txn.succeeded for each in answered.response.responses]
        except KvRefused as refused:
            # kv refuses all for the sake of one, and has done nothing.
            if len(batch) > 1:
                await asyncio.gather(*(self._send([waiting]) for waiting in batch))
                return
            _fail(batch, refused)
        except BaseException as error:
            _fail(batch, error)
            if not isinstance(error, Exception):
                raise
        else:
            revision = answered.response.header.revision
            for waiting, done in zip(batch, succeeded, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(Done(done, revision, answered.is_repeated))


def _fail(batch: list[_Waiting], error: BaseException) -> None:
    for waiting in batch:
        if waiting.answer.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            waiting.answer.cancel()
        else:
            waiting.answer.set_exception(error)


def request_of(plan: Plan) -> TxnRequest:
    """A plan as a transaction."""
    return TxnRequest(
        compare=[
            *(
                Compare(key=encode_key(key), target=Compare.MOD, result=Compare.EQUAL, mod_revision=revision)
                for key, revision in plan.guards.items()
            ),
            *map(_is_empty, plan.empty_nodes),
        ],
        success=[_operation(write) for write in plan.writes.values()] or [_LOOK],
    )


def _operation(write: Write) -> RequestOp:
    key = encode_key(write.key)
    if write.value is None:
        return RequestOp(request_delete_range=DeleteRangeRequest(key=key))
    return RequestOp(request_put=PutRequest(key=key, value=encode_value(write.value), lease=write.lease))


def _is_empty(node: str) -> Compare:
    prefix = encode_prefix(KeyKind.INSTANCE, node)
    return Compare(
        key=prefix, range_end=prefix_end(prefix), target=Compare.CREATE, result=Compare.EQUAL, create_revision=0
    )
