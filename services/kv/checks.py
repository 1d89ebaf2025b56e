"""What is refused before anything is asked of the cluster, in etcd's order (its api/v3rpc/key.go).

The same checks run when a command is applied: a command in the log is outside input to a replica that reads it.
"""

from collections.abc import Sequence

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from services.kv.refusals import (
    DUPLICATE_KEY,
    EMPTY_KEY,
    INVALID_SORT_OPTION,
    KEY_NOT_FOUND,
    LEASE_PROVIDED,
    TOO_MANY_OPERATIONS,
    VALUE_PROVIDED,
    Refused,
)
from structures.interval_tree import IntervalTree

TXN_OPERATIONS_MAX = 128
"""etcd's default for the comparisons, and for the operations of each branch, of a transaction with all nested ones."""

_SORT_ORDERS = frozenset(RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(RangeRequest.SortTarget.values())


def check_range(request: RangeRequest) -> None:
    """Raises Refused."""
    if not request.key:
        raise Refused(EMPTY_KEY)
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise Refused(INVALID_SORT_OPTION)


def check_put(request: PutRequest) -> None:
    """Raises Refused."""
    if not request.key:
        raise Refused(EMPTY_KEY)
    if request.ignore_value and request.value:
        raise Refused(VALUE_PROVIDED)
    if request.ignore_lease and request.lease:
        raise Refused(LEASE_PROVIDED)


def check_delete_range(request: DeleteRangeRequest) -> None:
    """Raises Refused."""
    if not request.key:
        raise Refused(EMPTY_KEY)


def check_txn(request: TxnRequest, operations_max: int = TXN_OPERATIONS_MAX) -> None:
    """Raises Refused."""
    _check_operations(request, operations_max)
    _check_overlaps(request.success)
    _check_overlaps(request.failure)


def _check_operations(request: TxnRequest, operations_max: int) -> None:
    operations = max(len(request.compare), len(request.success), len(request.failure))
    if operations > operations_max:
        raise Refused(TOO_MANY_OPERATIONS)
    for compare in request.compare:
        if not compare.key:
            raise Refused(EMPTY_KEY)
    for branch in (request.success, request.failure):
        for op in branch:
            kind = op.WhichOneof("request")
            if kind == "request_range":
                check_range(op.request_range)
            elif kind == "request_put":
                check_put(op.request_put)
            elif kind == "request_delete_range":
                check_delete_range(op.request_delete_range)
            elif kind == "request_txn":
                _check_operations(op.request_txn, operations_max - operations)
            else:
                raise Refused(KEY_NOT_FOUND)


def _check_overlaps(ops: Sequence[RequestOp]) -> tuple[set[bytes], IntervalTree[int]]:
    """Refuses a branch that writes a key twice; the keys that it puts and the ranges that it deletes, otherwise.

    The two branches of a nested transaction may overlap each other, since only one of them is done.
    """
    deletions: IntervalTree[int] = IntervalTree()
    for op in ops:
        if op.HasField("request_delete_range"):
            # etcd takes the range as it is written here: one that goes "from a key on" overlaps nothing, and a
            # transaction may delete everything and then put something. Clients may rely on it, so it is kept.
            low = op.request_delete_range.key
            _add_range(deletions, low, op.request_delete_range.range_end or low + b"\0")
    puts: set[bytes] = set()
    for op in ops:
        if not op.HasField("request_txn"):
            continue
        success_puts, success_deletions = _check_overlaps(op.request_txn.success)
        failure_puts, failure_deletions = _check_overlaps(op.request_txn.failure)
        for key in success_puts:
            if key in puts or deletions.intersects(key, key + b"\0"):
                raise Refused(DUPLICATE_KEY)
        for key in failure_puts:
            if key in puts or deletions.intersects(key, key + b"\0"):
                raise Refused(DUPLICATE_KEY)
        puts |= success_puts
        puts |= failure_puts
        for nested in (success_deletions, failure_deletions):
            for low, high, _ in nested:
                if high is not None:
                    _add_range(deletions, low, high)
    for op in ops:
        if op.HasField("request_put"):
            key = op.request_put.key
            if key in puts or deletions.intersects(key, key + b"\0"):
                raise Refused(DUPLICATE_KEY)
            puts.add(key)
    return puts, deletions


def _add_range(deletions: IntervalTree[int], low: bytes, high: bytes) -> None:
    if low < high:
        deletions.add(low, high, len(deletions))
