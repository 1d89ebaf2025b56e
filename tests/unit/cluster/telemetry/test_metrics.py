import asyncio
import time

from cluster.telemetry.metrics import LoopLag, process_registry


async def test_a_blocked_loop_shows_as_lag() -> None:
    registry = process_registry()
    lag = LoopLag(registry)
    lag.start()
    try:
        async with asyncio.timeout(10):
            while registry.get_sample_value("orrery_event_loop_lag_seconds_sum", {}) in (None, 0.0):
                time.sleep(0.3)  # the fault under test: something holds the loop
                await asyncio.sleep(0.3)
        assert (registry.get_sample_value("orrery_event_loop_lag_seconds_sum", {}) or 0) < 10
    finally:
        lag.stop()
    lag.stop()
