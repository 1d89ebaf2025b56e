"""The prober in virtual time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from runtime.sim import SeededRandomness, SwarmOptions, World, run
from services.registry.checks.metrics import CheckCounters
from services.registry.checks.prober import Prober
from services.registry.checks.probes import Result
from services.registry.domain import CheckKind, Health
from tests.unit.services.registry.checks.living import Answers, tcp


class Scene:
    def __init__(self, probes_max: int = 3) -> None:
        self.answers = Answers()
        self.counters = CheckCounters()
        self.results: list[tuple[str, Health]] = []
        self.prober = Prober(
            self.answers, SeededRandomness(random.Random(1)), self.counters, self._on_result, probes_max
        )

    def _on_result(self, key: str, result: Result) -> None:
        self.results.append((key, result.health))


def play(scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole(world: World) -> None:
        scene = Scene()
        task = asyncio.get_running_loop().create_task(scene.prober.run())
        await scenario(scene)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert scene.answers.under_way == 0

    run(1, whole, options=SwarmOptions())


def test_an_answer_that_is_under_way_when_its_check_goes_is_forgotten() -> None:
    async def scenario(scene: Scene) -> None:
        scene.answers.takes_s = 5.0
        scene.prober.add("k", tcp("p", 10_000), 0.0)
        await asyncio.sleep(1)
        assert scene.prober.under_way == 1
        scene.prober.remove("k")
        await asyncio.sleep(0.1)
        assert scene.prober.under_way == scene.answers.under_way == 0
        await asyncio.sleep(20)
        assert scene.results == []
        assert scene.counters.probes.total() == 0

    play(scenario)


def test_a_check_that_changes_while_it_is_asked_is_asked_anew_and_once_at_a_time() -> None:
    async def scenario(scene: Scene) -> None:
        scene.answers.takes_s = 2.0
        scene.prober.add("k", tcp("old", 10_000), 0.0)
        await asyncio.sleep(1)
        scene.prober.add("k", tcp("new", 10_000), 0.0)
        await asyncio.sleep(5)
        assert scene.results == [("k", Health.PASSING)]
        assert scene.answers.under_way_max == 1
        assert scene.answers.asked == {"old:80": 1, "new:80": 1}

    play(scenario)


def test_waiting_ones_start_when_a_place_is_free_and_their_lateness_is_counted() -> None:
    async def scenario(scene: Scene) -> None:
        scene.answers.takes_s = 2.0
        for number in range(9):
            scene.prober.add(f"k{number}", tcp(f"p{number}", 60_000), 0.0)
        await asyncio.sleep(7)
        assert len(scene.results) == 9
        assert scene.answers.under_way_max == 3
        assert scene.counters.lateness.counts[0] == 3
        assert scene.counters.lateness.sum_s > 15
        distribution = scene.counters.durations[CheckKind.TCP]
        assert sum(distribution.counts) == 9
        assert 17.9 < distribution.sum_s < 18.1

    play(scenario)


def test_nothing_to_ask_costs_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        before = asyncio.get_running_loop().steps  # type: ignore[attr-defined]
        await asyncio.sleep(1_000)
        assert asyncio.get_running_loop().steps - before < 10  # type: ignore[attr-defined]

    play(scenario)
