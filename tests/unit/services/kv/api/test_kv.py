"""The KV head over real gRPC: what it answers, and etcd's code and message for everything that it refuses."""

import asyncio

import pytest
from google.protobuf.message import Message
from grpc import StatusCode, aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from cluster.replica.interface import NoLeader, Overloaded, ProposalTimeout, ReplicaError, ReplicaStopped
from services.kv.local_node import LocalNode

PUT_A = RequestOp(request_put=PutRequest(key=b"a", value=b"1"))
DELETE_MANY = RequestOp(request_delete_range=DeleteRangeRequest(key=b"\0", range_end=b"b"))
DELETE_ALL = RequestOp(request_delete_range=DeleteRangeRequest(key=b"\0", range_end=b"\0"))


def nested(op: RequestOp, *, failure: bool = False) -> RequestOp:
    return RequestOp(request_txn=TxnRequest(failure=[op]) if failure else TxnRequest(success=[op]))


REFUSED: list[tuple[str, Message, StatusCode, str]] = [
    ("Range", RangeRequest(), StatusCode.INVALID_ARGUMENT, "key is not provided"),
    ("Put", PutRequest(value=b"x"), StatusCode.INVALID_ARGUMENT, "key is not provided"),
    ("DeleteRange", DeleteRangeRequest(), StatusCode.INVALID_ARGUMENT, "key is not provided"),
    ("Range", RangeRequest(key=b"a", sort_order=7), StatusCode.INVALID_ARGUMENT, "invalid sort option"),  # type: ignore[arg-type]
    ("Range", RangeRequest(key=b"a", sort_target=9), StatusCode.INVALID_ARGUMENT, "invalid sort option"),  # type: ignore[arg-type]
    (
        "Range",
        RangeRequest(key=b"a", revision=99),
        StatusCode.OUT_OF_RANGE,
        "mvcc: required revision is a future revision",
    ),
    (
        "Range",
        RangeRequest(key=b"a", revision=2),
        StatusCode.OUT_OF_RANGE,
        "mvcc: required revision has been compacted",
    ),
    ("Put", PutRequest(key=b"a", value=b"x", ignore_value=True), StatusCode.INVALID_ARGUMENT, "value is provided"),
    ("Put", PutRequest(key=b"a", lease=1, ignore_lease=True), StatusCode.INVALID_ARGUMENT, "lease is provided"),
    ("Put", PutRequest(key=b"none", ignore_value=True), StatusCode.INVALID_ARGUMENT, "key not found"),
    ("Put", PutRequest(key=b"none", ignore_lease=True), StatusCode.INVALID_ARGUMENT, "key not found"),
    ("Put", PutRequest(key=b"a", lease=12345), StatusCode.NOT_FOUND, "requested lease not found"),
    ("Put", PutRequest(key=b"a", value=bytes(1600 * 1024)), StatusCode.INVALID_ARGUMENT, "request is too large"),
    ("Txn", TxnRequest(success=[PUT_A] * 129), StatusCode.INVALID_ARGUMENT, "too many operations in txn request"),
    (
        "Txn",
        TxnRequest(compare=[Compare(key=b"a")] * 129),
        StatusCode.INVALID_ARGUMENT,
        "too many operations in txn request",
    ),
    (
        "Txn",
        TxnRequest(
            success=[nested(PUT_A)] * 65, failure=[nested(RequestOp(request_txn=TxnRequest(success=[PUT_A] * 64)))]
        ),
        StatusCode.INVALID_ARGUMENT,
        "too many operations in txn request",
    ),
    ("Txn", TxnRequest(compare=[Compare()]), StatusCode.INVALID_ARGUMENT, "key is not provided"),
    (
        "Txn",
        TxnRequest(failure=[RequestOp(request_put=PutRequest())]),
        StatusCode.INVALID_ARGUMENT,
        "key is not provided",
    ),
    ("Txn", TxnRequest(success=[RequestOp()]), StatusCode.INVALID_ARGUMENT, "key not found"),
    ("Txn", TxnRequest(success=[PUT_A, PUT_A]), StatusCode.INVALID_ARGUMENT, "duplicate key given in txn request"),
    (
        "Txn",
        TxnRequest(success=[PUT_A, DELETE_MANY]),
        StatusCode.INVALID_ARGUMENT,
        "duplicate key given in txn request",
    ),
    (
        "Txn",
        TxnRequest(failure=[nested(PUT_A), DELETE_MANY]),
        StatusCode.INVALID_ARGUMENT,
        "duplicate key given in txn request",
    ),
    (
        "Txn",
        TxnRequest(success=[nested(DELETE_MANY), PUT_A]),
        StatusCode.INVALID_ARGUMENT,
        "duplicate key given in txn request",
    ),
    (
        "Txn",
        TxnRequest(success=[nested(PUT_A), nested(PUT_A)]),
        StatusCode.INVALID_ARGUMENT,
        "duplicate key given in txn request",
    ),
    (
        "Txn",
        TxnRequest(success=[RequestOp(request_range=RangeRequest(key=b"a", revision=99))]),
        StatusCode.OUT_OF_RANGE,
        "mvcc: required revision is a future revision",
    ),
    (
        "Txn",
        TxnRequest(success=[PUT_A, RequestOp(request_range=RangeRequest(key=b"a", revision=2))]),
        StatusCode.OUT_OF_RANGE,
        "mvcc: required revision has been compacted",
    ),
    (
        "Txn",
        TxnRequest(success=[RequestOp(request_put=PutRequest(key=b"a", lease=77))]),
        StatusCode.NOT_FOUND,
        "requested lease not found",
    ),
    ("Compact", CompactionRequest(revision=3), StatusCode.OUT_OF_RANGE, "mvcc: required revision has been compacted"),
    (
        "Compact",
        CompactionRequest(revision=99),
        StatusCode.OUT_OF_RANGE,
        "mvcc: required revision is a future revision",
    ),
]


