"""What has to be looked at and perhaps written, and the few tasks that do it.

It is level-triggered: what waits here is the name of a check, not a state. Whoever takes it looks at what is true by
then, so nothing old is ever written, and a check that changes ten times while kv is away is written once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from runtime.tasks import TaskScope

AGAIN_S = 0.05
"""Pause before one is looked at again because somebody else was faster: by then the copy has what they wrote."""


class Outcome(Enum):
    """What became of one."""

    DONE = "done"
    AGAIN = "again"
    """Somebody else was faster: it is to be looked at once more, soon."""
    AWAY = "away"
    """kv does not answer: nothing more is tried for a while."""


class Outbox:
    """At most `writes_max` at a time, never two for one check."""

    def __init__(
        self,
        settle: Callable[[str], Awaitable[Outcome]],
        may_write: Callable[[], bool],
        *,
        writes_max: int,
        retry_s: float,
        retry_s_max: float,
    ) -> None:
        self._settle = settle
        self._may_write = may_write
        self._max = writes_max
        self._retry_s_min = retry_s
        self._retry_s_max = retry_s_max
        self._retry_s = retry_s
        self._waiting: dict[str, None] = {}
        self._again: dict[str, None] = {}
        """Marked while being looked at."""
        self._under_way: dict[str, None] = {}
        self._away = False
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting) + len(self._again)

    def mark(self, key: str) -> None:
        """This one is to be looked at."""
        if key in self._under_way:
            self._again[key] = None
        else:
            self._waiting[key] = None
            self._wake.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with TaskScope("outbox") as scope:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if not self._waiting:
                    continue
                if self._away:
                    self._away = False
                    await asyncio.sleep(self._retry_s)
                    self._retry_s = min(2 * self._retry_s, self._retry_s_max)
                    self._wake.set()
                    continue
                if not self._may_write():  # a look at the copy, which costs nobody anything
                    await asyncio.sleep(self._retry_s_min)
                    self._wake.set()
                    continue
                while self._waiting and len(self._under_way) < self._max:
                    key = next(iter(self._waiting))
                    del self._waiting[key]
                    self._under_way[key] = None
                    scope.spawn(self._one(key), name="write")

    async def _one(self, key: str) -> None:
        outcome = Outcome.AWAY
        try:
            outcome = await self._settle(key)
        finally:
            del self._under_way[key]
            if self._again.pop(key, 1) is None or outcome is Outcome.AWAY:
                self._waiting[key] = None
            elif outcome is Outcome.AGAIN:
                asyncio.get_running_loop().call_later(AGAIN_S, self.mark, key)
            if outcome is Outcome.AWAY:
                self._away = True
            else:
                self._retry_s = self._retry_s_min
            self._wake.set()
