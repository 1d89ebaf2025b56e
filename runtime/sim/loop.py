"""The event loop on virtual time.

Invariants:
- Virtual time moves only when nothing is ready, and then straight to the next timer.
- Plain callbacks of one host run in the order in which they became ready; see `runtime.sim.scheduler`.
- A callback belongs to the incarnation whose code registered it. Of an ended one nothing runs; of a paused one
  everything waits.
- No clock, entropy, thread, socket or process of the real world is touched. The collector of cycles runs at fixed
  steps only, since finalizers of async generators and of tasks have effects.

Each host reads the loop's time by its own clock, with its own start and drift, and its timers follow that clock.
"""

import asyncio
import contextvars
import gc
import heapq
import math
import random
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar, TypeVarTuple

from runtime.sim.errors import Deadlock, HostCrashed, LimitReached
from runtime.sim.handles import SimFuture, SimHandle, SimTask
from runtime.sim.incarnation import OWNER, Incarnation
from runtime.sim.networking import NetworkingLoop
from runtime.sim.reporting import ReportingLoop
from runtime.sim.scheduler import Schedule, make_scheduler
from runtime.sim.trace import Trace
from runtime.sim.waiting import describe_waiting

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEPS_AT_ONE_TIME_MAX = 1_000_000
"""Steps without virtual time moving, after which the run counts as spinning."""
COLLECT_EVERY_STEPS = 20_000
"""How often the collector of cycles runs, since it is switched off in between."""
TIMERS_CANCELLED_MIN = 128
"""Cancelled timers are swept out when there are so many and they are more than half."""
EXECUTOR_DELAY_S_MEAN = 0.0005
"""How long the work of a thread takes on average, when the seed does not let it end at once."""


