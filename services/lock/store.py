"""The transactions on places. Each may be sent twice, and does the same as once: see `cluster.clients.kv`.

A place is never written but by a comparison with what was last read of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cluster.clients.kv import KvClient, prefix_end
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.lock.names import queue_prefix
from services.lock.queue import Entry
from services.lock.records import decode_place, encode_place, entry_of
from services.lock.refusals import SessionGone, Superseded

LOOK_ALONE = 1
"""Places that one who wants to be alone must see to know whether it is."""
LOOK_TOGETHER = 256
"""Places that one who can hold with others looks at before it follows the whole queue."""


@dataclass(frozen=True, slots=True)
class Look:
    """The head of a queue at one revision."""

    entries: Sequence[Entry]
    count: int
    """Places in the whole queue."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A place, and the head of its queue in the same moment."""

    pair: KeyValue
    look: Look


@dataclass(frozen=True, slots=True)
class Changed:
    """The place was changed: its new modification revision."""

    mod_revision: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The place was not what it was thought to be, and is this now; None: it is not there."""

    pair: KeyValue | None
    is_repeated: bool
    """The same transaction may have been done before: what it finds may be its own doing."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A session as the present stream knows it.

    Another stream that goes on with the session writes its record anew. What an earlier stream began, and kv does
    later, compares with the record as it was, and is void.
    """

    lease: int
    key: bytes
    """Of the session's record."""
    revision: int
    """Its modification revision."""


class PlaceStore:
    """Places in kv. Raises Superseded where another stream has gone on with the session."""

    def __init__(self, kv: KvClient) -> None:
        self._kv = kv

    async def enqueue(self, name: str, key: bytes, mark: Mark, value: bytes, look_max: int) -> Placed:
        """Takes a place at the end of the queue, unless there is one under this key already. Raises KvError.

        With `look_max` 0 the head of the queue is not looked at: kv sorts all of it for that, on each member.
        """
        look = [_look(name, look_max)] if look_max else []
        answer = await self._kv.txn(
            TxnRequest(
                compare=[_created(key, 0), _modified(mark.key, mark.revision)],
                success=[_put(key, value, mark.lease), *look],
                failure=[_get(key), _get(mark.key), *look],
            )
        )
        response = answer.response
        head = _looked(response.responses[-1].response_range) if look else Look((), 0)
        if response.succeeded:
            return Placed(_created_pair(key, value, mark.lease, response), head)
        _check_mark(mark, response.responses[1].response_range)
        return Placed(response.responses[0].response_range.kvs[0], head)

    async def enqueue_alone(self, name: str, key: bytes, mark: Mark, value: bytes) -> Placed | Moved:
        """Takes a place if the queue is empty; what is under this key otherwise. Raises KvError."""
        prefix = queue_prefix(name)
        empty = Compare(
            key=prefix, range_end=prefix_end(prefix), target=Compare.CREATE, result=Compare.EQUAL, create_revision=0
        )
        answer = await self._kv.txn(
            TxnRequest(
                compare=[empty, _modified(mark.key, mark.revision)],
                success=[_put(key, value, mark.lease)],
                failure=[_get(key), _get(mark.key)],
            )
        )
        response = answer.response
        if response.succeeded:
            pair = _created_pair(key, value, mark.lease, response)
            return Placed(pair, Look((entry_of(pair),), 1))
        _check_mark(mark, response.responses[1].response_range)
        return Moved(_first(response.responses[0].response_range), answer.is_repeated)

    async def look(self, name: str, key: bytes, look_max: int) -> tuple[KeyValue | None, Look]:
        """The place under a key, and the head of its queue, without changing anything. Raises KvError."""
        answer = await self._kv.txn(TxnRequest(success=[_get(key), _look(name, look_max)]))
        place, head = answer.response.responses
        return _first(place.response_range), _looked(head.response_range)

    async def change(self, key: bytes, lease: int, value: bytes, mod_revision: int) -> Changed | Moved:
        """Gives a place another value. Raises KvError."""
        answer = await self._kv.txn(
            TxnRequest(compare=[_modified(key, mod_revision)], success=[_put(key, value, lease)], failure=[_get(key)])
        )
        if answer.response.succeeded:
            return Changed(answer.response.header.revision)
        return Moved(_first(answer.response.responses[0].response_range), answer.is_repeated)

    async def remove(self, key: bytes, mod_revision: int) -> Changed | Moved:
        """Removes a place. Raises KvError."""
        answer = await self._kv.txn(
            TxnRequest(
                compare=[_modified(key, mod_revision)],
                success=[RequestOp(request_delete_range=DeleteRangeRequest(key=key))],
                failure=[_get(key)],
            )
        )
        if answer.response.succeeded:
            return Changed(answer.response.header.revision)
        return Moved(_first(answer.response.responses[0].response_range), answer.is_repeated)

    async def read(self, key: bytes) -> KeyValue | None:
        """A place. Raises KvError."""
        return _first(await self._kv.range(RangeRequest(key=key)))

    async def remove_hold(self, key: bytes, mark: Mark, hold_id: int) -> bool:
        """Removes one hold from a place, and the place with the last; False when it changed meanwhile.

        Raises KvError, Superseded.
        """
        answer = await self._kv.txn(TxnRequest(success=[_get(key), _get(mark.key)]))
        place, session = answer.response.responses
        _check_mark(mark, session.response_range)
        pair = _first(place.response_range)
        record = decode_place(pair.value) if pair is not None else None
        if pair is None or record is None or hold_id not in record.holds:
            return True
        holds = tuple(hold for hold in record.holds if hold != hold_id)
        if holds:
            value = encode_place(msgspec.structs.replace(record, holds=holds))
            return isinstance(await self.change(key, pair.lease, value, pair.mod_revision), Changed)
        return isinstance(await self.remove(key, pair.mod_revision), Changed)


def _created_pair(key: bytes, value: bytes, lease: int, response: TxnResponse) -> KeyValue:
    revision = response.header.revision
    return KeyValue(key=key, value=value, lease=lease, create_revision=revision, mod_revision=revision)


def _check_mark(mark: Mark, response: RangeResponse) -> None:
    session = _first(response)
    if session is None:
        raise SessionGone("the session is over: its record is gone")
    if session.mod_revision != mark.revision:
        raise Superseded


def _created(key: bytes, revision: int) -> Compare:
    return Compare(key=key, target=Compare.CREATE, result=Compare.EQUAL, create_revision=revision)


def _modified(key: bytes, revision: int) -> Compare:
    return Compare(key=key, target=Compare.MOD, result=Compare.EQUAL, mod_revision=revision)


def _put(key: bytes, value: bytes, lease: int) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, lease=lease))


def _get(key: bytes) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key))


def _look(name: str, look_max: int) -> RequestOp:
    prefix = queue_prefix(name)
    return RequestOp(
        request_range=RangeRequest(
            key=prefix,
            range_end=prefix_end(prefix),
            limit=look_max,
            sort_target=RangeRequest.CREATE,
            sort_order=RangeRequest.ASCEND,
        )
    )


def _looked(response: RangeResponse) -> Look:
    return Look([entry_of(pair) for pair in response.kvs], response.count)


def _first(response: RangeResponse) -> KeyValue | None:
    return response.kvs[0] if response.kvs else None
