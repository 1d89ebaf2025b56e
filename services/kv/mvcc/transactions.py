"""Doing puts, deletions and transactions on the store, by etcd's rules.

A transaction is decided before anything is written: first which branch is taken, in nested transactions too, all
against the state before it; then whether every operation of the branches taken can be done. Only then does it run, and
cannot fail.
"""

from collections.abc import Iterator, Sequence

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.kv.mvcc.history import KeyHistory
from services.kv.mvcc.ranges import key_range, read_range
from services.kv.mvcc.store import Store, WriteTransaction
from services.kv.mvcc.wire import DELETE_RANGE_RESPONSE_PREV_KVS, repeated
from services.kv.refusals import COMPACTED, FUTURE_REVISION, KEY_NOT_FOUND, LEASE_NOT_FOUND, Refused

_Path = Iterator[bool]
"""Branches still to be taken, in the order of `decide`."""
_ABSENT = KeyHistory()
"""Compared with when a key does not exist: all of its attributes are 0."""


def put(store: Store, transaction: WriteTransaction, request: PutRequest) -> PutResponse:
    """Does a put that `check_put` allows."""
    response = PutResponse()
    value, lease = request.value, request.lease
    if request.prev_kv or request.ignore_value or request.ignore_lease:
        record = store.live_record(request.key)
        # A nested transaction may have deleted the key since the check: it then keeps nothing.
        previous = KeyValue() if record is None else KeyValue.FromString(record)
        if request.ignore_value:
            value = previous.value
        if request.ignore_lease:
            lease = previous.lease
        if request.prev_kv and record is not None:
            response.prev_kv.CopyFrom(previous)
    transaction.put(request.key, value, lease)
    response.header.revision = transaction.main
    return response


def check_put(store: Store, request: PutRequest) -> None:
    """Whether a put can be done in the present state. Raises Refused."""
    _check_lease(store, request)
    _check_kept(store, request)


def _check_lease(store: Store, request: PutRequest) -> None:
    if request.lease and store.leases.get(request.lease) is None:
        raise Refused(LEASE_NOT_FOUND)


def _check_kept(store: Store, request: PutRequest) -> None:
    if (request.ignore_value or request.ignore_lease) and request.key not in store.live:
        raise Refused(KEY_NOT_FOUND)


def delete_range(store: Store, transaction: WriteTransaction, request: DeleteRangeRequest) -> DeleteRangeResponse:
    """Deletes a range."""
    low, high = key_range(request.key, request.range_end)
    if request.prev_kv:
        records = [store.record(history.records[-1]) for _, history in store.live.items(low, high)]
        response = DeleteRangeResponse.FromString(repeated(DELETE_RANGE_RESPONSE_PREV_KVS, records))
    else:
        response = DeleteRangeResponse()
    response.deleted = transaction.delete_range(low, high)
    response.header.revision = transaction.revision
    return response


def txn(store: Store, transaction: WriteTransaction, request: TxnRequest) -> TxnResponse:
    """Does a transaction, as a part of `transaction`. Raises Refused, and has then done nothing."""
    chosen = decide(store, request)
    # All puts come before all ranges, which decides what a client hears when both are wrong.
    _check_puts(store, request, iter(chosen))
    _check_ranges(store, request, iter(chosen))
    response = _run(store, transaction, request, iter(chosen))
    response.header.revision = transaction.revision
    return response


def read_txn(store: Store, request: TxnRequest) -> TxnResponse:
    """Answers a transaction that only reads. Raises Refused."""
    return txn(store, WriteTransaction(store), request)


def is_read_only(request: TxnRequest) -> bool:
    """Whether a transaction consists of ranges alone. One with a nested transaction counts as writing, as in etcd."""
    return all(op.WhichOneof("request") == "request_range" for ops in (request.success, request.failure) for op in ops)


def is_serializable(request: TxnRequest) -> bool:
    """Whether a transaction that only reads may be served from a state that is behind."""
    return all(op.request_range.serializable for ops in (request.success, request.failure) for op in ops)