class SimLoop(NetworkingLoop, ReportingLoop):
    """Runs callbacks, tasks and timers of all hosts of a world in one thread. Made by `World`, seldom by hand."""

    def __init__(
        self,
        source: random.Random,
        *,
        schedule: Schedule = Schedule.FIFO,
        steps_max: int = 50_000_000,
        virtual_s_max: float = math.inf,
        trace: Trace | None = None,
    ) -> None:
        super().__init__()
        self.identities = 0
        """Counts callbacks, tasks and hashed futures; each draws its number here."""
        self.trace = trace if trace is not None else Trace(record=False)
        self.steps = 0
        self.steps_max = steps_max
        self.virtual_s_max = virtual_s_max
        self.virtual_s = 0.0
        """Time since the start of the run. Hosts see it through their own clocks, the world itself from an offset."""
        self.world = Incarnation("world", 0, None)
        # trio's idea: a clock that starts anywhere shows at once when two clocks are mixed up.
        self.world.offset_s = source.uniform(1e3, 1e5)
        self.incarnations = [self.world]
        """All that ever lived, in the order of their birth."""
        self._random = source
        self._scheduler = make_scheduler(schedule, source)
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._timers_cancelled = 0
        self._current = self.world
        self._stopping = False
        self._running = False
        self._closed = False
        self._asyncgen_owners: dict[int, Incarnation] = {}

    # Time

    def time(self) -> float:
        """Seconds by the monotonic clock of the host whose code asks."""
        owner = self._current
        return self.virtual_s * owner.rate + owner.offset_s

    @property
    def current(self) -> Incarnation:
        """Whose callback runs now."""
        return self._current

    # Callbacks

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """Runs `callback` as soon as its turn comes."""
        bound = getattr(callback, "__self__", None)
        if bound.__class__ is SimTask:
            owner: Incarnation = bound.owner
            task: int = bound.identity
            if context is None:
                context = contextvars.copy_context()
        else:
            task = 0
            if context is None:
                owner = OWNER.get(self.world)
                context = contextvars.copy_context()
            else:
                owner = context.get(OWNER, self.world)
        self.identities += 1
        handle = SimHandle(callback, args, context, self, owner, self.identities, task)
        if owner.running:
            self._scheduler.add(handle)
        elif owner.paused:
            owner.parked.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """The same as `call_soon`: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """Runs `callback` after `delay` seconds of the calling host's clock."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """Runs `callback` when the calling host's clock shows `when`."""
        owner = self._current
        rate, offset = owner.rate, owner.offset_s
        virtual = max(self.virtual_s, (when - offset) / rate)
        # Rounding must not let a timer fire while its own clock still shows less than what was asked for.
        while virtual * rate + offset < when:
            virtual = math.nextafter(virtual, math.inf)
        return self.call_virtual(virtual, callback, *args, context=context, when=when)

    def call_virtual(
        self,
        virtual_s: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
        when: float = 0.0,
    ) -> SimHandle:
        """Runs `callback` at a point of virtual time, whatever the hosts' clocks show."""
        if context is None:
            context = contextvars.copy_context()
        self.identities += 1
        handle = SimHandle(callback, args, context, self, context.get(OWNER, self.world), self.identities, 0)
        handle._scheduled = True
        handle._when = when
        heapq.heappush(self._timers, (virtual_s, self.identities, handle))
        return handle

    def timer_cancelled(self) -> None:
        """Sweeps cancelled timers out when they are many; called by the handle."""
        self._timers_cancelled += 1
        if self._timers_cancelled >= TIMERS_CANCELLED_MIN and self._timers_cancelled * 2 > len(self._timers):
            self._timers = [timer for timer in self._timers if not timer[2]._cancelled]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0

    # Tasks and futures

    def create_future(self) -> SimFuture[Any]:
        """A future that hashes by number."""
        future: SimFuture[Any] = SimFuture(loop=self)
        future.owner = self._current
        return future

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
        **_: object,
    ) -> SimTask[T]:
        """A task that hashes by number and belongs to the host of its context."""
        if context is None:
            context = contextvars.copy_context()
        owner = context.get(OWNER, self.world)
        if not owner.alive:
            coro.close()
            raise RuntimeError(f"{owner.name} has ended and starts nothing any more")
        return SimTask(coro, self, str(name) if name is not None else None, context, owner)

    def get_task_factory(self) -> None:
        """Always None: see `set_task_factory`."""
        return

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """Runs `func` in line at a seeded step; there are no threads."""
        future: SimFuture[T] = self.create_future()
        if self._random.random() < 0.5:
            self.call_soon(_run_in_line, future, func, args)
        else:
            delay_s = self._random.expovariate(1 / EXECUTOR_DELAY_S_MEAN)
            self.call_virtual(self.virtual_s + delay_s, _run_in_line, future, func, args)
        return future

    def set_default_executor(self, executor: object) -> None:
        """Ignored: every executor is the loop itself."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing to do."""

    # Hosts

    def add_incarnation(self, name: str, host: object) -> Incarnation:
        """A new life, whose callbacks and tasks the loop will run."""
        incarnation = Incarnation(name, len(self.incarnations), host)
        self.incarnations.append(incarnation)
        return incarnation

    def pause(self, incarnation: Incarnation) -> None:
        """Lets nothing of a host run; its timers that are due wait, too."""
        incarnation.paused = True
        incarnation.running = False

    def resume(self, incarnation: Incarnation) -> None:
        """Lets a paused host go on: what waited becomes ready in its order."""
        if incarnation.alive and incarnation.paused:
            incarnation.paused = False
            incarnation.running = True
            parked, incarnation.parked = incarnation.parked, []
            for handle in parked:
                self._scheduler.add(handle)

    def end(self, incarnation: Incarnation) -> None:
        """Ends a life: nothing of it runs any more. Its coroutines are closed here, behind the fence."""
        incarnation.alive = incarnation.running = incarnation.paused = False
        incarnation.parked.clear()
        before, self._current = self._current, incarnation
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            for task in list(incarnation.tasks):
                incarnation.context.copy().run(task.abandon)
        finally:
            self._current = before
            asyncio._set_running_loop(running)

    # Running

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Runs until the future is done, and gives its result.

        Raises what the future raises; Deadlock; LimitReached; and the first error that nobody handled.
        """
        if isinstance(future, asyncio.Future):
            main: asyncio.Future[T] = future
        else:
            main = self.create_task(future if isinstance(future, Coroutine) else _await(future), name="main")
        main.add_done_callback(self._main_done)
        self.run_forever()
        if self.failure is not None:
            raise self.failure
        return main.result()

    def run_forever(self) -> None:
        """Runs until `stop`, or until an error that nobody handled."""
        if self._running or self._closed:
            raise RuntimeError("the loop runs already, or is closed")
        self._running = True
        self._stopping = False
        asyncgen_hooks = sys.get_asyncgen_hooks()
        collecting = gc.isenabled()
        gc.disable()
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_first, finalizer=self._asyncgen_final)
        previous = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            self._run()
        finally:
            asyncio._set_running_loop(previous)
            sys.set_asyncgen_hooks(*asyncgen_hooks)
            if collecting:
                gc.enable()
            self._running = False

    def _run(self) -> None:
        take = self._scheduler.take
        trace = self.trace
        recorded = trace.recorded
        moved_at = self.steps
        while not self._stopping:
            handle = take()
            if handle is None:
                self._advance()
                moved_at = self.steps
                continue
            owner = handle.owner
            if handle._cancelled:
                continue
            if not owner.running:
                if owner.paused:
                    owner.parked.append(handle)
                continue
            self.steps = steps = self.steps + 1
            self._current = owner
            trace.value = hash((trace.value, handle.identity, handle.task, owner.index, self.virtual_s))
            if recorded is not None:
                recorded.append(f"{self.virtual_s:.9f} {owner.name} {handle.identity} {handle.what()} [{trace.hex()}]")
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except HostCrashed:
                # A plain callback crashed its own host; test_host.py has it. A task would have kept it to itself.
                assert not owner.alive
            except Exception as error:  # noqa: BLE001  # reported, as the loop's contract asks
                self.call_exception_handler(
                    {"message": f"error in {handle!r}", "exception": error, "handle": handle, "owner": owner}
                )
            if steps % COLLECT_EVERY_STEPS == 0:
                self._check_limits(steps, moved_at)
        self._current = self.world

    def _advance(self) -> None:
        """Moves to the next timer, and makes ready all that are due then."""
        timers = self._timers
        while timers:
            virtual_s, _, handle = heapq.heappop(timers)
            if handle._cancelled:
                self._timers_cancelled -= 1
                continue
            handle._scheduled = False
            if virtual_s > self.virtual_s_max:
                raise LimitReached(f"{self.virtual_s_max} virtual seconds are over\n{self.describe_waiting()}")
            self.virtual_s = virtual_s
            self._ready_timer(handle)
            while timers and timers[0][0] <= virtual_s:
                _, _, handle = heapq.heappop(timers)
                if handle._cancelled:
                    self._timers_cancelled -= 1
                else:
                    handle._scheduled = False
                    self._ready_timer(handle)
            return
        raise Deadlock(f"nothing is ready and no timer is set\n{self.describe_waiting()}")

    def _ready_timer(self, handle: SimHandle) -> None:
        owner = handle.owner
        if owner.running:
            self._scheduler.add(handle)
        elif owner.paused:
            owner.parked.append(handle)

    def _check_limits(self, steps: int, moved_at: int) -> None:
        gc.collect()
        if steps >= self.steps_max:
            raise LimitReached(f"{steps} steps are over\n{self.describe_waiting()}")
        if steps - moved_at > STEPS_AT_ONE_TIME_MAX:
            raise LimitReached(f"{steps - moved_at} steps without time moving\n{self.describe_waiting()}")

    def describe_waiting(self) -> str:
        """Who waits for what."""
        return describe_waiting(self.incarnations)

    def _main_done(self, _: object) -> None:
        self._stopping = True

    def stop(self) -> None:
        """Lets `run_forever` return after the present callback."""
        self._stopping = True

    def is_running(self) -> bool:
        """Whether it runs."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    def close(self) -> None:
        """Ends every life, the world's own last."""
        if self._running:
            raise RuntimeError("the loop runs")
        for incarnation in reversed(self.incarnations):
            self.end(incarnation)
        self._timers.clear()
        self._closed = True

    # Async generators

    def _asyncgen_first(self, generator: AsyncGenerator[Any, Any]) -> None:
        # By address: looked up, never iterated; an entry that stayed is replaced when the address is used again.
        self._asyncgen_owners[id(generator)] = self._current

    def _asyncgen_final(self, generator: AsyncGenerator[Any, Any]) -> None:
        owner = self._asyncgen_owners.pop(id(generator), self._current)
        if owner.alive and not self._closed:
            work = generator.aclose()
            owner.context.copy().run(self.create_task, _close(work), name="aclose")

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: what is left is dropped with its host."""


def _run_in_line(future: "asyncio.Future[T]", function: Callable[[*Ts], T], arguments: tuple[*Ts]) -> None:
    if future.cancelled():
        return
    try:
        future.set_result(function(*arguments))
    except Exception as error:  # noqa: BLE001  # the caller's to handle, by the future
        future.set_exception(error)


async def _await(awaitable: Awaitable[T] | Generator[Any, None, T]) -> T:
    assert isinstance(awaitable, Awaitable)
    return await awaitable


async def _close(work: Awaitable[Any]) -> None:
    await work
