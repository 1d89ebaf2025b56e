"""Answering RangeRequests from the store: at a revision, limited, filtered, sorted, counted.

The rules are those of etcd: a limit applies to what is left after filtering, `count` does not know of limit and
filters, and ties of a sort keep the order of keys.
"""

from collections.abc import Iterator
from itertools import islice

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest, RangeResponse
from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.kv.mvcc.store import Store
from services.kv.mvcc.wire import RANGE_RESPONSE_KVS, repeated

_SORT_KEYS = {
    RangeRequest.KEY: lambda pair: pair.key,
    RangeRequest.VERSION: lambda pair: pair.version,
    RangeRequest.CREATE: lambda pair: pair.create_revision,
    RangeRequest.MOD: lambda pair: pair.mod_revision,
    RangeRequest.VALUE: lambda pair: pair.value,
}


def key_range(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """A request's key and range_end as [low, high): no end is the one key, "\\0" is every key from `key` on."""
    if not range_end:
        return key, key + b"\0"
    if range_end == b"\0":
        return key, None
    return key, range_end


def read_range(store: Store, request: RangeRequest, current: int) -> RangeResponse:
    """The answer to a request; `current` is the newest revision to the reader. Raises Refused."""
    revision = store.check_revision(request.revision, current)
    low, high = key_range(request.key, request.range_end)
    if not request.range_end and revision >= current and not _needs_pairs(request):
        response = _read_key(store, request)
    elif request.count_only:
        response = RangeResponse(count=_count(store, low, high, revision, current))
    elif _needs_pairs(request):
        response = _read_pairs(store, request, low, high, revision, current)
    else:
        response = _read_records(store, request, low, high, revision, current)
    response.header.revision = current
    return response


def _needs_pairs(request: RangeRequest) -> bool:
    """Whether the records must be looked into to filter, sort or strip them."""
    return bool(
        request.keys_only
        or request.sort_target != RangeRequest.KEY
        or request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _read_key(store: Store, request: RangeRequest) -> RangeResponse:
    """One key at the current revision: what most requests ask for."""
    record = store.live_record(request.key)
    if record is None:
        return RangeResponse()
    if request.count_only:
        return RangeResponse(count=1)
    response = RangeResponse(count=1)
    response.kvs.add().MergeFromString(record)
    return response


def _count(store: Store, low: bytes, high: bytes | None, revision: int, current: int) -> int:
    if revision >= current:
        return store.live.count(low, high)
    return sum(1 for _ in store.records_at(low, high, revision, current))


def _read_records(
    store: Store, request: RangeRequest, low: bytes, high: bytes | None, revision: int, current: int
) -> RangeResponse:
    """The records as they are stored, in order of keys, without decoding them."""
    limit = request.limit if request.limit > 0 else None
    keys: Iterator[bytes]
    if revision >= current:
        count = store.live.count(low, high)
        items = store.live.items(low, high, reverse=request.sort_order == RangeRequest.DESCEND)
        chosen = [history.records[-1] for _, history in islice(items, limit)]
    else:
        everything = list(store.records_at(low, high, revision, current))
        count = len(everything)
        keys = reversed(everything) if request.sort_order == RangeRequest.DESCEND else iter(everything)
        chosen = list(islice(keys, limit))
    joined = repeated(RANGE_RESPONSE_KVS, [store.record(key) for key in chosen])
    response = RangeResponse.FromString(joined)
    response.count = count
    response.more = len(chosen) < count
    return response


def _read_pairs(
    store: Store, request: RangeRequest, low: bytes, high: bytes | None, revision: int, current: int
) -> RangeResponse:
    """The general way: every pair of the range is decoded, filtered and sorted."""
    pairs = [
        KeyValue.FromString(store.record(key)) for key in _candidates(store, request, low, high, revision, current)
    ]
    count = _count(store, low, high, revision, current)
    if request.max_mod_revision:
        pairs = [pair for pair in pairs if pair.mod_revision <= request.max_mod_revision]
    if request.min_mod_revision:
        pairs = [pair for pair in pairs if pair.mod_revision >= request.min_mod_revision]
    if request.max_create_revision:
        pairs = [pair for pair in pairs if pair.create_revision <= request.max_create_revision]
    if request.min_create_revision:
        pairs = [pair for pair in pairs if pair.create_revision >= request.min_create_revision]
    if request.sort_order != RangeRequest.NONE or request.sort_target != RangeRequest.KEY:
        pairs.sort(key=_SORT_KEYS[request.sort_target], reverse=request.sort_order == RangeRequest.DESCEND)
    more = 0 < request.limit < len(pairs)
    if more:
        del pairs[request.limit :]
    if request.keys_only:
        for pair in pairs:
            pair.ClearField("value")
    return RangeResponse(kvs=pairs, count=count, more=more)


def _candidates(
    store: Store, request: RangeRequest, low: bytes, high: bytes | None, revision: int, current: int
) -> Iterator[bytes]:
    """The records to look into: with neither order nor filter, one more than the limit suffices.

    An order of NONE with a target other than KEY is no order here, although what is found is then sorted: etcd does
    so, and clients see it.
    """
    keys = store.records_at(low, high, revision, current)
    filtered = (
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )
    in_key_order = request.sort_order == RangeRequest.NONE or (
        request.sort_order == RangeRequest.ASCEND and request.sort_target == RangeRequest.KEY
    )
    return islice(keys, request.limit + 1) if request.limit > 0 and in_key_order and not filtered else keys
