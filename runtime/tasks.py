"""Structured tasks: a background task that fails takes its scope down, loudly."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class TaskScope:
    """`async with TaskScope("kv") as scope:` owns the tasks that are spawned into it.

    When one raises, its siblings are cancelled and the `async with` raises an ExceptionGroup of what failed: there is
    no task whose death nobody hears. Leaving the block waits for all tasks; `cancel()` ends those that run for ever.
    Cancellation from outside is passed on to the tasks and then raised.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, traceback)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Starts a task named `scope/name`. Raises RuntimeError when the scope has ended or is failing."""
        task = self._group.create_task(work, name=f"{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """Cancels every task of the scope; the block then ends without an error of theirs."""
        for task in tuple(self._tasks):
            task.cancel()

    def describe(self) -> list[str]:
        """The names of the tasks that run, sorted."""
        return sorted(task.get_name() for task in self._tasks)
