"""A registry in virtual time: a copy in memory, processes that run checks, instances that answer as they are told."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from cluster.membership.core import Address, Status
from cluster.membership.driver import Change, ChangeKind, MemberView, Watch
from cluster.membership.metadata import EMPTY
from runtime.sim import SeededRandomness, SwarmOptions, World, run
from services.registry.catalogue import MemoryCatalogue
from services.registry.checks.checks import Checks
from services.registry.checks.judging import observe
from services.registry.checks.options import CheckOptions
from services.registry.checks.probes import Result
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node
from services.registry.interface import Beat, Check, Registrar
from tests.unit.services.registry.checks.no_net import NoNet
from tests.unit.services.registry.memory_registry import MemoryStore, memory_registry

CALM = SwarmOptions()


class LoopClock:
    """Wall and monotonic time that follow the loop's."""

    def __init__(self) -> None:
        self.step_s = 0.0
        """How far the wall clock was put forward."""

    def wall_s(self) -> float:
        return 1_700_000_000.0 + asyncio.get_running_loop().time() + self.step_s

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


class FakeMembers:
    """Membership as one is told that it is."""

    def __init__(self, *names: str) -> None:
        self.joined = True
        self._views = {name: self._view(name, Status.ALIVE) for name in names}
        self._watches: dict[Watch, None] = {}

    def _view(self, name: str, status: Status) -> MemberView:
        return MemberView(name, status, Address("127.0.0.1", 1), EMPTY, 1, 1)

    def members(self) -> list[MemberView]:
        return [view for view in self._views.values() if view.status <= Status.SUSPECT]

    def member(self, name: str) -> MemberView | None:
        return self._views.get(name)

    def watch(self) -> Watch:
        watch = Watch(1_000, lambda gone: self._watches.pop(gone, None))
        self._watches[watch] = None
        for view in self.members():
            watch.put(Change(ChangeKind.JOINED, view))
        return watch

    def say(self, name: str, status: Status) -> None:
        """A member is this from now on."""
        view = self._views[name] = self._view(name, status)
        kinds = {
            Status.ALIVE: ChangeKind.JOINED,
            Status.SUSPECT: ChangeKind.SUSPECT,
            Status.FAILED: ChangeKind.FAILED,
            Status.LEFT: ChangeKind.LEFT,
        }
        for watch in tuple(self._watches):
            watch.put(Change(kinds[status], view))

    def overflow(self) -> None:
        """The watchers were too slow."""
        for watch in tuple(self._watches):
            watch.put(Change(ChangeKind.RESET, None))

    def put_silently(self, name: str, status: Status | None) -> None:
        """It becomes this, or unknown, and nobody is told."""
        if status is None:
            self._views.pop(name, None)
        else:
            self._views[name] = self._view(name, status)


class Answers:
    """Answers probes; each takes `takes_s`."""

    def __init__(self) -> None:
        self.health: dict[str, Health] = {}
        """By target; passing unless said."""
        self.takes_s = 0.01
        self.asked: Counter[str] = Counter()
        self.times: list[tuple[float, str]] = []
        self.under_way = 0
        self.under_way_max = 0
        self.fault: Exception | None = None

    async def __call__(self, definition: CheckDefinition) -> Result:
        self.asked[definition.target] += 1
        self.times.append((asyncio.get_running_loop().time(), definition.target))
        self.under_way += 1
        self.under_way_max = max(self.under_way, self.under_way_max)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.under_way -= 1
        if self.fault is not None:
            raise self.fault
        health = self.health.get(definition.target, Health.PASSING)
        return Result(health, f"{definition.target} says {health.value}")


class Living:
    """What a scenario plays with."""

    def __init__(self, world: World) -> None:
        self.clock = LoopClock()
        self.catalogue: MemoryCatalogue
        self.registrar: Registrar
        self.store: MemoryStore
        self.catalogue, self.registrar, self.store = memory_registry(self.clock, judge=observe)
        self.random = SeededRandomness(random.Random(world.seed))
        self.answers = Answers()
        self.silent = False
        """kv says nothing, so the copy may be old; it would take writes."""
        self.flips: list[tuple[float, str, Health]] = []
        """Every state that was kept, with when."""
        self.catalogue.subscribe(
            lambda changes: self.flips.extend(
                (self.now_s, change.id, check.state.health)
                for change in changes
                if (check := self.catalogue.check(change.node, change.id)) is not None
            )
        )
        self._running: dict[str, asyncio.Task[None]] = {}
        self._hearing = asyncio.get_running_loop().create_task(self._hear())

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def _hear(self) -> None:
        while True:
            if not self.store.away and not self.silent:
                self.catalogue.heard()
            await asyncio.sleep(1.0)

    def start(
        self, name: str = "a", *, members: FakeMembers | None = None, options: CheckOptions | None = None
    ) -> Checks:
        """A process of the registry begins to run checks."""
        self.store.add_process(name)
        checks = Checks(
            self.catalogue,
            self.registrar,
            members,
            name,
            clock=self.clock,
            random=self.random,
            net=NoNet(),
            options=options,
            ask=self.answers,
        )
        self._running[name] = asyncio.get_running_loop().create_task(checks.run())
        return checks

    async def stop(self, name: str) -> None:
        """It dies, and its lease ends."""
        task = self._running.pop(name)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self.store.remove_process(name)

    async def end(self) -> None:
        for name in tuple(self._running):
            await self.stop(name)
        self._hearing.cancel()

    async def add(self, *checks: CheckDefinition, instance: str = "i", node: str = "") -> None:
        """Registers an instance with checks."""
        address = Node(node, "127.0.0.1") if node else None
        await self.registrar.register(
            Instance(node, instance, "web", address="127.0.0.1", port=80), checks, node=address
        )

    async def beat(self, check_id: str, health: Health = Health.PASSING, node: str = "orrery") -> None:
        results = await self.registrar.beat([Beat(node, check_id, health)])
        assert results == [None]

    def check(self, check_id: str, node: str = "orrery") -> Check:
        found = self.catalogue.check(node, check_id)
        assert found is not None
        return found

    def state(self, check_id: str, node: str = "orrery") -> CheckState:
        return self.check(check_id, node).state

    def health(self, check_id: str, node: str = "orrery") -> Health:
        return self.state(check_id, node).health

    async def until(self, holds: Callable[[], bool], within_s: float = 60.0) -> None:
        async with asyncio.timeout(within_s):
            while not holds():
                await asyncio.sleep(0.05)


@asynccontextmanager
async def living(world: World) -> AsyncIterator[Living]:
    found = Living(world)
    try:
        yield found
    finally:
        await found.end()


def play(scenario: Callable[[Living], Awaitable[None]], seed: int = 1) -> None:
    """Runs a scenario in virtual time."""

    async def whole(world: World) -> None:
        async with living(world) as found:
            await scenario(found)

    run(seed, whole, options=CALM)


def ttl(check_id: str = "t", ttl_ms: int = 10_000, **fields: object) -> CheckDefinition:
    return CheckDefinition(check_id, check_id, CheckKind.TTL, ttl_ms=ttl_ms, **fields)  # type: ignore[arg-type]


def tcp(check_id: str = "p", interval_ms: int = 10_000, **fields: object) -> CheckDefinition:
    values = {"target": f"{check_id}:80"} | fields
    return CheckDefinition(check_id, check_id, CheckKind.TCP, interval_ms=interval_ms, **values)  # type: ignore[arg-type]
