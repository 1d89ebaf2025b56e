"""Plans that go to kv together come to what they would have come to one after the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest

from cluster.clients.kv import KvClient, KvRefused
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest
from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.kv.local_node import LocalNode
from services.registry.batching import IN_FLIGHT_MAX, PLANS_MAX, Batches
from services.registry.catalogue import Key, KeyKind
from services.registry.domain import Instance, Node
from services.registry.limits import CHECKS_MAX
from services.registry.planning import Plan
from services.registry.records import PREFIX, encode_key

NODE = Key(KeyKind.NODE, "n1")


def instance(number: int) -> tuple[Key, Instance]:
    return Key(KeyKind.INSTANCE, "n1", f"i{number}"), Instance("n1", f"i{number}", "web")


def putting(number: int, *, guard: Key | None = None, revision: int = 0) -> Plan:
    key, value = instance(number)
    plan = Plan(guards={key: 0})
    if guard is not None:
        plan.guards[guard] = revision
    plan.put(key, value)
    return plan


class Setup:
    def __init__(self, node: LocalNode, kv: KvClient) -> None:
        self.node = node
        self.kv = kv
        self.batches = Batches(kv)

    async def kept(self) -> list[str]:
        found = await self.node.kv.Range(RangeRequest(key=PREFIX, range_end=PREFIX + b"\xff"))
        return [pair.key[len(PREFIX) :].decode() for pair in found.kvs]

    async def all(self, *plans: Plan) -> list[bool]:
        return [done.succeeded for done in await asyncio.gather(*map(self.batches.commit, plans))]


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(LocalNode.start(clock=SystemClock(), random=SystemRandomness()))
        kv = KvClient([node.address], net=StreamNet(), random=SystemRandomness(), clock=SystemClock())
        stack.push_async_callback(kv.close)
        yield Setup(node, kv)


async def test_many_go_together_and_each_is_done_by_its_own_comparisons(setup: Setup) -> None:
    count = 200
    plans = [putting(number, guard=NODE, revision=0 if number % 3 else 5) for number in range(count)]
    assert await setup.all(*plans) == [bool(number % 3) for number in range(count)]
    assert sorted(await setup.kept()) == sorted(f"instances/n1/i{n}" for n in range(count) if n % 3)
    assert setup.batches.plans == count
    assert setup.batches.transactions <= IN_FLIGHT_MAX + count // PLANS_MAX + 1


async def test_two_of_the_same_are_not_done_both(setup: Setup) -> None:
    assert sorted(await setup.all(*(putting(1) for _ in range(10)))) == [False] * 9 + [True]


async def test_what_one_compares_another_does_not_write_beside_it(setup: Setup) -> None:
    """Each would be done by the state before: an instance on a node that is gone."""
    (made,) = await asyncio.gather(setup.batches.commit(_node()))
    # So that the two wait together.
    others = [putting(100 + number) for number in range(IN_FLIGHT_MAX)]
    removing = Plan(guards={NODE: made.revision}, empty_nodes=[])
    removing.remove(NODE)
    *_, removed, added = await setup.all(*others, removing, putting(1, guard=NODE, revision=made.revision))
    assert removed
    assert not added
    assert "instances/n1/i1" not in await setup.kept()


async def test_a_node_that_is_not_empty_stays(setup: Setup) -> None:
    made = await setup.batches.commit(_node())
    removing = Plan(guards={NODE: made.revision}, empty_nodes=["n1"])
    removing.remove(NODE)
    others = [putting(100 + number) for number in range(IN_FLIGHT_MAX)]
    *_, added, removed = await setup.all(*others, putting(1, guard=NODE, revision=made.revision), removing)
    assert added
    assert not removed


def _node() -> Plan:
    plan = Plan(guards={NODE: 0})
    plan.put(NODE, Node("n1", "10.0.0.1"))
    return plan


async def test_one_that_kv_refuses_does_not_take_the_others_with_it(setup: Setup) -> None:
    bad = Plan()
    key, value = instance(1)
    bad.put(key, value)
    bad.writes[key] = bad.writes[key].__class__(key, value, lease=4711)
    plans = [putting(10), putting(11), bad, putting(12), putting(13), putting(14)]
    answers = await asyncio.gather(*map(setup.batches.commit, plans), return_exceptions=True)
    refused = answers.pop(2)
    assert isinstance(refused, KvRefused)
    assert refused.code is grpc.StatusCode.NOT_FOUND
    assert all(not isinstance(answer, BaseException) and answer.succeeded for answer in answers)


async def test_whoever_stops_waiting_stops_nobody_else(setup: Setup) -> None:
    commits = [asyncio.create_task(setup.batches.commit(putting(number))) for number in range(20)]
    await asyncio.sleep(0)
    for commit in commits[::2]:
        commit.cancel()
    answers = await asyncio.gather(*commits, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert all(not isinstance(answer, BaseException) and answer.succeeded for answer in answers[1::2])


async def test_the_largest_plans_fit_together(setup: Setup) -> None:
    plans = []
    for number in range(2 * PLANS_MAX):
        plan = putting(number)
        for check in range(CHECKS_MAX):
            for kind in (KeyKind.CHECK, KeyKind.BEAT):
                plan.remove(Key(kind, "n1", f"{number}-{check}"))
                plan.remove(Key(kind, "n1", f"{number}-{check}-old"))
                plan.guards[Key(kind, "n1", f"{number}-{check}")] = 0
        plans.append(plan)
    assert await setup.all(*plans) == [True] * len(plans)
    assert setup.batches.transactions < len(plans)
    assert encode_key(instance(1)[0]).decode().removeprefix(PREFIX.decode()) in await setup.kept()
