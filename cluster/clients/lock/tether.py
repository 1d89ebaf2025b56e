"""Ends a block when what it stands on is lost, as asyncio.timeout ends one when its time is over."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from cluster.clients.lock.errors import LockLost
from cluster.clients.lock.grant import Grant


class Tether:
    """`async with Tether(grant):` cancels the block when the grant is lost, and raises LockLost from it.

    With `cancels` off, the block goes on, and LockLost is raised at its end.
    """

    def __init__(self, grant: Grant, *, cancels: bool) -> None:
        self._grant = grant
        self._cancels = cancels
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._has_cancelled = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._grant.on_lost(self._cut)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._grant.forget()
        task = self._task
        assert task is not None
        if self._has_cancelled:
            if not isinstance(error, asyncio.CancelledError):
                # The block ended before the cancellation reached it. It is taken here, or it would hit what follows.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            if task.uncancel() > self._cancelling:
                # Somebody else cancels the task, too, and that comes first.
                raise asyncio.CancelledError from error
        elif isinstance(error, asyncio.CancelledError):
            return
        if error is not None and not isinstance(error, asyncio.CancelledError):
            return
        if self._grant.reason:
            raise LockLost(self._grant.name, self._grant.token, self._grant.reason) from error

    def _cut(self) -> None:
        if self._cancels and self._task is not None:
            self._has_cancelled = True
            self._task.cancel()
