"""What a member tells of its engine, through a real one on a simulated disk."""

import random
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import PutRequest
from runtime import Clock
from runtime.sim import SeededRandomness, SimDisk
from services.kv import commands
from services.kv.backend.durable import KvDurability
from services.kv.backend.home import EngineHome
from services.kv.local_node import LocalNode
from services.kv.metrics import KvMetrics, backend_samples
from services.kv.state_machine import KvStateMachine
from storage.btree import BTreeEngine
from storage.engine import DurableEngine
from storage.lsm.engine import LsmEngine

COMMIT = "etcd_disk_backend_commit_duration_seconds"


class SlowFlushClock:
    """Three milliseconds pass between any two looks at it."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def wall_s(self) -> float:
        return 1e9

    def monotonic_s(self) -> float:
        self._now_s += 0.003
        return self._now_s


async def lsm(disk: SimDisk, clock: Clock) -> Callable[[str], Awaitable[DurableEngine]]:
    async def open_engine(path: str) -> DurableEngine:
        return await LsmEngine.open(disk, path, clock=clock, random=SeededRandomness(random.Random(1)))

    return open_engine


async def btree(disk: SimDisk, clock: Clock) -> Callable[[str], Awaitable[DurableEngine]]:
    async def open_engine(path: str) -> DurableEngine:
        return await BTreeEngine.open(disk, path)

    return open_engine


@pytest.mark.parametrize(
    ("engine", "told"),
    [(lsm, ("orrery_lsm_flushes_total 1.0", "orrery_lsm_open_tables 1.0")), (btree, ("orrery_btree_free_pages",))],
)
async def test_commits_and_the_engine_show_in_the_metrics(
    engine: Callable[[SimDisk, Clock], Awaitable[Callable[[str], Awaitable[DurableEngine]]]], told: tuple[str, ...]
) -> None:
    disk, clock = SimDisk(random.Random(1)), SlowFlushClock()
    home = await EngineHome.open(disk, "state", await engine(disk, clock))
    durable = await KvDurability.open(home, clock)
    machine = KvStateMachine(backend=durable)

    class Samples(Collector):
        def collect(self):  # type: ignore[no-untyped-def]
            return backend_samples(durable)

    registry = CollectorRegistry()
    registry.register(Samples())
    assert f"{COMMIT}_count 0.0" in generate_latest(registry).decode()
    machine.apply([(1, commands.encode(commands.PUT, PutRequest(key=b"a", value=b"1")))])
    durable.record(1, b"note")
    assert f"{COMMIT}_count 0.0" in generate_latest(registry).decode(), "what is in memory only is no commit"
    await durable.persist()
    text = generate_latest(registry).decode()
    counts = {bound: f'{COMMIT}_bucket{{le="{bound}"}}' for bound in ("0.002", "8.192", "+Inf")}
    # At least 3 ms passed: engines look at the clock themselves.
    assert f"{counts['0.002']} 0.0" in text
    for line in (f"{counts['8.192']} 1.0", f"{counts['+Inf']} 1.0", f"{COMMIT}_count 1.0", *told):
        assert line in text
    await home.close()


async def test_in_memory_there_are_no_commits(node: LocalNode) -> None:
    registry = CollectorRegistry()
    KvMetrics(registry, node.node, node.replica, dict)
    text = generate_latest(registry).decode()
    assert "etcd_mvcc_db_total_size_in_bytes" in text
    assert COMMIT not in text
    assert "orrery_lsm" not in text
