"""Runs probes by the schedule: one timer for all of them, and a task only for those under way."""

import asyncio
import logging
from collections.abc import Callable

from runtime import Randomness
from runtime.tasks import TaskScope
from services.registry.checks.metrics import CheckCounters
from services.registry.checks.probes.asking import Ask
from services.registry.checks.probes.result import Result
from services.registry.checks.schedule import Schedule
from services.registry.domain import CheckDefinition, Health

log = logging.getLogger(__name__)


class Prober:
    """Asks what it was given, until it is taken away. All of it belongs to one event loop."""

    def __init__(
        self,
        ask: Ask,
        random: Randomness,
        counters: CheckCounters,
        on_result: Callable[[str, Result], None],
        probes_max: int,
    ) -> None:
        self._ask = ask
        self._random = random
        self._counters = counters
        self._on_result = on_result
        self._max = probes_max
        self._schedule = Schedule()
        self._definitions: dict[str, CheckDefinition] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    @property
    def under_way(self) -> int:
        """Probes that run now."""
        return len(self._under_way)

    @property
    def skipped(self) -> int:
        """Probes that were left out, since the one before was late or slow."""
        return self._schedule.skipped

    def add(self, key: str, definition: CheckDefinition, first_within_s: float) -> None:
        """Asks from now on, the first time at a random moment within `first_within_s`; replaces what was known."""
        self.remove(key)
        self._definitions[key] = definition
        first_s = asyncio.get_running_loop().time() + self._random.random() * first_within_s
        self._schedule.add(key, definition.interval_ms / 1000, first_s)
        self._wake.set()

    def remove(self, key: str) -> None:
        """Asks it no more, and forgets the answer that is under way."""
        if self._definitions.pop(key, None) is not None:
            self._schedule.remove(key)
            task = self._under_way.pop(key, None)
            if task is not None:
                task.cancel()

    async def run(self) -> None:
        """Runs until cancelled."""
        loop = asyncio.get_running_loop()
        async with TaskScope("probes") as scope:
            while True:
                free = self._max - len(self._under_way)
                if free > 0:
                    now_s = loop.time()
                    for key in self._schedule.take_due(now_s, free):
                        self._counters.lateness.add(self._schedule.lateness_s(key, now_s))
                        self._under_way[key] = scope.spawn(self._probe(key), name="probe")
                # With all places taken, the next end of a probe wakes.
                due_s = self._schedule.next_due_s() if len(self._under_way) < self._max else None
                timer = None if due_s is None else loop.call_at(due_s, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    if timer is not None:
                        timer.cancel()
                self._wake.clear()

    async def _probe(self, key: str) -> None:
        loop = asyncio.get_running_loop()
        definition = self._definitions.get(key)
        if definition is None:
            return
        began_s = loop.time()
        try:
            try:
                result = await self._ask(definition)
            except Exception:
                # What strangers answer must not be able to end this process, whatever was not thought of.
                log.exception("a probe failed", extra={"check": definition.id, "target": definition.target})
                self._counters.probe_faults += 1
                result = Result(Health.CRITICAL, "the probe failed by an error of the registry's")
        finally:
            mine = self._under_way.get(key) is asyncio.current_task()
            if mine:
                del self._under_way[key]
                self._schedule.done(key, loop.time())
            self._wake.set()
        if mine:
            self._counters.probed(definition.kind, result.health, loop.time() - began_s)
            self._on_result(key, result)
