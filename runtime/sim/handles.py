"""Callbacks, tasks and futures with a number of their own, by which they hash.

asyncio and its users keep tasks and futures in sets. By default these hash by address, so that the order of iteration
differs from process to process: one of the two ways in which a seed stops meaning anything (the other one, strings,
needs care in the code under test, and the determinism tests look for it with different PYTHONHASHSEEDs).
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from runtime.sim.errors import HostCrashed, HostDown

if TYPE_CHECKING:
    from runtime.sim.incarnation import Incarnation
    from runtime.sim.loop import SimLoop

T = TypeVar("T")

UNWINDINGS_MAX = 100
"""Awaits in `finally` blocks through which a dying coroutine is led."""


class SimHandle(asyncio.TimerHandle):
    """A callback that waits for its turn or its time. `asyncio.Handle` for `call_soon`, `TimerHandle` for `call_at`.

    One class for both, made without the base's constructor, which looks at debug flags that mean nothing here.
    """

    __slots__ = ("identity", "owner", "task")

    def __init__(
        self,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
        context: contextvars.Context,
        loop: "SimLoop",
        owner: "Incarnation",
        identity: int,
        task: int,
    ) -> None:
        self._context = context
        self._loop: SimLoop = loop
        self._callback = callback
        self._args = arguments
        self._cancelled = False
        self._scheduled = False
        self._when = 0.0
        self.owner = owner
        self.identity = identity
        """Its number among all callbacks of the run."""
        self.task = task
        """The number of the task whose step this is, 0 for a plain callback."""

    def __hash__(self) -> int:
        return self.identity

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<SimHandle {self.identity} {self.what()} of {self.owner.name}>"

    def what(self) -> str:
        """What it will run, without addresses: recordings of two processes are compared."""
        if self._cancelled:
            return "cancelled"
        callback = self._callback
        bound = getattr(callback, "__self__", None)
        if self.task and isinstance(bound, asyncio.Task):
            return f"step of {bound.get_name()}"
        return str(getattr(callback, "__qualname__", None) or type(callback).__qualname__)

    def cancel(self) -> None:
        """Makes the callback never run."""
        if not self._cancelled:
            self._cancelled = True
            # What the callback held is let go now, not when its time would have come.
            self._callback = _nothing
            self._args = ()
            if self._scheduled:
                self._loop.timer_cancelled()


def _nothing() -> None:
    """Stands for a cancelled callback."""


def _number(loop: "SimLoop") -> int:
    loop.identities += 1
    return loop.identities


class SimFuture(asyncio.Future[T]):
    """A future that hashes by a number which it draws when it is first hashed; most never are."""

    __slots__ = ("identity", "owner")

    identity: int
    owner: "Incarnation"

    def __hash__(self) -> int:
        try:
            return self.identity
        except AttributeError:
            self.identity = _number(cast("SimLoop", self.get_loop()))
            return self.identity


class SimTask(asyncio.Task[T]):
    """A task that hashes by its number and knows whose it is."""

    __slots__ = ("identity", "owner")

    _log_destroy_pending: bool
    _log_traceback: bool

    def __init__(
        self,
        work: Coroutine[Any, Any, T] | Generator[Any, None, T],
        loop: "SimLoop",
        name: str | None,
        context: contextvars.Context,
        owner: "Incarnation",
    ) -> None:
        # Before the base's constructor, which puts the task into asyncio's set of all tasks and schedules its first
        # step.
        self.identity = _number(loop)
        self.owner = owner
        super().__init__(work, loop=loop, name=name or f"task-{self.identity}", context=context)
        owner.add_task(self)

    def __hash__(self) -> int:
        return self.identity

    def abandon(self) -> None:
        """Ends the task as its process's death does: no further step, and nobody hears of it.

        Its coroutine is unwound now, inside the dead incarnation: its `finally` blocks run, and everything that they
        do through the doors is fenced off.
        """
        self._log_destroy_pending = False
        if self.done():
            if not self.cancelled():
                self._log_traceback = False
            return
        _unwind(self.get_coro(), self.owner.name)
        # Scenarios may wait for it. Task refuses set_exception to its users, since the coroutine decides; but this
        # coroutine will not decide anything any more.
        asyncio.Future.set_exception(self, HostDown(f"{self.owner.name} has ended"))
        self._log_traceback = False


def _unwind(work: object, name: str) -> None:
    """Raises HostCrashed in a coroutine at every place where it waits, until it has ended.

    One that waits in a `finally` block goes on to the next one. Left alone, it would do so when it is collected: at a
    time of the collector's choice, and outside of the dead incarnation's fence. `close` would not do, since it leaves
    an inner coroutine standing that waits again, and unwinds only those around it.
    """
    crash = HostCrashed(name)
    for _ in range(UNWINDINGS_MAX):
        # A task group without tasks wraps what is raised in its block: a group of HostCrashed is no Exception.
        with contextlib.suppress(Exception, HostCrashed, asyncio.CancelledError, GeneratorExit, BaseExceptionGroup):
            cast(Coroutine[Any, Any, Any], work).throw(crash)
        # A coroutine that runs has crashed its own host, and HostCrashed is on its way through it.
        if getattr(work, "cr_frame", None) is None or getattr(work, "cr_running", False):
            return
