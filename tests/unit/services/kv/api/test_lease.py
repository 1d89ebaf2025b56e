import asyncio
from collections.abc import AsyncIterator

import pytest
from grpc import StatusCode, aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
)
from services.kv.api.calls import RequestLimits
from services.kv.local_node import LocalNode
from services.kv.node import NodeSettings


async def test_a_lease_from_grant_to_revoke(node: LocalNode) -> None:
    granted = await node.lease.LeaseGrant(LeaseGrantRequest(TTL=60))
    assert granted.ID > 0
    assert granted.TTL == 60
    await node.kv.Put(PutRequest(key=b"b", lease=granted.ID))
    await node.kv.Put(PutRequest(key=b"a", lease=granted.ID))
    left = await node.lease.LeaseTimeToLive(LeaseTimeToLiveRequest(ID=granted.ID, keys=True))
    assert (left.grantedTTL, list(left.keys), left.header.revision) == (60, [b"a", b"b"], 3)
    assert 58 <= left.TTL <= 60
    listed = await node.lease.LeaseLeases(LeaseLeasesRequest())
    assert [lease.ID for lease in listed.leases] == [granted.ID]
    revoked = await node.lease.LeaseRevoke(LeaseRevokeRequest(ID=granted.ID))
    assert revoked.header.revision == 4, "both keys go at one revision"
    assert (await node.kv.Range(RangeRequest(key=b"a"))).count == 0


async def test_edges(node: LocalNode) -> None:
    assert (await node.lease.LeaseGrant(LeaseGrantRequest(ID=5, TTL=-3))).TTL == 2, "etcd's shortest"
    gone = await node.lease.LeaseTimeToLive(LeaseTimeToLiveRequest(ID=99))
    assert (gone.TTL, gone.grantedTTL, gone.ID) == (-1, 0, 99)
    for request, code, message in (
        (LeaseGrantRequest(ID=5, TTL=9), StatusCode.FAILED_PRECONDITION, "lease already exists"),
        (LeaseGrantRequest(TTL=9_000_000_001), StatusCode.OUT_OF_RANGE, "too large lease TTL"),
    ):
        with pytest.raises(aio.AioRpcError) as caught:
            await node.lease.LeaseGrant(request)
        assert (caught.value.code(), caught.value.details()) == (code, "etcdserver: " + message)
    assert (await node.lease.LeaseGrant(LeaseGrantRequest(TTL=9_000_000_000))).TTL == 9_000_000_000
    with pytest.raises(aio.AioRpcError) as caught:
        await node.lease.LeaseRevoke(LeaseRevokeRequest(ID=99))
    assert (caught.value.code(), caught.value.details()) == (
        StatusCode.NOT_FOUND,
        "etcdserver: requested lease not found",
    )


async def test_keep_alive(node: LocalNode) -> None:
    await node.lease.LeaseGrant(LeaseGrantRequest(ID=5, TTL=60))

    async def requests() -> AsyncIterator[LeaseKeepAliveRequest]:
        for lease_id in (5, 6, 5):
            yield LeaseKeepAliveRequest(ID=lease_id)

    answers = [(answer.ID, answer.TTL) async for answer in node.lease.LeaseKeepAlive(requests())]
    assert answers == [(5, 60), (6, 0), (5, 60)]


async def test_streams_that_require_a_leader_end_without_one(node: LocalNode) -> None:
    metadata = (("hasleader", "true"),)
    node.node.calls.gate._patience_s = 0.01
    call = node.lease.LeaseKeepAlive(metadata=metadata)
    patient = node.lease.LeaseKeepAlive()
    for stream in (call, patient):
        await stream.write(LeaseKeepAliveRequest(ID=5))
        await stream.read()
    node.replica.set_leader(0)
    with pytest.raises(aio.AioRpcError) as caught:
        await call.read()
    assert (caught.value.code(), caught.value.details()) == (StatusCode.UNAVAILABLE, "etcdserver: no leader")
    node.replica.set_leader(node.replica.member_id)
    await patient.write(LeaseKeepAliveRequest(ID=5))
    assert isinstance(await asyncio.wait_for(patient.read(), 10), object)
    patient.cancel()


def test_limits_are_settings() -> None:
    assert NodeSettings().limits == RequestLimits()
