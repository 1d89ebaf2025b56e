"""Follows all that the registry keeps in kv, and holds the copy to it.

It is read once, page by page at one revision, and watched from there on. When changes were missed it is read anew, and
the copy says so (`ChangeKind.RESET`).
"""

import asyncio
import logging
from collections.abc import Sequence

from cluster.clients.kv import KvClient, KvError, Watch, prefix_end
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest
from cluster.pb.etcd.mvccpb.kv_pb2 import Event, KeyValue
from services.registry.catalogue import MemoryCatalogue, Unreadable, Update
from services.registry.metrics import Counters
from services.registry.records import PREFIX, decode_key, decode_value

PAGE_RECORDS_MAX = 1000
"""Records that are read at once: a megabyte at most of ordinary ones, and the loop turns in between."""
REREAD_PAUSE_S = 0.2
LOGGED_MAX = 20
"""Unreadable records that are named in the log for each reading; all are counted."""

_log = logging.getLogger(__name__)


class Mirror:
    """`run` must run."""

    def __init__(self, kv: KvClient, copy: MemoryCatalogue, counters: Counters) -> None:
        self._kv = kv
        self._copy = copy
        self._counters = counters
        self._gap = asyncio.Event()
        self._logged = 0
        self._unreadable: set[bytes] = set()

    @property
    def unreadable(self) -> int:
        """Records that are there and cannot be understood."""
        return len(self._unreadable)

    async def run(self) -> None:
        """Follows for ever."""
        while True:
            watch = await self._read()
            try:
                await self._gap.wait()
            finally:
                watch.cancel()

    async def reach(self, revision: int, within_s: float) -> bool:
        """Waits until the copy has all changes up to here, of this prefix or any; False when the time is over."""
        if self._copy.revision >= revision:
            return True
        # No event may be due: the newest revisions can be of other keys.
        self._kv.ask_progress()
        return await self._copy.progress.reach(revision, within_s)

    # ---- from kv

    def on_events(self, events: Sequence[Event], revision: int) -> None:
        """Changes in order."""
        self._counters.updates += len(events)
        self._logged = 0
        updates = [self._update(event.kv, is_put=event.type == Event.PUT) for event in events]
        self._copy.apply([update for update in updates if update is not None], revision)

    def on_gap(self) -> None:
        """Changes were missed."""
        _log.warning("changes of the registry were missed; everything is read anew")
        self._gap.set()

    def _on_progress(self, revision: int) -> None:
        self._copy.apply((), revision)

    # ---- inside

    async def _read(self) -> Watch:
        """Reads everything, and begins to watch."""
        self._gap.clear()
        while True:
            try:
                updates, revision = await self._read_pages()
            except KvError as error:
                _log.warning("the registry cannot be read from kv", extra={"reason": error.message})
                await asyncio.sleep(REREAD_PAUSE_S)
                continue
            self._counters.resets += 1
            self._copy.reset(updates, revision)
            _log.info("the registry was read from kv", extra={"records": len(updates), "revision": revision})
            return self._kv.watch(PREFIX, prefix_end(PREFIX), revision + 1, self, self._on_progress)

    async def _read_pages(self) -> tuple[list[Update], int]:
        """All records as of one revision, and that revision. Raises KvError, also when it is compacted meanwhile."""
        end, key, revision = prefix_end(PREFIX), PREFIX, 0
        updates: list[Update] = []
        self._logged = 0
        self._unreadable.clear()
        while True:
            request = RangeRequest(key=key, range_end=end, limit=PAGE_RECORDS_MAX, revision=revision)
            response = await self._kv.range(request)
            # The copy never goes back: a member that lags can only answer what is asked at a revision.
            revision = revision or response.header.revision
            updates += [update for pair in response.kvs if (update := self._update(pair, is_put=True)) is not None]
            if not response.more:
                return updates, revision
            key = response.kvs[-1].key + b"\0"

    def _update(self, pair: KeyValue, *, is_put: bool) -> Update | None:
        """What a record says; None for a key that is none of ours."""
        key = decode_key(pair.key)
        if key is None:
            self._note(pair.key, "not a key of the registry", is_put=is_put)
            return None
        if not is_put:
            self._unreadable.discard(pair.key)
            return Update(key, None, pair.mod_revision)
        record = decode_value(key, pair.value)
        if isinstance(record, Unreadable):
            self._note(pair.key, record.reason, is_put=True)
        elif self._unreadable:
            self._unreadable.discard(pair.key)
        return Update(key, record, pair.mod_revision, pair.lease)

    def _note(self, key: bytes, reason: str, *, is_put: bool) -> None:
        if not is_put:
            self._unreadable.discard(key)
            return
        self._unreadable.add(key)
        self._counters.unreadable += 1
        self._logged += 1
        if self._logged <= LOGGED_MAX:
            _log.warning(
                "a record of the registry cannot be read, and is left out",
                extra={"key": key.decode("utf-8", "replace"), "reason": reason},
            )
