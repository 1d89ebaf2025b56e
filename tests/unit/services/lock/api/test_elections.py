import asyncio

import grpc
import grpc.aio
import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import DeleteRangeRequest, LeaseGrantRequest, PutRequest
from cluster.pb.orrery.lock.v1.lock_pb2 import LeaderRequest, Leadership
from tests.unit.services.lock.running import Service


async def test_leaders_of_other_clients_are_seen(service: Service) -> None:
    """As etcd's recipe writes them."""
    elections = service.elections()
    with pytest.raises(grpc.aio.AioRpcError, match="nobody leads") as refused:
        await elections.Leader(LeaderRequest(name="e"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    call = elections.Observe(LeaderRequest(name="e"))

    async def following() -> Leadership:
        async with asyncio.timeout(10):
            leadership = await call.read()
        assert isinstance(leadership, Leadership)
        return leadership

    assert (await following()).token == 0
    for lease in (17, 18):
        await service.kv.lease.LeaseGrant(LeaseGrantRequest(ID=lease, TTL=60))
        await service.kv.kv.Put(PutRequest(key=b"e/%x" % lease, value=b"%d" % lease, lease=lease))
    first = await following()
    assert (first.key, first.value) == (b"e/11", b"17")
    leader = await elections.Leader(LeaderRequest(name="e"))
    assert (leader.token, leader.value) == (first.token, b"17")
    await service.kv.kv.Put(PutRequest(key=b"e/11", value=b"more", lease=17))
    changed = await following()
    assert (changed.token, changed.value) == (first.token, b"more")
    assert changed.revision > first.revision
    await service.kv.kv.DeleteRange(DeleteRangeRequest(key=b"e/11"))
    second = await following()
    assert second.token > first.token
    assert second.value == b"18"
    await service.kv.kv.DeleteRange(DeleteRangeRequest(key=b"e/12"))
    assert (await following()).token == 0
    call.cancel()


async def test_observers_are_counted_and_let_go_at_the_end(bare: Service) -> None:
    await bare.start(observers_max=1)
    elections = bare.elections()
    first = elections.Observe(LeaderRequest(name="e"))
    await first.read()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await elections.Observe(LeaderRequest(name="e")).read()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await elections.Observe(LeaderRequest(name="\x07")).read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    bare.stops[0].set("test")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await first.read()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
