"""A machine of the simulated world: a clock, a disk, a network interface, and at most one process on it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from runtime.runtime import Runtime
from runtime.sim.clock import SimClock
from runtime.sim.disk import SimDisk
from runtime.sim.errors import HostCrashed
from runtime.sim.handles import SimTask
from runtime.sim.host_net import HostNet
from runtime.sim.incarnation import Incarnation
from runtime.sim.net import EPHEMERAL_PORT_MIN, SimNet
from runtime.sim.randomness import SeededRandomness
from runtime.sim.server import SimServer

if TYPE_CHECKING:
    from runtime.sim.world import World

T = TypeVar("T")
Main = Callable[[Runtime], Awaitable[None]]


class SimHost:
    """Made by `World.host`. `boot` starts a process; `kill` and `crash` end it; what they leave is the disk."""

    def __init__(self, world: "World", net: SimNet, name: str) -> None:
        self.name = name
        self.world = world
        self.powered = True
        """False from a crash to the next boot."""
        self.refuses = False
        """Whether something answers for the host while it has no power."""
        self.process: Incarnation | None = None
        """The present life, None when nothing runs."""
        self.lives = 0
        """Counts boots."""
        self.ended: asyncio.Future[None] | None = None
        """Done when the latest life has ended."""
        self.exit_error: BaseException | None = None
        """What ended the latest life by itself, if anything did."""
        self._may_fail = False
        self.listeners: dict[int, SimServer] = {}
        self.last_port = EPHEMERAL_PORT_MIN
        self.disk = self._new_disk()
        self._net = net
        self._loop = world.loop
        clocks = world.stream("clock", name)
        options = world.options
        self.rate_at_first = 1.0 + clocks.uniform(-options.clock_drift_max, options.clock_drift_max)
        """What the seed made of this host's clocks."""
        self.rate = self.rate_at_first
        """Seconds of this host's clocks in one second of virtual time."""
        self.clock = SimClock(
            world.loop,
            rate=self.rate,
            start_s=clocks.uniform(1e3, 1e5),
            wall_offset_s=clocks.uniform(-options.clock_offset_s_max, options.clock_offset_s_max),
        )
        self._clocks = clocks
        self.address = net.add(self)

    def __repr__(self) -> str:
        state = "running" if self.process is not None else "on" if self.powered else "off"
        return f"<SimHost {self.name} {state}>"

    # Life

    def boot(self, main: Main, *, may_fail: bool = False) -> "asyncio.Future[None]":
        """Starts a process: `main(runtime)` in a task. It exits when that returns.

        The future is done when the process has ended, in whatever way. An error of `main` fails the run, unless it
        `may_fail`; it is kept in `exit_error` then.
        Raises RuntimeError when a process runs already.
        """
        if self.process is not None:
            raise RuntimeError(f"{self.name} runs already")
        self.lives += 1
        self.powered = True
        self.exit_error = None
        process = self.process = self._loop.add_incarnation(f"{self.name}#{self.lives}", self)
        process.rate = self.rate
        process.offset_s = self._clocks.uniform(1e3, 1e5)
        self.tell(f"boot {self.lives}")
        runtime = Runtime(
            clock=self.clock,
            random=SeededRandomness(self.world.stream("user", process.name)),
            disk=self.disk,
            net=HostNet(self._loop, process),
        )
        self._net.release()
        self._may_fail = may_fail
        task = self._loop.create_task(_call(main, runtime), name=f"{self.name}/main", context=process.context.copy())
        # The exit is the kernel's work: it must not run inside the task that it ends.
        task.add_done_callback(self._main_done, context=self._loop.world.context.copy())
        self.ended = self._loop.create_future()
        return self.ended

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> SimTask[T]:
        """Runs a coroutine as a part of the present process: how scenarios put clients on hosts.

        Whoever waits for it gets HostDown when the process ends first. Raises RuntimeError when nothing runs.
        """
        if self.process is None:
            work.close()
            raise RuntimeError(f"nothing runs on {self.name}")
        return self._loop.create_task(work, name=f"{self.name}/{name}", context=self.process.context.copy())

    def crash(self) -> None:
        """Cuts the power: the disk keeps what was synced and a part of the rest; the network hears nothing."""
        self._end(power_lost=True)

    def kill(self) -> None:
        """Ends the process as `kill -9` does: the disk keeps all; the kernel closes or resets its connections."""
        if self.process is not None:
            self._end(power_lost=False)

    def pause(self) -> None:
        """Stops the process as SIGSTOP does; its kernel goes on."""
        if self.process is not None:
            self.tell("paused")
            self._loop.pause(self.process)

    def resume(self) -> None:
        """Lets a paused process go on."""
        if self.process is not None:
            self.tell("resumed")
            self._loop.resume(self.process)

    def wipe(self) -> None:
        """Replaces the disk by an empty one. Raises RuntimeError while a process runs."""
        if self.process is not None:
            raise RuntimeError(f"{self.name} runs")
        self.tell("disk wiped")
        self.disk = self._new_disk()

    def drift(self, rate: float) -> None:
        """Changes the rate of this host's clocks, the loop's time of its process included.

        Nothing jumps. Timers that are set keep their moment. Raises ValueError when time would stand or run back.
        """
        if rate <= 0:
            raise ValueError(f"a clock cannot run at {rate}")
        if rate == self.rate:
            return
        self.tell(f"clocks run at {rate:.6f}")
        self.rate = rate
        self.clock.drift(rate)
        if self.process is not None:
            self.process.offset_s += self._loop.virtual_s * (self.process.rate - rate)
            self.process.rate = rate

    def tell(self, what: str) -> None:
        """Puts an event into the trace."""
        self.world.trace.tell(self._loop.virtual_s, self.name, what)

    def _new_disk(self) -> SimDisk:
        options = self.world.options
        disk = SimDisk(self.world.stream("disk", f"{self.name}/{self.lives}"))
        disk.latency_s, disk.sync_latency_s, disk.latency_jitter = options.disk_latency_s, options.sync_latency_s, True
        disk.on_write = self.world.trace.mix_bytes
        self.world.disks.append(disk)
        return disk

    def _end(self, *, power_lost: bool) -> None:
        self.tell("power lost" if power_lost else "process ended")
        process, self.process = self.process, None
        if power_lost:
            self.powered = False
            self.refuses = self._net.random.random() < self.world.options.refuse_probability
            self.disk.crash()
        else:
            self.disk.end_process()
        if process is None:
            return
        own = self._loop.current is process
        # The fence stands before the first `finally` block of the dead runs.
        process.alive = process.running = False
        self._net.process_ended(self, process, power_lost=power_lost)
        self._loop.end(process)
        if self.ended is not None and not self.ended.done():
            self.ended.set_result(None)
        if own:
            raise HostCrashed(self.name)

    def _main_done(self, main: "asyncio.Task[None]") -> None:
        process = main.owner if isinstance(main, SimTask) else None
        if process is None or self.process is not process:
            # Crashed or killed: what became of the task is nobody's business.
            return
        error = None if main.cancelled() else main.exception()
        if error is not None:
            self.exit_error = error
            self.tell(f"main failed: {type(error).__name__}")
            if not self._may_fail:
                self._loop.fail(error)
        self._end(power_lost=False)


async def _call(main: Main, runtime: Runtime) -> None:
    await main(runtime)
