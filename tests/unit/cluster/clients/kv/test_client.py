"""The client of kv, over members that fail."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import grpc
import pytest

from cluster.clients.kv import KvClient, KvRefused, KvUnavailable, prefix_end
from cluster.discovery import StaticSource
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    CompactionRequest,
    Compare,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import Event
from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.kv.local_node import LocalNode


def client(*addresses: str, within_s: float = 5.0) -> KvClient:
    return KvClient(addresses, net=StreamNet(), random=SystemRandomness(), clock=SystemClock(), within_s=within_s)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def node(stack: AsyncExitStack) -> LocalNode:
    return await stack.enter_async_context(LocalNode.start(clock=SystemClock(), random=SystemRandomness()))


class Listener:
    def __init__(self) -> None:
        self.keys: list[tuple[bytes, int]] = []
        self.gaps = 0

    def on_events(self, events: Sequence[Event], revision: int) -> None:
        self.keys += [(event.kv.key, event.kv.mod_revision) for event in events]
        assert revision == self.keys[-1][1]

    def on_gap(self) -> None:
        self.gaps += 1


def put(key: bytes) -> TxnRequest:
    return TxnRequest(
        compare=[Compare(key=key, target=Compare.CREATE, create_revision=0)],
        success=[RequestOp(request_put=PutRequest(key=key))],
        failure=[RequestOp(request_range=RangeRequest(key=key))],
    )


async def test_a_member_that_is_down_is_passed_over(stack: AsyncExitStack) -> None:
    up = await node(stack)
    kv = client("127.0.0.1:1", up.address, "127.0.0.1:2")
    stack.push_async_callback(kv.close)
    for number in range(6):
        answered = await kv.txn(put(b"%d" % number))
        assert answered.response.succeeded
        assert not answered.is_repeated
        assert kv.is_reached


async def test_nobody_there_is_definite(stack: AsyncExitStack) -> None:
    kv = client("127.0.0.1:1", "127.0.0.1:2", within_s=0.3)
    stack.push_async_callback(kv.close)
    with pytest.raises(KvUnavailable) as unavailable:
        await kv.txn(put(b"a"))
    assert unavailable.value.definite
    assert not kv.is_reached


async def test_no_answer_is_indefinite_and_a_repetition_is_told(stack: AsyncExitStack) -> None:
    one = await node(stack)
    kv = client(one.address, within_s=0.4)
    stack.push_async_callback(kv.close)
    one.replica.set_leader(0)
    with pytest.raises(KvUnavailable) as unavailable:
        await kv.txn(put(b"a"))
    assert not unavailable.value.definite
    patient = client(one.address)
    stack.push_async_callback(patient.close)
    asked = asyncio.create_task(patient.txn(put(b"b")))
    while not patient.failures:
        await asyncio.sleep(0.01)
    one.replica.set_leader(one.replica.member_id)
    assert (await asked).is_repeated


async def test_a_refusal_is_told_as_it_is(stack: AsyncExitStack) -> None:
    one = await node(stack)
    kv = client(one.address)
    stack.push_async_callback(kv.close)
    with pytest.raises(KvRefused, match="lease not found") as refused:
        await kv.txn(TxnRequest(success=[RequestOp(request_put=PutRequest(key=b"a", lease=99))]))
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    assert kv.failures == 0


async def test_leases(stack: AsyncExitStack) -> None:
    one = await node(stack)
    kv = client(one.address)
    stack.push_async_callback(kv.close)
    lease = await kv.grant(60)
    assert await kv.renew(lease.ID) == 60
    assert (await kv.time_to_live(lease.ID)).grantedTTL == 60
    await kv.revoke(lease.ID)
    await kv.revoke(lease.ID)
    assert await kv.renew(lease.ID) == 0
    assert (await kv.time_to_live(lease.ID)).TTL == -1
    with pytest.raises(grpc.aio.AioRpcError):
        await one.lease.LeaseRevoke(LeaseRevokeRequest(ID=lease.ID))


async def until(listener: Listener, count: int) -> None:
    async with asyncio.timeout(10):
        while len(listener.keys) < count:
            await asyncio.sleep(0.01)


async def test_watches_share_a_stream_and_end_when_cancelled(stack: AsyncExitStack) -> None:
    one = await node(stack)
    kv = client(one.address)
    running = asyncio.create_task(kv.run())
    first, second = Listener(), Listener()
    watch = kv.watch(b"a/", prefix_end(b"a/"), 1, first)
    kv.watch(b"b/", prefix_end(b"b/"), 1, second)
    for key in (b"a/1", b"b/1", b"c/1", b"a/2"):
        await one.kv.Put(PutRequest(key=key))
    await until(first, 2)
    await until(second, 1)
    assert [key for key, _ in first.keys] == [b"a/1", b"a/2"]
    watch.cancel()
    watch.cancel()
    await one.kv.Put(PutRequest(key=b"a/3"))
    await one.kv.Put(PutRequest(key=b"b/2"))
    await until(second, 2)
    assert len(first.keys) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await kv.close()


async def test_a_broken_stream_loses_nothing_and_repeats_nothing(stack: AsyncExitStack) -> None:
    one = await node(stack)
    kv = client(one.address)
    running = asyncio.create_task(kv.run())
    listener = Listener()
    kv.watch(b"a/", prefix_end(b"a/"), 1, listener)
    await one.kv.Put(PutRequest(key=b"a/1"))
    await until(listener, 1)
    # A leader that is lost ends the streams that require one.
    one.replica.set_leader(0)
    await asyncio.sleep(0.05)
    one.replica.set_leader(one.replica.member_id)
    for number in (2, 3):
        await one.kv.Put(PutRequest(key=b"a/%d" % number))
    await until(listener, 3)
    assert [key for key, _ in listener.keys] == [b"a/1", b"a/2", b"a/3"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await kv.close()


async def test_what_is_compacted_is_a_gap(stack: AsyncExitStack) -> None:
    one = await node(stack)
    revisions = [(await one.kv.Put(PutRequest(key=b"a"))).header.revision for _ in range(5)]
    await one.kv.Compact(CompactionRequest(revision=revisions[-1]))
    kv = client(one.address)
    running = asyncio.create_task(kv.run())
    listener = Listener()
    kv.watch(b"a", b"", 1, listener)
    async with asyncio.timeout(10):
        while not listener.gaps:
            await asyncio.sleep(0.01)
    assert listener.keys == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await kv.close()


async def test_members_come_and_go_and_no_watch_is_lost(stack: AsyncExitStack) -> None:
    one = await node(stack)
    port = one.address.rpartition(":")[2]
    source = StaticSource([one.address])
    kv = KvClient(source, net=StreamNet(), random=SystemRandomness(), clock=SystemClock(), within_s=5.0)
    running = asyncio.create_task(kv.run())
    listener = Listener()
    kv.watch(b"a/", prefix_end(b"a/"), 1, listener)
    addresses = [[f"localhost:{port}"], [one.address, "127.0.0.1:1"], [], [one.address, f"localhost:{port}"]]
    for number, present in enumerate([[one.address], *addresses]):
        source.replace(present)
        for half in range(2):
            await kv.txn(put(b"a/%d%d" % (number, half)))
            await until(listener, 2 * number + half + 1)
    assert [key for key, _ in listener.keys] == [b"a/%d%d" % (number, half) for number in range(5) for half in range(2)]
    assert listener.gaps == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await kv.close()


async def test_members_that_nobody_knows_yet_are_waited_for(stack: AsyncExitStack) -> None:
    one = await node(stack)
    source = StaticSource([])
    kv = KvClient(source, net=StreamNet(), random=SystemRandomness(), clock=SystemClock(), within_s=0.2)
    stack.push_async_callback(kv.close)
    with pytest.raises(KvUnavailable, match="no member of kv is known") as unavailable:
        await kv.txn(put(b"a"))
    assert unavailable.value.definite
    asking = asyncio.create_task(kv.range(RangeRequest(key=b"a"), within_s=5.0))
    running = asyncio.create_task(kv.run())
    listener = Listener()
    kv.watch(b"a", b"", 1, listener)
    await asyncio.sleep(0)
    source.replace([one.address])
    assert (await asking).count == 0
    await one.kv.Put(PutRequest(key=b"a"))
    await until(listener, 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_without_addresses() -> None:
    with pytest.raises(ValueError, match="no addresses"):
        client()


@pytest.mark.parametrize(("prefix", "end"), [(b"a/", b"a0"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")])
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end
