"""A follower's lessor that reaches its leader over real gRPC."""

import pytest
from grpc import aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
)
from runtime.real import SystemClock, SystemRandomness
from services.kv.api.peer import GrpcLeaderLink
from services.kv.lease.lessor import NotTimekeeper
from services.kv.local_node import LocalNode

LEADER = 77


async def test_leases_of_the_leader_through_a_follower(node: LocalNode) -> None:
    await node.lease.LeaseGrant(LeaseGrantRequest(ID=5, TTL=60))
    await node.kv.Put(PutRequest(key=b"a", lease=5))
    link = GrpcLeaderLink(lambda member_id: node.channel if member_id == LEADER else None)
    async with LocalNode.start(clock=SystemClock(), random=SystemRandomness(), link=link) as follower:
        follower.replica.set_leader(LEADER)
        left = await follower.lease.LeaseTimeToLive(LeaseTimeToLiveRequest(ID=5, keys=True))
        assert (left.grantedTTL, list(left.keys)) == (60, [b"a"])
        assert (await follower.lease.LeaseTimeToLive(LeaseTimeToLiveRequest(ID=6))).TTL == -1
        call = follower.lease.LeaseKeepAlive()
        for lease_id, ttl_s in ((5, 60), (6, 0)):
            await call.write(LeaseKeepAliveRequest(ID=lease_id))
            answer = await call.read()
            assert ttl_s == answer.TTL  # type: ignore[attr-defined]
        call.cancel()


async def test_one_that_does_not_lead_says_so(node: LocalNode) -> None:
    node.replica.set_leader(LEADER)
    async with aio.insecure_channel("127.0.0.1:1") as nobody:
        channels = {1: node.channel, 2: nobody}
        link = GrpcLeaderLink(channels.get)
        for member_id in (1, 2, 3):
            with pytest.raises(NotTimekeeper):
                await link.renew(member_id, 5)
            with pytest.raises(NotTimekeeper):
                await link.time_left(member_id, 5, keys=False)
