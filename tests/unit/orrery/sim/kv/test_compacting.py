import asyncio
import json
import random
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio
import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import PutRequest, RangeRequest
from orrery.sim.histories import Histories
from orrery.sim.kv.access import Access
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.compacting import KEPT_MAX, Compactor
from runtime.sim import World

Calmly = Callable[[Callable[[KvCluster, Access], Awaitable[None]]], World]


def test_the_past_goes_and_the_history_has_a_note(calmly: Calmly) -> None:
    histories = Histories(lambda: 0)
    recorder = histories.record("kv", "kv")

    async def work(cluster: KvCluster, access: Access) -> None:
        for _ in range(KEPT_MAX + 10):
            await access.kv.Put(PutRequest(key=b"a", value=b""))
        stopping = asyncio.Event()
        asyncio.get_running_loop().call_later(3, stopping.set)
        await Compactor(access, recorder, random.Random(1)).run(0.2, stopping)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await access.kv.Range(RangeRequest(key=b"a", revision=3))
        assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE

    calmly(work)
    notes = [json.loads(line) for line in histories.subjects["kv"].lines]
    assert notes
    assert {(note["process"], note["f"]) for note in notes} == {("nemesis", "compact")}