async def test_every_refusal_is_etcds(node: LocalNode) -> None:
    for number in range(4):
        await node.kv.Put(PutRequest(key=b"a", value=b"%d" % number))
    await node.kv.Compact(CompactionRequest(revision=3, physical=True))
    for name, request, code, message in REFUSED:
        with pytest.raises(aio.AioRpcError) as caught:
            await getattr(node.kv, name)(request)
        assert (caught.value.code(), caught.value.details()) == (code, "etcdserver: " + message), (name, request)
    # Nothing of all this took effect.
    response = await node.kv.Range(RangeRequest(key=b"\0", range_end=b"\0"))
    assert [(pair.key, pair.value) for pair in response.kvs] == [(b"a", b"3")]
    assert response.header.revision == 5


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (NoLeader(), StatusCode.UNAVAILABLE, "etcdserver: no leader"),
        (ProposalTimeout(), StatusCode.UNAVAILABLE, "etcdserver: request timed out"),
        (Overloaded(), StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
        (ReplicaStopped(), StatusCode.UNAVAILABLE, "etcdserver: server stopped"),
    ],
)
async def test_errors_of_the_replica(node: LocalNode, error: ReplicaError, code: StatusCode, message: str) -> None:
    node.replica.fail_next(error)
    with pytest.raises(aio.AioRpcError) as caught:
        await node.kv.Put(PutRequest(key=b"a"))
    assert (caught.value.code(), caught.value.details()) == (code, message)


async def test_then_and_else_may_write_the_same_key(node: LocalNode) -> None:
    response = await node.kv.Txn(
        TxnRequest(success=[PUT_A], failure=[PUT_A, RequestOp(request_range=RangeRequest(key=b"a"))])
    )
    assert response.succeeded
    response = await node.kv.Txn(
        TxnRequest(success=[RequestOp(request_txn=TxnRequest(success=[PUT_A], failure=[PUT_A]))])
    )
    assert response.responses[0].response_txn.responses[0].response_put.header.revision == 3


