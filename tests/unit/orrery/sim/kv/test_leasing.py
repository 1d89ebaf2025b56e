import asyncio
import collections
import random
from collections.abc import Awaitable, Callable

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import LeaseGrantRequest
from orrery.checkers.judge import judge
from orrery.sim.histories import Histories
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.leasing import LeaseClient, Leases, keep_alive
from orrery.sim.kv.recording import Process
from runtime.sim import World

Calmly = Callable[[Callable[[KvCluster, Access], Awaitable[None]]], World]


def test_a_lease_is_renewed_while_it_lasts(calmly: Calmly) -> None:
    renewed: list[int] = []

    async def work(cluster: KvCluster, access: Access) -> None:
        await access.lease.LeaseGrant(LeaseGrantRequest(ID=7, TTL=3))
        renewed.append(await keep_alive(access, 7))
        await asyncio.sleep(6)
        renewed.append(await keep_alive(access, 7))

    calmly(work)
    assert renewed == [3, 0]


def test_every_kind_of_call_is_made_and_judged(calmly: Calmly) -> None:
    clusters: list[KvCluster] = []
    histories = Histories(lambda: int(clusters[0].world.virtual_s * 1e9))
    recorder = histories.record("leases", "lease")
    leases = Leases()

    async def work(cluster: KvCluster, access: Access) -> None:
        clusters.append(cluster)
        stopping = asyncio.Event()
        asyncio.get_running_loop().call_later(20, stopping.set)
        clients = [
            LeaseClient(Process(f"p{n}", recorder, collections.Counter()), access, leases, random.Random(n))
            for n in range(3)
        ]
        await asyncio.gather(*(client.run(0.1, stopping) for client in clients))

    calmly(work)
    history = histories.subjects["leases"].history()
    assert {operation.f for operation in history.operations} == {"grant", "attach", "keepalive", "revoke", "look"}
    assert {operation.outcome for operation in history.operations} == {"ok"}
    assert {"ttl_s": 0} in [operation.output for operation in history.operations]
    assert judge("lease", history).answer == "yes"
