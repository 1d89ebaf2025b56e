import asyncio
import collections
import random
from collections.abc import Awaitable, Callable

from orrery.checkers.judge import judge
from orrery.sim.histories import Histories
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.leasing import Leases
from orrery.sim.kv.locking import LockClient
from orrery.sim.kv.recording import Process
from runtime.sim import World

Calmly = Callable[[Callable[[KvCluster, Access], Awaitable[None]]], World]


def test_locks_are_given_to_one_after_another_and_uses_are_fenced(calmly: Calmly) -> None:
    histories = Histories(lambda: 0)
    recorder = histories.record("locks", "lock")
    leases = Leases()

    async def work(cluster: KvCluster, access: Access) -> None:
        stopping = asyncio.Event()
        asyncio.get_running_loop().call_later(20, stopping.set)
        clients = [
            LockClient(Process(f"p{n}", recorder, collections.Counter()), access, leases, random.Random(n))
            for n in range(4)
        ]
        # Uses that are a second apart outlive a lease of two.
        await asyncio.gather(*(client.run(0.6, stopping) for client in clients))

    calmly(work)
    history = histories.subjects["locks"].history()
    outcomes = collections.Counter((operation.f, operation.outcome) for operation in history.operations)
    for done in ("acquire", "fenced-write", "release"):
        assert outcomes[done, "ok"], done
    assert outcomes["fenced-write", "fail"], "nobody's lease has ended while it held the lock"
    assert judge("lock", history).answer == "yes"
