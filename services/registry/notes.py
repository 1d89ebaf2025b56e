"""Throws notes of removals away when there are too many, so that names that come and go do not fill kv for ever.

First a floor is put under all indexes, above every note that there is. Then the notes say nothing that the floor does
not say, and are removed. The price is that all who wait for a change wake once.
"""

import asyncio
import itertools
import logging

from services.registry.catalogue import GoneRecord, Key, KeyKind, MemoryCatalogue
from services.registry.interface import Unavailable
from services.registry.planning import Plan, guard
from services.registry.store import Store

NOTES_MAX = 20_000
"""A note is some hundred bytes."""
REMOVED_AT_ONCE = 60
"""Notes that one transaction removes: kv takes 128 operations and as many comparisons."""
LOOK_S = 60.0

_log = logging.getLogger(__name__)


class NoteCollector:
    """`run` must run, at every process: the first by name does the work."""

    def __init__(self, copy: MemoryCatalogue, store: Store, name: str) -> None:
        self._copy = copy
        self._store = store
        self._name = name

    async def run(self) -> None:
        """Looks now and then, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            processes = self._copy.processes()
            if not processes or processes[0] != self._name or self._copy.staleness.is_stale:
                continue
            notes = self._copy.count(KeyKind.GONE_SERVICE) + self._copy.count(KeyKind.GONE_NODE)
            if notes > NOTES_MAX:
                try:
                    _log.info("notes of removals were thrown away", extra={"notes": await self.collect()})
                except Unavailable as error:
                    _log.debug("notes of removals stay for now", extra={"reason": str(error)})

    async def collect(self) -> int:
        """Removes all notes that there are, and says how many that were. Raises Unavailable."""
        floor = Plan()
        floor.put(Key(KeyKind.GONE_FLOOR, ""), GoneRecord())
        revision = (await self._store.commit(floor)).revision
        notes = iter([*self._copy.keys(KeyKind.GONE_SERVICE), *self._copy.keys(KeyKind.GONE_NODE)])
        removed = 0
        while batch := tuple(itertools.islice(notes, REMOVED_AT_ONCE)):
            plan = Plan()
            for key in batch:
                stored = self._copy.stored(key)
                if stored is not None and stored.revision < revision:
                    guard(plan, self._copy, key)
                    plan.remove(key)
            # One that was written meanwhile stays, with those of its batch: the next look finds them.
            if plan.writes and (await self._store.commit(plan)).done:
                removed += len(plan.writes)
        return removed
