import asyncio
import collections
import random
from collections.abc import Awaitable, Callable

from orrery.checkers.judge import judge
from orrery.sim.histories import Histories
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.mix import OPERATIONS, Mix
from orrery.sim.kv.recording import Process
from orrery.sim.kv.registers import LOST_MAX, Groups, RegisterClient
from runtime.sim import World

Calmly = Callable[[Callable[[KvCluster, Access], Awaitable[None]]], World]

MIX = Mix(dict.fromkeys(OPERATIONS, 1.0), pause_s=0.002, groups=2, group_keys=2, group_operations_max=10)


def test_a_group_is_given_up_when_it_was_used_enough_or_much_was_lost() -> None:
    groups = Groups(MIX)
    source = random.Random(1)
    picked = [groups.pick(source) for _ in range(100)]
    assert max(group.operations for group in groups.all) == MIX.group_operations_max
    assert len({key for group in groups.all for key in group.keys}) == 2 * len(groups.all)
    lossy = picked[-1]
    lossy.lost = LOST_MAX
    assert all(groups.pick(source) is not lossy for _ in range(30))
    assert lossy in groups.all


def test_every_kind_of_call_is_made_and_judged(calmly: Calmly) -> None:
    histories = Histories(lambda: 0)
    recorder = histories.record("kv", "kv")
    groups = Groups(MIX)

    async def work(cluster: KvCluster, access: Access) -> None:
        stopping = asyncio.Event()
        clients = [
            RegisterClient(
                Process(f"p{number}", recorder, collections.Counter()),
                access,
                groups,
                MIX,
                random.Random(number),
                stopping,
            )
            for number in range(3)
        ]
        asyncio.get_running_loop().call_later(0.5, stopping.set)
        await asyncio.gather(*(client.run() for client in clients))

    calmly(work)
    history = histories.subjects["kv"].history()
    assert len(history) > 100
    assert {operation.outcome for operation in history.operations} == {"ok"}
    assert {operation.f for operation in history.operations} == {"put", "get", "delete", "cas", "txn"}
    assert judge("kv", history).answer == "yes"
