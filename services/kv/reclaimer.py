"""Removes compacted history in the background, a little at a time."""

import asyncio
from collections.abc import Callable

from services.kv.mvcc.store import Store

RECORDS_PER_STEP = 500
"""About a millisecond of work, after which everything else gets its turn."""
PAUSE_S = 0.005
"""Between two steps: reclaiming takes a fifth of a core at most."""
IDLE_S = 0.25
"""How often an idle reclaimer looks for work."""


class Reclaimer:
    """Drives `Store.reclaim`."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            more = self._store().reclaim(RECORDS_PER_STEP)
            await asyncio.sleep(PAUSE_S if more else IDLE_S)

    async def finished(self) -> None:
        """Waits until all that is compacted now has been removed, and helps with it."""
        while self._store().has_garbage:
            moved = self._store().reclaim(RECORDS_PER_STEP)
            await asyncio.sleep(0 if moved else PAUSE_S)
