import collections
import random
from collections.abc import Awaitable, Callable

from orrery.checkers.history import Json
from orrery.checkers.judge import judge
from orrery.sim.histories import Histories
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.lists import LENGTH_MAX, ListClient, Lists
from orrery.sim.kv.recording import Process
from runtime.sim import World

Calmly = Callable[[Callable[[KvCluster, Access], Awaitable[None]]], World]


def test_elements_are_unique_and_long_lists_are_given_up() -> None:
    lists, source = Lists(), random.Random(1)
    steps = [step for _ in range(200) for step in lists.transaction(source)]
    appended = [step for step in steps if isinstance(step, list) and step[0] == "append"]
    assert len({step[2] for step in appended}) == len(appended)
    lengths = collections.Counter(step[1] for step in appended)
    assert max(lengths.values()) == LENGTH_MAX
    assert set(lengths) <= set(lists.all)
    assert len(lists.all) > 3


def test_a_list_is_read_in_the_order_of_its_appends(calmly: Calmly) -> None:
    histories = Histories(lambda: 0)
    recorder = histories.record("lists", "list-append")
    read: list[Json] = []

    async def work(cluster: KvCluster, access: Access) -> None:
        client = ListClient(Process("p", recorder, collections.Counter()), access, Lists(), random.Random(1))
        for element in (30, 4, 12):
            await client.transact([["append", "l/0/", element], ["append", "l/1/", element]])
        answer = await client.transact([["r", "l/0/", None], ["append", "l/0/", 5], ["r", "l/1/", None]])
        read.append(answer.value)

    calmly(work)
    assert read == [[["r", "l/0/", [30, 4, 12]], ["append", "l/0/", 5], ["r", "l/1/", [30, 4, 12]]]]
    assert judge("list-append", histories.subjects["lists"].history()).answer == "yes"
