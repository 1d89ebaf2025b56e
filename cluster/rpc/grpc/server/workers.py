"""Tasks that run unary calls one after another, so that a call costs no task of its own.

Making, registering and scheduling a task took a fifth of a small call's time (Python 3.11). A servicer must not
notice the difference, so a task is given up rather than reused as soon as a call leaves a trace on it:
- it was asked to cancel (a deadline, a reset, the servicer itself): the request could strike the next call;
- its context variables changed: the next call would see them.

Invariant: while calls are queued, a worker is about to look at the queue (`_waking`) or is working it off. A worker
wakes another before each call that leaves others queued, because its call may wait for long.
"""

import asyncio
from collections import deque
from contextvars import copy_context
from typing import Protocol

IDLE_MAX = 64
"""Workers that are kept without work."""
CALLS_PER_TURN_MAX = 64
"""Calls that a worker runs before it lets the event loop go round."""


class Call(Protocol):
    """What a worker runs."""

    async def run(self, task: "asyncio.Task[None]") -> None:
        """Runs the call to its end on `task`. Raises CancelledError only."""
        ...


class Workers:
    """The workers of one server."""

    def __init__(self) -> None:
        self._queue: deque[Call] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waking = False
        self._closed = False

    def submit(self, call: Call) -> None:
        """Runs `call` in one of the event loop's next turns."""
        self._queue.append(call)
        if not self._waking:
            self._wake()

    def close(self) -> None:
        """Lets idle workers go. Those at work end after their calls."""
        self._closed = True
        while self._idle:
            parked = self._idle.pop()
            if not parked.done():
                parked.set_result(None)

    def __len__(self) -> int:
        return len(self._tasks)

    def _wake(self) -> None:
        self._waking = True
        while self._idle:
            parked = self._idle.pop()
            if not parked.done():
                parked.set_result(None)
                return
        task = asyncio.get_running_loop().create_task(self._work(), name="rpc worker")
        self._tasks.add(task)
        task.add_done_callback(self._gone)

    def _gone(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if self._queue and not self._waking and not task.get_loop().is_closed():
            self._wake()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        clean = copy_context()
        queue = self._queue
        while True:
            self._waking = False
            turns = 0
            while queue:
                call = queue.popleft()
                if queue and not self._waking:
                    self._wake()
                await call.run(task)
                if task.cancelling() or copy_context() != clean:
                    return
                turns += 1
                if turns >= CALLS_PER_TURN_MAX:
                    turns = 0
                    await asyncio.sleep(0)
            if self._closed or len(self._idle) >= IDLE_MAX:
                return
            parked: asyncio.Future[None] = loop.create_future()
            self._idle.append(parked)
            await parked