def decide(store: Store, request: TxnRequest) -> list[bool]:
    """Which branch each transaction takes: of the request itself, then of those nested in that branch, depth first."""
    succeeds = all(_holds(store, compare) for compare in request.compare)
    path = [succeeds]
    for op in request.success if succeeds else request.failure:
        if op.HasField("request_txn"):
            path.extend(decide(store, op.request_txn))
    return path


def _holds(store: Store, compare: Compare) -> bool:
    low, high = key_range(compare.key, compare.range_end)
    if not compare.range_end:
        history = store.live.get(low)
        histories = [] if history is None else [history]
    else:
        histories = [history for _, history in store.live.items(low, high)]
    if not histories:
        # A value that is missing cannot be told from an empty one on the wire, so comparing it never holds.
        return compare.target != Compare.VALUE and _attribute_holds(compare, _ABSENT)
    if compare.target == Compare.VALUE:
        return all(_value_holds(compare, store.record(history.records[-1])) for history in histories)
    return all(_attribute_holds(compare, history) for history in histories)


def _attribute_holds(compare: Compare, history: KeyHistory) -> bool:
    if compare.target == Compare.VERSION:
        found, wanted = history.version, compare.version
    elif compare.target == Compare.CREATE:
        found, wanted = history.create_revision, compare.create_revision
    elif compare.target == Compare.MOD:
        found, wanted = history.mod_revision if history.records else 0, compare.mod_revision
    elif compare.target == Compare.LEASE:
        found, wanted = history.lease, compare.lease
    else:
        found = wanted = 0
    return _ordered(compare, (found > wanted) - (found < wanted))


def _value_holds(compare: Compare, record: bytes) -> bool:
    found, wanted = KeyValue.FromString(record).value, compare.value
    return _ordered(compare, (found > wanted) - (found < wanted))


def _ordered(compare: Compare, order: int) -> bool:
    if compare.result == Compare.EQUAL:
        return order == 0
    if compare.result == Compare.NOT_EQUAL:
        return order != 0
    if compare.result == Compare.GREATER:
        return order > 0
    if compare.result == Compare.LESS:
        return order < 0
    return True


def _branch(request: TxnRequest, succeeds: bool) -> Sequence[RequestOp]:
    return request.success if succeeds else request.failure


def _check_puts(store: Store, request: TxnRequest, path: _Path) -> None:
    for op in _branch(request, next(path)):
        kind = op.WhichOneof("request")
        if kind == "request_put":
            # The other way round than for a put by itself: etcd 3.4 does so, and clients were written against it.
            _check_kept(store, op.request_put)
            _check_lease(store, op.request_put)
        elif kind == "request_txn":
            _check_puts(store, op.request_txn, path)


def _check_ranges(store: Store, request: TxnRequest, path: _Path) -> None:
    for op in _branch(request, next(path)):
        kind = op.WhichOneof("request")
        if kind == "request_range":
            revision = op.request_range.revision
            if revision > store.revision:
                raise Refused(FUTURE_REVISION)
            if revision != 0 and revision < store.compact_revision:
                raise Refused(COMPACTED)
        elif kind == "request_txn":
            _check_ranges(store, op.request_txn, path)


def _run(store: Store, transaction: WriteTransaction, request: TxnRequest, path: _Path) -> TxnResponse:
    succeeds = next(path)
    response = TxnResponse(succeeded=succeeds)
    response.header.SetInParent()
    for op in _branch(request, succeeds):
        kind = op.WhichOneof("request")
        answer = response.responses.add()
        if kind == "request_range":
            answer.response_range.CopyFrom(read_range(store, op.request_range, transaction.revision))
        elif kind == "request_put":
            answer.response_put.CopyFrom(put(store, transaction, op.request_put))
        elif kind == "request_delete_range":
            answer.response_delete_range.CopyFrom(delete_range(store, transaction, op.request_delete_range))
        elif kind == "request_txn":
            answer.response_txn.CopyFrom(_run(store, transaction, op.request_txn, path))
    return response
