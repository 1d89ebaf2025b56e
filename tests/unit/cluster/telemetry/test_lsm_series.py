"""The series of an engine are what its statistics say."""

import random

from prometheus_client import CollectorRegistry

from cluster.telemetry.lsm_series import LsmSeries
from runtime.sim import SeededRandomness, SimDisk
from storage.lsm import LsmEngine
from storage.lsm.testing import ManualClock


async def test_every_figure_has_a_series() -> None:
    engine = await LsmEngine.open(
        SimDisk(random.Random(1)), "db", clock=ManualClock(), random=SeededRandomness(random.Random(1))
    )
    registry = CollectorRegistry()
    registry.register(LsmSeries(lambda: {"state": engine.statistics()}))
    for number in range(100):
        engine.put(b"%d" % number, b"v")
    await engine.flush()
    snapshot = engine.snapshot()
    statistics = engine.statistics()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"orrery_lsm_{name}", {"engine": "state", **labels})

    assert value("flushes_total") == 1
    assert value("snapshots") == 1
    assert value("flushed_bytes_total") == statistics.flushed_bytes
    assert value("level_entries", level="0") == 100
    assert value("stall_seconds_count") == sum(statistics.stalls)
    assert value("stall_seconds_bucket", le="+Inf") == sum(statistics.stalls)
    snapshot.close()
    await engine.close()