async def test_everything_may_be_deleted_and_put_anew_at_one_revision(node: LocalNode) -> None:
    """etcd does not see an overlap in a range without an end."""
    await node.kv.Put(PutRequest(key=b"a", value=b"0"))
    await node.kv.Put(PutRequest(key=b"b", value=b"0"))
    await node.kv.Txn(TxnRequest(success=[DELETE_ALL, PUT_A]))
    now = await node.kv.Range(RangeRequest(key=b"\0", range_end=b"\0"))
    assert [(pair.key, pair.value, pair.create_revision, pair.version) for pair in now.kvs] == [(b"a", b"1", 4, 1)]
    await node.kv.Txn(TxnRequest(success=[PUT_A, DELETE_ALL]))
    assert (await node.kv.Range(RangeRequest(key=b"\0", range_end=b"\0"))).count == 0
    assert (await node.kv.Range(RangeRequest(key=b"\0", range_end=b"\0", revision=4))).count == 1


async def test_headers(node: LocalNode) -> None:
    response = await node.kv.Put(PutRequest(key=b"a", value=b"1"))
    identity = node.node.identity
    assert response.header.cluster_id == identity.cluster_id
    assert response.header.member_id == identity.member.id
    assert response.header.revision == 2
    assert response.header.raft_term == node.replica.leadership.term


async def test_reads_wait_for_the_barrier_unless_serializable(node: LocalNode) -> None:
    await node.kv.Put(PutRequest(key=b"a", value=b"1"))
    before = node.replica.read_barriers
    await node.kv.Range(RangeRequest(key=b"a", serializable=True))
    op = RequestOp(request_range=RangeRequest(key=b"a", serializable=True))
    await node.kv.Txn(TxnRequest(success=[op]))
    assert node.replica.read_barriers == before
    await node.kv.Range(RangeRequest(key=b"a"))
    log = len(node.replica.log)
    await node.kv.Txn(TxnRequest(success=[op, RequestOp(request_range=RangeRequest(key=b"a"))]))
    assert node.replica.read_barriers == before + 2
    assert len(node.replica.log) == log, "a transaction that only reads needs no entry in the log"


async def test_a_client_may_require_a_leader(node: LocalNode) -> None:
    node.replica.set_leader(0)
    lost = asyncio.Event()
    node.replica.on_leadership(lambda leadership: None if leadership.leader else lost.set())
    await lost.wait()
    with pytest.raises(aio.AioRpcError) as caught:
        await node.kv.Range(RangeRequest(key=b"a", serializable=True), metadata=(("hasleader", "true"),))
    assert (caught.value.code(), caught.value.details()) == (StatusCode.UNAVAILABLE, "etcdserver: no leader")
    await node.kv.Range(RangeRequest(key=b"a", serializable=True))


async def test_range_stream_pages_the_answer_at_one_revision(node: LocalNode) -> None:
    for number in range(300):
        await node.kv.Put(PutRequest(key=b"%04d" % number, value=bytes(10)))
    for limit in (0, 100, 64, 300, 1000):
        whole = await node.kv.Range(RangeRequest(key=b"\0", range_end=b"\0", limit=limit))
        pages = [
            page.range_response
            async for page in node.kv.RangeStream(RangeRequest(key=b"\0", range_end=b"\0", limit=limit))
        ]
        assert [pair for page in pages for pair in page.kvs] == list(whole.kvs)
        assert (pages[-1].count, pages[-1].more, pages[-1].header) == (whole.count, whole.more, whole.header)
        assert all(not page.HasField("header") for page in pages[:-1])
    with pytest.raises(aio.AioRpcError) as caught:
        async for _ in node.kv.RangeStream(RangeRequest(key=b"a", sort_order=RangeRequest.DESCEND)):
            pass
    assert caught.value.code() == StatusCode.UNIMPLEMENTED


async def test_a_member_that_rebuilds_answers_no_read_from_half_a_state(node: LocalNode) -> None:
    await node.kv.Put(PutRequest(key=b"a", value=b"1"))
    reads = (
        node.kv.Range(RangeRequest(key=b"a", serializable=True)),
        node.kv.Txn(TxnRequest(success=[RequestOp(request_range=RangeRequest(key=b"a", serializable=True))])),
    )
    await asyncio.gather(*reads)
    passed = node.replica.read_barriers
    node.replica.recovery = "the log was lost"
    await node.kv.Range(RangeRequest(key=b"a", serializable=True))
    await node.kv.Txn(TxnRequest(success=[RequestOp(request_range=RangeRequest(key=b"a", serializable=True))]))
    assert node.replica.read_barriers == passed + 2
