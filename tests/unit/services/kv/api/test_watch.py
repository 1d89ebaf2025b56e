import asyncio
from typing import TypeAlias

import pytest
from grpc import StatusCode, aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    LeaseKeepAliveRequest,
    PutRequest,
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import Event
from services.kv.local_node import LocalNode

Call: TypeAlias = "aio.StreamStreamCall[WatchRequest, WatchResponse]"


async def read(call: Call) -> WatchResponse:
    response = await call.read()
    assert isinstance(response, WatchResponse)
    return response


async def test_from_the_past_into_the_present(node: LocalNode) -> None:
    for number in range(3):
        await node.kv.Put(PutRequest(key=b"a", value=b"%d" % number))
    call = node.watch.Watch()
    await call.write(WatchRequest(create_request=WatchCreateRequest(key=b"a", start_revision=3, prev_kv=True)))
    created = await read(call)
    assert (created.created, created.watch_id, created.header.revision) == (True, 0, 4)
    past = await read(call)
    assert [(event.kv.value, event.prev_kv.value) for event in past.events] == [(b"1", b"0"), (b"2", b"1")]
    await node.kv.DeleteRange(DeleteRangeRequest(key=b"a"))
    present = await read(call)
    (event,) = present.events
    assert (event.type, event.kv.mod_revision, event.kv.value, event.prev_kv.value) == (Event.DELETE, 5, b"", b"2")
    await call.write(WatchRequest(progress_request=WatchProgressRequest()))
    progress = await read(call)
    assert (progress.watch_id, progress.header.revision) == (-1, 5)
    await call.write(WatchRequest(cancel_request=WatchCancelRequest(watch_id=0)))
    assert (await read(call)).canceled
    call.cancel()


async def test_a_compacted_start_is_told_after_created(node: LocalNode) -> None:
    for _ in range(5):
        await node.kv.Put(PutRequest(key=b"a"))
    await node.kv.Compact(CompactionRequest(revision=4))
    call = node.watch.Watch()
    await call.write(WatchRequest(create_request=WatchCreateRequest(key=b"a", start_revision=2)))
    created = await read(call)
    assert (created.created, created.canceled) == (True, False)
    canceled = await read(call)
    assert (canceled.canceled, canceled.compact_revision, canceled.watch_id) == (True, 4, 0)
    call.cancel()


async def test_the_end_of_requests_does_not_end_the_watch(node: LocalNode) -> None:
    call = node.watch.Watch()
    await call.write(WatchRequest(create_request=WatchCreateRequest(key=b"a")))
    await call.done_writing()
    assert (await read(call)).created
    await node.kv.Put(PutRequest(key=b"a"))
    assert len((await read(call)).events) == 1
    call.cancel()


async def test_a_client_that_leaves_takes_its_watchers_along(node: LocalNode) -> None:
    call = node.watch.Watch()
    await call.write(WatchRequest(create_request=WatchCreateRequest(key=b"a")))
    await read(call)
    assert node.node.hub.watchers == 1
    call.cancel()
    async with asyncio.timeout(10):
        while node.node.hub.watchers:
            await asyncio.sleep(0.01)


async def test_a_watch_that_requires_a_leader_ends_without_one(node: LocalNode) -> None:
    node.node.calls.gate._patience_s = 0.01
    call = node.watch.Watch(metadata=(("hasleader", "true"),))
    await call.write(WatchRequest(create_request=WatchCreateRequest(key=b"a")))
    await read(call)
    node.replica.set_leader(0)
    with pytest.raises(aio.AioRpcError) as caught:
        await read(call)
    assert (caught.value.code(), caught.value.details()) == (StatusCode.UNAVAILABLE, "etcdserver: no leader")


async def test_many_writes_reach_every_watcher_in_order(node: LocalNode) -> None:
    calls = [node.watch.Watch() for _ in range(3)]
    for call in calls:
        await call.write(WatchRequest(create_request=WatchCreateRequest(key=b"\0", range_end=b"\0")))
        await read(call)
    await asyncio.gather(*(node.kv.Put(PutRequest(key=b"%d" % number)) for number in range(200)))
    for call in calls:
        revisions: list[int] = []
        while len(revisions) < 200:
            revisions += [event.kv.mod_revision for event in (await read(call)).events]
        assert revisions == list(range(2, 202))
        call.cancel()


async def test_a_member_that_stops_says_so_to_its_streams(node: LocalNode) -> None:
    watch, lease = node.watch.Watch(), node.lease.LeaseKeepAlive()
    await watch.write(WatchRequest(create_request=WatchCreateRequest(key=b"a")))
    await lease.write(LeaseKeepAliveRequest(ID=5))
    await asyncio.gather(watch.read(), lease.read())
    node.node.stop_streams()
    for call in (watch, lease):
        with pytest.raises(aio.AioRpcError) as caught:
            await call.read()
        assert (caught.value.code(), caught.value.details()) == (
            StatusCode.UNAVAILABLE,
            "etcdserver: server stopped",
        )
