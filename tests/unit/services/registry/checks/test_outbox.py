"""The outbox in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from runtime.sim import SwarmOptions, World, run
from services.registry.checks.outbox import Outbox, Outcome


class Kept:
    """Settles as it is told, and remembers when."""

    def __init__(self) -> None:
        self.outcomes: dict[str, list[Outcome]] = {}
        """What is answered next; DONE when there is nothing."""
        self.settled: list[tuple[float, str]] = []
        self.under_way: list[str] = []
        self.under_way_max = 0
        self.may = True

    async def settle(self, key: str) -> Outcome:
        assert key not in self.under_way  # never twice at a time
        self.under_way.append(key)
        self.under_way_max = max(self.under_way_max, len(self.under_way))
        await asyncio.sleep(0.1)
        self.under_way.remove(key)
        self.settled.append((asyncio.get_running_loop().time(), key))
        left = self.outcomes.get(key, [])
        return left.pop(0) if left else Outcome.DONE

    def count(self, key: str) -> int:
        return sum(name == key for _, name in self.settled)


def play(scenario: Callable[[Outbox, Kept], Awaitable[None]]) -> None:
    async def whole(world: World) -> None:
        kept = Kept()
        outbox = Outbox(kept.settle, lambda: kept.may, writes_max=4, retry_s=1.0, retry_s_max=8.0)
        task = asyncio.get_running_loop().create_task(outbox.run())
        await scenario(outbox, kept)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run(1, whole, options=SwarmOptions())


def test_all_are_settled_once_and_a_few_at_a_time() -> None:
    async def scenario(outbox: Outbox, kept: Kept) -> None:
        for number in range(50):
            outbox.mark(f"k{number}")
            outbox.mark(f"k{number}")
        await asyncio.sleep(5)
        assert sorted(key for _, key in kept.settled) == sorted(f"k{number}" for number in range(50))
        assert kept.under_way_max == 4
        assert len(outbox) == 0

    play(scenario)


def test_one_that_is_marked_while_it_is_settled_is_settled_again() -> None:
    async def scenario(outbox: Outbox, kept: Kept) -> None:
        outbox.mark("k")
        await asyncio.sleep(0.05)
        for _ in range(9):
            outbox.mark("k")
        await asyncio.sleep(5)
        assert kept.count("k") == 2

    play(scenario)


def test_one_that_came_second_is_tried_again_soon_and_holds_nobody_up() -> None:
    async def scenario(outbox: Outbox, kept: Kept) -> None:
        kept.outcomes["k"] = [Outcome.AGAIN] * 3
        outbox.mark("k")
        outbox.mark("other")
        await asyncio.sleep(0.15)
        assert kept.count("other") == 1
        await asyncio.sleep(0.6)
        assert kept.count("k") == 4

    play(scenario)


def test_while_kv_is_away_one_asks_and_less_and_less_often() -> None:
    async def scenario(outbox: Outbox, kept: Kept) -> None:
        kept.outcomes = {f"k{number}": [Outcome.AWAY] * 100 for number in range(20)}
        for number in range(20):
            outbox.mark(f"k{number}")
        await asyncio.sleep(60)
        assert len(kept.settled) <= 4 * 10  # rounds after 1, 2, 4, 8, 8, ... s
        assert len(outbox) >= 16
        kept.outcomes.clear()
        kept.settled.clear()
        await asyncio.sleep(12)
        assert {key for _, key in kept.settled} == {f"k{number}" for number in range(20)}
        assert len(outbox) == 0

    play(scenario)


def test_nothing_is_tried_while_nothing_may_be_written() -> None:
    async def scenario(outbox: Outbox, kept: Kept) -> None:
        kept.may = False
        outbox.mark("k")
        await asyncio.sleep(60)
        assert kept.settled == []
        kept.may = True
        await asyncio.sleep(1.2)
        assert kept.count("k") == 1

    play(scenario)
