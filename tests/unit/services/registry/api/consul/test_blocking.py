"""Goal: a blocking query ends when what it asks for changes, when its time is over, or when its client is gone; never
otherwise. On virtual time.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runtime.sim import SimLoop
from services.registry.api.consul import ConsulSettings
from tests.unit.services.registry.api.asking import Answer, Registry


def play(main: Callable[[], Awaitable[Any]]) -> None:
    loop = SimLoop(random.Random(1))
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


async def timed(registry: Registry, target: str) -> tuple[float, Answer]:
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    answer = await registry.get(target)
    return loop.time() - begin_s, answer


def test_it_ends_when_what_it_asks_for_changes_and_not_before() -> None:
    async def main() -> None:
        registry = Registry()
        await registry.register("web", Port=80)
        index = (await registry.get("/v1/health/service/web")).index
        waiting = asyncio.create_task(timed(registry, f"/v1/health/service/web?index={index}&wait=60s"))
        await asyncio.sleep(5)
        await registry.register("db")
        await asyncio.sleep(5)
        assert not waiting.done()
        assert registry.consul.waiting == 1
        await registry.register("web", ID="web-2")
        took_s, answer = await waiting
        assert took_s == pytest.approx(10)
        assert answer.index > index
        assert len(answer.json) == 2
        assert registry.consul.waiting == 0

    play(main)


@pytest.mark.parametrize(
    ("query", "least_s", "most_s"),
    [
        ("&wait=16s", 16, 17),
        ("", 300, 300 * 17 / 16),
        ("&wait=0s", 300, 300 * 17 / 16),
        ("&wait=24h", 600, 600 * 17 / 16),
        ("&wait=-1s", 0, 0),
    ],
)
def test_it_ends_when_its_time_is_over_and_up_to_a_16th_later(query: str, least_s: float, most_s: float) -> None:
    async def main() -> None:
        registry = Registry()
        await registry.register("web")
        index = (await registry.get("/v1/health/service/web")).index
        seen = [await timed(registry, f"/v1/health/service/web?index={index}{query}") for _ in range(8)]
        assert all(least_s <= took_s <= most_s + 1e-6 for took_s, _ in seen)
        assert len({took_s for took_s, _ in seen}) == (8 if most_s else 1)
        assert {answer.index for _, answer in seen} == {index}
        assert all(len(answer.json) == 1 for _, answer in seen)

    play(main)


def test_without_an_index_or_with_an_old_one_it_is_answered_at_once() -> None:
    async def main() -> None:
        registry = Registry()
        await registry.register("web")
        for query in ("", "?index=0", "?index=0&wait=1m", "?index=1&wait=1m", "?index="):
            took_s, answer = await timed(registry, f"/v1/health/service/web{query}")
            assert took_s == 0
            assert answer.status == 200

    play(main)


def test_an_index_from_the_future_waits_and_is_told_the_lower_one() -> None:
    async def main() -> None:
        registry = Registry()
        took_s, answer = await timed(registry, "/v1/health/service/web?index=1000000&wait=10s")
        assert took_s >= 10
        assert answer.index < 1_000_000

    play(main)


def test_an_index_is_never_zero() -> None:
    async def main() -> None:
        registry = Registry()
        for path in ("health/service/none", "health/state/any", "catalog/services", "catalog/nodes", "health/node/x"):
            assert (await registry.get(f"/v1/{path}")).index >= 1

    play(main)


def test_a_client_that_goes_away_frees_its_place() -> None:
    async def main() -> None:
        registry = Registry(ConsulSettings("127.0.0.1:8500", waiters_max=2))
        target = "/v1/catalog/services?index=99&wait=10m"
        waiting = [asyncio.create_task(registry.get(target)) for _ in range(2)]
        await asyncio.sleep(1)
        refused = await registry.get(target)
        assert refused.status == 429
        assert "2 blocking queries wait here already" in refused.text
        waiting[0].cancel()
        await asyncio.sleep(0.01)
        assert registry.consul.waiting == 1
        assert registry.catalogue.topics.waiting == 1
        next_one = asyncio.create_task(registry.get(target))
        await asyncio.sleep(1)
        assert registry.consul.waiting == 2
        for task in (waiting[1], next_one):
            task.cancel()
        await asyncio.sleep(0.01)
        assert (registry.consul.waiting, registry.catalogue.topics.waiting) == (0, 0)

    play(main)


def test_a_process_that_ends_answers_all_who_wait() -> None:
    async def main() -> None:
        registry = Registry()
        await registry.register("web")
        waiting = [asyncio.create_task(timed(registry, "/v1/health/service/web?index=99&wait=10m")) for _ in range(3)]
        await asyncio.sleep(1)
        registry.consul.stop_waiting()
        for took_s, answer in await asyncio.gather(*waiting):
            assert took_s == pytest.approx(1)
            assert len(answer.json) == 1
        took_s, _ = await timed(registry, "/v1/health/service/web?index=99&wait=10m")
        assert took_s == 0

    play(main)
