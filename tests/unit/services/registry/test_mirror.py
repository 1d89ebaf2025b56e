"""The copy follows a real kv node: what is written, what is missed, and what cannot be read."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from cluster.clients.kv import KvClient
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import CompactionRequest, DeleteRangeRequest, PutRequest
from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.kv.local_node import LocalNode
from services.registry import mirror as module
from services.registry.catalogue import Key, KeyKind, MemoryCatalogue
from services.registry.domain import Instance, Node
from services.registry.interface import Change, ChangeKind
from services.registry.metrics import Counters
from services.registry.mirror import Mirror
from services.registry.records import encode_key, encode_value
from tests.unit.services.registry.running import until


class Setup:
    def __init__(self, node: LocalNode, stack: AsyncExitStack) -> None:
        self.node = node
        self.kv = KvClient([node.address], net=StreamNet(), random=SystemRandomness(), clock=SystemClock())
        stack.push_async_callback(self.kv.close)
        self.copy = MemoryCatalogue(SystemClock())
        self.counters = Counters()
        self.mirror = Mirror(self.kv, self.copy, self.counters)
        self.heard: list[Change] = []
        self.copy.subscribe(self.hear)
        self.tasks: list[asyncio.Task[None]] = []

    def hear(self, changes: Sequence[Change]) -> None:
        self.heard.extend(changes)

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self.kv.run()), asyncio.create_task(self.mirror.run())]

    async def put(self, key: Key, value: bytes | Node | Instance) -> int:
        raw = value if isinstance(value, bytes) else encode_value(value)
        return (await self.node.kv.Put(PutRequest(key=encode_key(key), value=raw))).header.revision

    async def delete(self, key: Key) -> None:
        await self.node.kv.DeleteRange(DeleteRangeRequest(key=encode_key(key)))


NODE = Key(KeyKind.NODE, "n1")


def instance(number: int) -> tuple[Key, Instance]:
    return Key(KeyKind.INSTANCE, "n1", f"i{number}"), Instance("n1", f"i{number}", "web")


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(LocalNode.start(clock=SystemClock(), random=SystemRandomness()))
        setup = Setup(node, stack)
        yield setup
        for task in setup.tasks:
            task.cancel()
        await asyncio.gather(*setup.tasks, return_exceptions=True)


async def test_all_pages_are_read_and_changes_followed(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_RECORDS_MAX", 3)
    await setup.put(NODE, Node("n1", "10.0.0.1"))
    for number in range(10):
        await setup.put(*instance(number))
    assert not setup.copy.is_ready
    setup.start()
    await until(lambda: setup.copy.is_ready)
    assert len(setup.copy.endpoints("web")) == 10
    assert [change.kind for change in setup.heard] == [ChangeKind.RESET]
    await setup.delete(instance(3)[0])
    revision = await setup.put(*instance(10))
    assert await setup.mirror.reach(revision, 5)
    assert [one.instance.id for one in setup.copy.endpoints("web")] == sorted(f"i{n}" for n in range(11) if n != 3)


async def test_revisions_of_others_are_reached_too(setup: Setup) -> None:
    setup.start()
    await until(lambda: setup.copy.is_ready)
    other = await setup.node.kv.Put(PutRequest(key=b"elsewhere"))
    assert await setup.mirror.reach(other.header.revision, 5)
    assert not await setup.mirror.reach(other.header.revision + 1, 0.05)


async def test_what_was_missed_is_read_anew(setup: Setup) -> None:
    await setup.put(NODE, Node("n1", "10.0.0.1"))
    await setup.put(*instance(1))
    setup.start()
    await until(lambda: setup.copy.is_ready)
    # The stream is down while changes are made, and compacted.
    setup.node.replica.set_leader(0)
    await asyncio.sleep(0.05)
    setup.node.replica.set_leader(setup.node.replica.member_id)
    await setup.delete(instance(1)[0])
    revision = await setup.put(*instance(2))
    await setup.node.kv.Compact(CompactionRequest(revision=revision))
    assert await setup.mirror.reach(revision, 10)
    await until(lambda: [one.instance.id for one in setup.copy.endpoints("web")] == ["i2"])


async def test_a_gap_is_told_as_a_reset(setup: Setup) -> None:
    await setup.put(NODE, Node("n1", "10.0.0.1"))
    setup.start()
    await until(lambda: setup.copy.is_ready)
    await setup.put(*instance(1))
    await until(lambda: len(setup.copy.endpoints("web")) == 1)
    setup.mirror.on_gap()
    await until(lambda: setup.counters.resets == 2)
    assert len(setup.copy.endpoints("web")) == 1
    await setup.put(*instance(2))
    await until(lambda: len(setup.copy.endpoints("web")) == 2)
    assert [change.kind for change in setup.heard if change.kind is ChangeKind.RESET] == [ChangeKind.RESET] * 2


async def test_what_cannot_be_read_is_counted_until_it_is_gone(setup: Setup) -> None:
    bad, worse = instance(1)[0], instance(2)[0]
    await setup.put(bad, b"{")
    await setup.node.kv.Put(PutRequest(key=b"/orrery/registry/v1/what is this"))
    setup.start()
    await until(lambda: setup.copy.is_ready)
    assert setup.mirror.unreadable == 2
    await setup.put(NODE, Node("n1", "10.0.0.1"))
    await setup.put(worse, b"[]")
    await until(lambda: setup.mirror.unreadable == 3)
    await setup.put(*instance(1))
    await setup.delete(worse)
    await setup.node.kv.DeleteRange(DeleteRangeRequest(key=b"/orrery/registry/v1/what is this"))
    await until(lambda: setup.mirror.unreadable == 0)
    assert [one.instance.id for one in setup.copy.endpoints("web")] == ["i1"]


async def test_kv_that_comes_late_is_waited_for(setup: Setup) -> None:
    setup.node.replica.set_leader(0)
    setup.start()
    await asyncio.sleep(0.1)
    assert not setup.copy.is_ready
    assert setup.copy.staleness.is_stale
    setup.node.replica.set_leader(setup.node.replica.member_id)
    await until(lambda: setup.copy.is_ready)
    assert not setup.copy.staleness.is_stale
