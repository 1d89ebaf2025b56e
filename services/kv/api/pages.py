"""A range in pages: RangeStream of etcd 3.7."""

from collections.abc import Iterator

from grpc import StatusCode

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest, RangeResponse
from services.kv.mvcc.ranges import read_range
from services.kv.mvcc.store import Store
from services.kv.refusals import Refusal, Refused

PAGE_BYTES_TARGET = 1024 * 1024
"""Pages grow and shrink around this size."""
FIRST_PAGE_PAIRS = 64
NO_SORT = Refusal(StatusCode.UNIMPLEMENTED, "RangeStream does not support custom sort orders")
NO_FILTER = Refusal(StatusCode.UNIMPLEMENTED, "RangeStream does not support revision filters")


def pages(store: Store, request: RangeRequest) -> Iterator[RangeResponse]:
    """The answer in pages, all at the revision of the first; header, `more` and `count` come with the last.

    Others may write between two pages. When the revision is compacted meanwhile, the next page is Refused.
    """
    if request.sort_order != RangeRequest.NONE and (
        request.sort_order != RangeRequest.ASCEND or request.sort_target != RangeRequest.KEY
    ):
        raise Refused(NO_SORT)
    if (
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    ):
        raise Refused(NO_FILTER)
    current = store.revision
    if request.count_only:
        yield read_range(store, request, current)
        return
    left = request.limit if request.limit > 0 else None
    pairs = FIRST_PAGE_PAIRS
    sent = 0
    query = RangeRequest()
    query.CopyFrom(request)
    query.revision = request.revision if request.revision > 0 else current
    while True:
        query.limit = pairs if left is None else min(pairs, left)
        page = read_range(store, query, store.revision)
        sent += len(page.kvs)
        if left is not None:
            left -= len(page.kvs)
        if not page.more or left == 0:
            page.header.revision = current
            page.count += sent - len(page.kvs)
            yield page
            return
        size = page.ByteSize()
        query.key = page.kvs[-1].key + b"\0"
        page.ClearField("header")
        page.ClearField("more")
        page.ClearField("count")
        yield page
        if size < PAGE_BYTES_TARGET // 2:
            pairs *= 2
        elif size > PAGE_BYTES_TARGET * 2:
            pairs = max(1, pairs // 2)
