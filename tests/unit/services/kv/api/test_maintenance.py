import pytest
from grpc import StatusCode, aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    AlarmRequest,
    CompactionRequest,
    DefragmentRequest,
    DowngradeRequest,
    HashKVRequest,
    HashRequest,
    MemberAddRequest,
    MemberListRequest,
    MoveLeaderRequest,
    PutRequest,
    SnapshotRequest,
    StatusRequest,
)
from services.kv.local_node import LocalNode


async def test_status(node: LocalNode) -> None:
    await node.kv.Put(PutRequest(key=b"a", value=bytes(100)))
    status = await node.maintenance.Status(StatusRequest())
    assert (status.version, status.storageVersion) == ("3.6.0", "3.6.0")
    assert status.leader == status.header.member_id == node.replica.member_id
    assert status.raftIndex == status.raftAppliedIndex == len(node.replica.log)
    assert status.dbSize > 100
    assert not status.errors
    node.replica.set_leader(0)
    assert list((await node.maintenance.Status(StatusRequest())).errors) == ["etcdserver: no leader"]


async def test_alarms_are_none(node: LocalNode) -> None:
    for action in (AlarmRequest.GET, AlarmRequest.DEACTIVATE):
        answer = await node.maintenance.Alarm(AlarmRequest(action=action))
        assert not answer.alarms
        assert answer.header.revision == 1
    with pytest.raises(aio.AioRpcError) as caught:
        await node.maintenance.Alarm(AlarmRequest(action=AlarmRequest.ACTIVATE))
    assert caught.value.code() == StatusCode.UNIMPLEMENTED


async def test_hashes(node: LocalNode) -> None:
    for number in range(5):
        await node.kv.Put(PutRequest(key=b"a", value=b"%d" % number))
    at_four = await node.maintenance.HashKV(HashKVRequest(revision=4))
    now = await node.maintenance.HashKV(HashKVRequest())
    assert (at_four.hash_revision, now.hash_revision, now.compact_revision) == (4, 6, -1)
    assert at_four.hash != now.hash
    await node.kv.Compact(CompactionRequest(revision=5))
    logically = await node.maintenance.HashKV(HashKVRequest())
    await node.maintenance.Defragment(DefragmentRequest())
    assert not node.machine.store.has_garbage
    physically = await node.maintenance.HashKV(HashKVRequest())
    assert logically.hash == physically.hash
    assert (await node.maintenance.Hash(HashRequest())).hash == physically.hash
    for revision, message in ((4, "has been compacted"), (99, "is a future revision")):
        with pytest.raises(aio.AioRpcError) as caught:
            await node.maintenance.HashKV(HashKVRequest(revision=revision))
        assert caught.value.details() == f"etcdserver: mvcc: required revision {message}"


async def test_members(node: LocalNode) -> None:
    async def listed() -> list[tuple[str, list[str], list[str]]]:
        answer = await node.cluster.MemberList(MemberListRequest(linearizable=True))
        return [(member.name, list(member.peerURLs), list(member.clientURLs)) for member in answer.members]

    # Publishing is a task of the node's; its proposal is in the log before the server's first answer, or soon after.
    while not node.machine.members:
        await node.maintenance.Status(StatusRequest())
    assert sorted(await listed()) == [
        ("", ["http://127.0.0.1:2"], []),
        ("kv-1", ["http://127.0.0.1:1"], ["http://127.0.0.1:2379"]),
    ]
    with pytest.raises(aio.AioRpcError) as caught:
        await node.cluster.MemberAdd(MemberAddRequest())
    assert caught.value.code() == StatusCode.UNIMPLEMENTED


async def test_what_is_not_supported_says_so(node: LocalNode) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await node.maintenance.MoveLeader(MoveLeaderRequest(targetID=3))
    assert caught.value.details() == "etcdserver: bad leader transferee"
    with pytest.raises(aio.AioRpcError) as caught:
        await node.maintenance.Downgrade(DowngradeRequest())
    assert caught.value.code() == StatusCode.UNIMPLEMENTED
    with pytest.raises(aio.AioRpcError) as caught:
        async for _ in node.maintenance.Snapshot(SnapshotRequest()):
            pass
    assert caught.value.code() == StatusCode.UNIMPLEMENTED
    node.replica.set_leader(7)
    with pytest.raises(aio.AioRpcError) as caught:
        await node.maintenance.MoveLeader(MoveLeaderRequest(targetID=7))
    assert caught.value.details() == "etcdserver: not leader"
