"""One suite for every engine: random histories against a dict, with the power lost at any operation of the disk.

Method: the model keeps the content after each write since the last flush that returned. Reads must equal the last of
these, snapshots what they were taken of, checkpoints what was there when they were asked for. After a crash or a
reopening the engine must hold one of them: so never half of a batch, never a write without those before it, and
everything that was flushed. Async calls run on a SimLoop of the test's; `step` lets them go on a few turns at a time,
so that writes, snapshots and crashes fall between any two operations of a flush.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from runtime.sim import SimDisk, SimLoop
from storage.engine import Corruption, DurableEngine
from tests.unit.storage.engine_suite.machine import CHANGES, Change, Content, EngineMachine, pairs

T = TypeVar("T")

CHECKPOINTS_MAX = 4
CALM_WRITES_MIN = 4
"""Between two crashes, so that snapshots get old and free pages get used before the next one drops all."""
PATH = "data/engine"


@dataclass
class Work:
    """An async call that has begun."""

    task: asyncio.Task[None]
    covers: int
    """For a flush: the number of the state that it makes durable."""
    checkpoint: str | None = None
    content: Content = field(default_factory=dict)


class DurableEngineMachine(EngineMachine):
    """The rules for an engine on a disk. A subclass says how it is opened."""

    disk_seed: ClassVar[int] = 0
    engine: DurableEngine

    def __init__(self) -> None:
        super().__init__()
        self.loop = SimLoop(random.Random(1))
        self.disk = SimDisk(random.Random(self.disk_seed))
        self.first = 0
        """The number of the first of the states. Every write makes a state of the next number."""
        self.works: list[Work] = []
        self.checkpoints = self.crashes = self.calm = 0
        self.engine = self.run(self.open(PATH))

    # How the engine is driven.

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    def run_here(self, call: Callable[[], T]) -> T:
        """On the loop, since a write may begin work in the background."""

        async def make() -> T:
            return call()

        return self.run(make())

    async def open(self, path: str) -> DurableEngine:
        """Opens the engine on `disk`, with small limits, so that a short history meets all of them."""
        raise NotImplementedError

    def flushed(self, number: int) -> None:
        """The state of this number is durable: older ones cannot come back."""
        if number > self.first:
            del self.states[: number - self.first]
            self.first = number

    # The disk.

    @rule()
    def flush(self) -> None:
        number = self.first + len(self.states) - 1
        self.run(self.engine.flush())
        self.flushed(number)
        self.settle(0)

    @rule()
    def begin_flush(self) -> None:
        async def begin() -> asyncio.Task[None]:
            return asyncio.get_running_loop().create_task(self.engine.flush())

        self.works.append(Work(self.run(begin()), self.first + len(self.states) - 1))

    @precondition(lambda self: self.checkpoints < CHECKPOINTS_MAX)
    @rule()
    def begin_checkpoint(self) -> None:
        self.checkpoints += 1
        path = f"copies/{self.checkpoints}"

        async def begin() -> asyncio.Task[None]:
            task = asyncio.get_running_loop().create_task(self.engine.checkpoint(path))
            # It is asked for when its first step runs.
            await asyncio.sleep(0)
            return task

        self.works.append(Work(self.run(begin()), 0, path, self.content))

    @rule(turns=st.integers(0, 40))
    def settle(self, turns: int) -> None:
        """Lets what runs in the background go on, and looks at what has ended."""

        async def step() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run(step())
        for work in [work for work in self.works if work.task.done()]:
            self.works.remove(work)
            work.task.result()
            self.flushed(work.covers)
            if work.checkpoint is not None:
                self.look_at_checkpoint(work.checkpoint, work.content)

    def look_at_checkpoint(self, path: str, content: Content) -> None:
        async def look() -> list[tuple[bytes, bytes]]:
            copy = await self.open(path)
            try:
                return list(copy.scan())
            finally:
                await copy.close()

        assert self.run(look()) == pairs(content, None, None, False)

    @rule()
    def throttle(self) -> None:
        self.run(self.engine.throttle())

    @precondition(lambda self: self.calm >= CALM_WRITES_MIN)
    @rule()
    def reopen(self) -> None:
        """Nothing is lost that was flushed; what was not flushed may be."""
        self.end_works()
        self.drop_snapshots()
        self.run(self.engine.close())
        self.run(self.engine.close())
        self.disk.end_process()
        self.engine = self.run(self.open(PATH))
        number = self.recognise()
        del self.states[number + 1 :]

    @precondition(lambda self: self.calm >= CALM_WRITES_MIN)
    @rule(again_at=st.lists(st.integers(1, 12), max_size=2))
    def crash(self, again_at: list[int]) -> None:
        """The power is lost between two operations, and perhaps again while the engine opens."""
        self.lose_power(again_at)

    @precondition(lambda self: self.calm >= CALM_WRITES_MIN)
    @rule(
        what=st.sampled_from(["flush", "checkpoint", "throttle", "reopen"]),
        at=st.integers(1, 25),
        turns=st.integers(1, 30),
        changes=st.lists(CHANGES, max_size=4),
        again_at=st.lists(st.integers(1, 12), max_size=2),
    )
    def crash_during(self, what: str, at: int, turns: int, changes: list[Change], again_at: list[int]) -> None:
        """The power is lost within a call; some writes are made while it runs."""
        self.disk.power_lost_at = self.disk.operations + at
        self.crashes += 1
        path = f"copies/under-crash-{self.crashes}"
        content = self.content
        copied = False

        async def act() -> None:
            if what == "flush":
                await self.engine.flush()
            elif what == "checkpoint":
                await self.engine.checkpoint(path)
            elif what == "throttle":
                await self.engine.throttle()
            else:
                await self.engine.close()
                self.disk.end_process()
                self.engine = await self.open(PATH)

        async def begin() -> asyncio.Task[None]:
            task = asyncio.get_running_loop().create_task(act())
            for _ in range(turns):
                await asyncio.sleep(0)
            return task

        number = self.first + len(self.states) - 1
        task = self.run(begin())
        self.works.append(Work(task, 0))
        try:
            if what != "reopen":
                for change in changes:
                    self.write_one(change)
            self.run(task)
        except OSError as error:
            if not self.disk.power_lost:
                raise AssertionError("only a power loss may break it") from error
        else:
            if what == "flush":
                self.flushed(number)
            copied = what == "checkpoint"
        self.lose_power(again_at)
        if copied:
            self.look_at_checkpoint(path, content)

    def lose_power(self, again_at: list[int]) -> None:
        self.run(self.cancel_all())
        self.drop_snapshots()
        self.disk.crash()
        for at in again_at:
            self.disk.power_lost_at = self.disk.operations + at
            try:
                self.engine = self.run(self.open(PATH))
            except Corruption:
                raise
            except OSError:
                assert self.disk.power_lost
            self.run(self.cancel_all())
            self.disk.crash()
        self.engine = self.run(self.open(PATH))
        number = self.recognise()
        # It was read from what the power loss left, so the next one leaves it, too.
        self.first += number
        self.states = [self.states[number]]

    def recognise(self) -> int:
        """Which of the states the engine holds: the index of the last that fits."""
        found = dict(self.engine.scan())
        for number in range(len(self.states) - 1, -1, -1):
            if self.states[number] == found:
                return number
        raise AssertionError(f"after a reopening it holds none of the {len(self.states)} states that it may hold")

    def end_works(self) -> None:
        while self.works:
            self.settle(1)

    def drop_snapshots(self) -> None:
        self.snapshots.clear()
        self.calm = 0

    def note(self, changes: list[Change]) -> None:
        super().note(changes)
        self.calm += 1

    async def cancel_all(self) -> None:
        """What a host does to its tasks when it dies."""
        await asyncio.sleep(0)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        works = [work.task for work in self.works]
        self.works.clear()
        await asyncio.gather(*works, *tasks, return_exceptions=True)

    def teardown(self) -> None:
        try:
            if self.disk.power_lost_at is None:
                self.end_works()
                self.scan_all(False)
                self.scan_all(True)
        finally:
            self.run(self.cancel_all())
            self.loop.close()
