"""The same random requests to etcd and to us, in the same order: every answer and every watch event must be equal.

Goal: etcd's semantics, down to which of two errors comes first. Method: requests are drawn from a seed over few keys,
so that they meet; cluster and member ids and terms are masked. The oracle is the `etcd` on the PATH.
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from google.protobuf.message import Message
from grpc import StatusCode, aio

from cluster.pb.etcd.etcdserverpb import rpc_pb2 as pb
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, LeaseStub, WatchStub
from cluster.pb.etcd.mvccpb.kv_pb2 import Event
from runtime.real import SystemClock, SystemRandomness
from services.kv.local_node import LocalNode

pytestmark = pytest.mark.skipif(
    shutil.which("etcd") is None, reason="etcd (Debian: etcd-server) is not on this machine"
)

REQUESTS = 1500
KEYS = (b"a", b"aa", b"b", b"c", b"d", b"\xff")
ENDS = (b"", b"", b"", b"\0", b"b", b"c", b"e")
LEASES = (11, 12)


class Source:
    """Draws requests."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.revision = 1

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def range(self) -> pb.RangeRequest:
        draw = self.random.choice
        near = [0, 0, 0, 0, -1, *(self.revision - back for back in (-1, 0, 1, 2, 5))]
        return pb.RangeRequest(
            key=b"" if self.chance(0.02) else draw((*KEYS, b"\0")),
            range_end=draw(ENDS),
            limit=draw((0, 0, 1, 2, 3)),
            revision=draw(near),
            sort_order=draw(pb.RangeRequest.SortOrder.values()),
            sort_target=draw(pb.RangeRequest.SortTarget.values()),
            keys_only=self.chance(0.2),
            count_only=self.chance(0.1),
            min_mod_revision=max(0, self.revision - 9) if self.chance(0.2) else 0,
            max_create_revision=max(0, self.revision - 4) if self.chance(0.1) else 0,
        )

    def put(self, *, keeping: bool) -> pb.PutRequest:
        """`keeping` what the key has is not drawn within transactions: etcd crashes when the key goes in between."""
        draw = self.random.choice
        return pb.PutRequest(
            key=draw(KEYS),
            value=draw((b"", b"", b"1", b"2")),
            lease=draw((0, 0, 0, *LEASES)),
            prev_kv=self.chance(0.3),
            ignore_value=keeping and self.chance(0.15),
            ignore_lease=keeping and self.chance(0.15),
        )

    def delete(self) -> pb.DeleteRangeRequest:
        return pb.DeleteRangeRequest(
            key=self.random.choice(KEYS), range_end=self.random.choice(ENDS), prev_kv=self.chance(0.5)
        )

    def operation(self, depth: int) -> pb.RequestOp:
        at = self.random.random()
        if at < 0.3:
            return pb.RequestOp(request_range=self.range())
        if at < 0.7:
            return pb.RequestOp(request_put=self.put(keeping=False))
        if at < 0.85 or depth > 2:
            return pb.RequestOp(request_delete_range=self.delete())
        return pb.RequestOp() if at < 0.86 else pb.RequestOp(request_txn=self.txn(depth + 1))

    def txn(self, depth: int = 0) -> pb.TxnRequest:
        draw = self.random.choice
        request = pb.TxnRequest()
        for _ in range(draw((0, 1, 1, 2))):
            compare = request.compare.add(
                key=draw(KEYS),
                range_end=draw(ENDS),
                result=draw(pb.Compare.CompareResult.values()),
                target=draw(pb.Compare.CompareTarget.values()),
            )
            name = draw(("version", "create_revision", "mod_revision", "value", "lease"))
            value = draw((b"", b"1", b"2")) if name == "value" else draw((0, 1, 2, 11, self.revision))
            setattr(compare, name, value)
        request.success.extend(self.operation(depth) for _ in range(self.random.randrange(4)))
        request.failure.extend(self.operation(depth) for _ in range(self.random.randrange(4)))
        return request

    def request(self) -> tuple[str, Message]:
        at = self.random.random()
        if at < 0.3:
            return "Range", self.range()
        if at < 0.55:
            return "Put", self.put(keeping=True)
        if at < 0.65:
            return "DeleteRange", self.delete()
        if at < 0.94:
            return "Txn", self.txn()
        if at < 0.95:
            return "Compact", pb.CompactionRequest(revision=self.revision - self.random.randrange(-1, 20))
        if at < 0.98:
            ttl = self.random.choice((0, 100, 9_000_000_001))
            return "LeaseGrant", pb.LeaseGrantRequest(
                ID=self.random.choice(LEASES), TTL=ttl + (1000 if ttl == 0 else 0)
            )
        return "LeaseRevoke", pb.LeaseRevokeRequest(ID=self.random.choice(LEASES))


async def ask(
    method: Callable[[Message], Awaitable[Message]], request: Message
) -> tuple[StatusCode, str | None] | Message:
    try:
        answer = await method(request)
    except aio.AioRpcError as error:
        return error.code(), error.details()
    header = answer.header  # type: ignore[attr-defined]
    header.cluster_id = header.member_id = header.raft_term = 0
    return answer


@asynccontextmanager
async def oracle(directory: Path) -> AsyncIterator[aio.Channel]:
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    process = await asyncio.create_subprocess_exec(
        "etcd", "--data-dir", str(directory), "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with aio.insecure_channel(client.removeprefix("http://")) as channel:
            await KVStub(channel).Range(pb.RangeRequest(key=b"x"), wait_for_ready=True, timeout=20)
            yield channel
    finally:
        process.kill()
        await process.wait()


async def collect(watch: "aio.StreamStreamCall[pb.WatchRequest, pb.WatchResponse]", into: list[Event]) -> None:
    request = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", prev_kv=True)
    await watch.write(pb.WatchRequest(create_request=request))
    async for response in watch:
        into.extend(response.events)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_equal_answers(seed: int, tmp_path: Path) -> None:
    source = Source(seed)
    async with (
        oracle(tmp_path / "etcd") as channel,
        LocalNode.start(clock=SystemClock(), random=SystemRandomness()) as node,
    ):
        heads = {False: (node.kv, KVStub(channel)), True: (node.lease, LeaseStub(channel))}
        seen: tuple[list[Event], list[Event]] = ([], [])
        calls = (node.watch.Watch(), WatchStub(channel).Watch())
        tasks = [asyncio.create_task(collect(call, into)) for call, into in zip(calls, seen, strict=True)]
        while node.node.hub.watchers == 0:
            await asyncio.sleep(0.01)
        for number in range(REQUESTS):
            name, request = source.request()
            ours, theirs = heads[name.startswith("Lease")]
            expected = await ask(getattr(theirs, name), request)
            assert await ask(getattr(ours, name), request) == expected, (number, name, request)
            if isinstance(expected, Message):
                source.revision = max(source.revision, expected.header.revision)  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            while any(not events or events[-1].kv.mod_revision < source.revision for events in seen):
                await asyncio.sleep(0.01)
        assert seen[0] == seen[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
