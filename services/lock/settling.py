"""Removes what may be in kv although nobody wants it.

When kv does not say what became of a transaction, it may still be done, seconds later. A place that comes into
being so, after its client was told that it has none, would keep everybody out until its session ends. So it is looked
for again and again, for longer than kv may take, and removed.
"""

import asyncio
import logging

from cluster.clients.kv import KvError
from runtime.tasks import TaskScope
from services.lock.refusals import Refused
from services.lock.store import Mark, PlaceStore

PAUSE_S = 1.0
SETTLE_S = 20.0
"""How long is looked for it: kv gives a request up after 7 s, and another leader may find it in its log later."""
SETTLING_MAX = 10_000
"""At once; beyond it, sessions' ends must do."""

_log = logging.getLogger(__name__)


class Settler:
    """The holds of this process that are looked for."""

    def __init__(self, store: PlaceStore) -> None:
        self._store = store
        self._scope: TaskScope | None = None
        self._settling: set[tuple[bytes, int]] = set()

    def __len__(self) -> int:
        return len(self._settling)

    def run_in(self, scope: TaskScope) -> None:
        """Says whose tasks look."""
        self._scope = scope

    def settle(self, key: bytes, mark: Mark, hold_id: int) -> None:
        """Sees to it that this hold of this place is gone, unless another stream goes on with the session."""
        if self._scope is None or (key, hold_id) in self._settling or len(self._settling) >= SETTLING_MAX:
            return
        self._settling.add((key, hold_id))
        self._scope.spawn(self._settle(key, mark, hold_id), name="settle")

    async def _settle(self, key: bytes, mark: Mark, hold_id: int) -> None:
        try:
            for _ in range(int(SETTLE_S / PAUSE_S)):
                try:
                    await self._store.remove_hold(key, mark, hold_id)
                except Refused:
                    # That stream says what it wants, and what was begun here is void.
                    return
                except KvError as error:
                    _log.debug("a place cannot be settled yet", extra={"reason": error.message})
                await asyncio.sleep(PAUSE_S)
        finally:
            self._settling.discard((key, hold_id))
