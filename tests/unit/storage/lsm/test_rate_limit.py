"""The rate holds over time, and idling saves up no more than a burst. On virtual time."""

import asyncio
import random

from runtime.sim import SimLoop
from storage.lsm.rate_limit import BURST_S, RateLimit


def test_the_rate_holds() -> None:
    async def taking() -> None:
        loop = asyncio.get_running_loop()
        limit = RateLimit(1000)
        begin_s = loop.time()
        for _ in range(50):
            await limit.take(100)
        # The last one is not paid for, and the first ones come out of the burst.
        assert 4.9 - BURST_S <= loop.time() - begin_s <= 4.9 + 0.01
        assert limit.waited_s > 4
        await asyncio.sleep(1000)
        begin_s = loop.time()
        for _ in range(20):
            await limit.take(100)
        assert loop.time() - begin_s >= 1.9 - BURST_S - 0.01

    loop = SimLoop(random.Random(1))
    loop.run_until_complete(taking())
    loop.close()


async def test_without_a_rate_nobody_waits() -> None:
    limit = RateLimit(None)
    for _ in range(1000):
        await limit.take(1 << 40)
    assert limit.waited_s == 0
