"""Brings changes to those who watch.

Theory of operation. A watcher is either *live* or *behind*. The live ones are in an index (by key, and in an interval
tree for ranges); each change is serialized once and put into the pending list of whoever wants it. A stream that is
slow to take what is pending costs a bounded amount of memory: past a limit the list is dropped and the watcher is
behind. Those behind read from the store, a bounded piece at a time, at the pace at which their client takes it, and
become live in the same turn in which they reach the newest revision; so no event is lost, and none comes twice.

All of it runs on the event loop between two applied batches, which makes "the newest revision" one moment for all.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.kv.mvcc.leases import Lease
from services.kv.mvcc.revision import is_tombstone, lower_bound, main_revision
from services.kv.mvcc.store import Change, Store
from services.kv.mvcc.wire import EVENT_IS_DELETE, EVENT_KV, EVENT_PREV_KV, field, key_of_record, varint
from services.kv.watch.watcher import Sync, Watcher
from structures.interval_tree import IntervalTree

PENDING_BYTES_MAX = 1024 * 1024
"""A live watcher for which more than this waits is moved behind. The last transaction may go beyond it."""
PENDING_EVENTS_MAX = 10_000
"""The same by count, since small events cost more in Python than their bytes."""
CATCH_UP_BYTES = 512 * 1024
"""A watcher that is behind gets pieces of about this size; a single transaction is never split."""
CATCH_UP_RECORDS = 2000
"""It also gets its turn's worth after looking at this many records, so that the others are not kept waiting."""


class Piece(NamedTuple):
    """Events for one watcher, of whole revisions."""

    events: list[bytes]
    """Serialized Event messages."""
    revision: int
    """Everything of interest up to this revision has now been taken."""


class Compacted(Exception):
    """What a watcher should read next is gone."""


class WatchHub:
    """All watchers of this member, and an `Observer` of its state machine."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self._by_key: dict[bytes, dict[Watcher, None]] = {}
        self._by_range: IntervalTree[Watcher] = IntervalTree()
        self._live: dict[Watcher, None] = {}
        self._behind: dict[Watcher, None] = {}
        self.on_revision: dict[Callable[[], None], None] = {}
        """Called after each change of the revision: by streams that wait for one in the future."""

    @property
    def revision(self) -> int:
        """The newest revision of the store."""
        return self._store().revision

    @property
    def compact_revision(self) -> int:
        """The lowest revision that can still be watched from."""
        return self._store().compact_revision

    @property
    def watchers(self) -> int:
        """How many there are."""
        return len(self._live) + len(self._behind)

    @property
    def watchers_behind(self) -> int:
        """How many of them are behind."""
        return len(self._behind)

    # ---- watchers

    def add(self, watcher: Watcher) -> None:
        """Starts a watcher: live when it asks for what is to come, else behind."""
        start = watcher.interest.start_revision
        if start == 0 or start > self.revision:
            watcher.next_revision = start or self.revision + 1
            self._make_live(watcher)
        else:
            self._behind[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Ends a watcher; one that has ended is fine."""
        if watcher.sync is Sync.LIVE:
            self._leave_index(watcher)
        self._behind.pop(watcher, None)
        watcher.sync = Sync.CLOSED
        watcher.drop_pending()

    def take(self, watcher: Watcher) -> Piece:
        """The next events of a watcher. Raises Compacted."""
        if watcher.sync is Sync.BEHIND:
            return self._catch_up(watcher)
        events = watcher.pending
        watcher.drop_pending()
        watcher.next_revision = max(watcher.next_revision, self.revision + 1)
        return Piece(events, self.revision)

    # ---- what the state machine tells

    def changed(self, changes: Sequence[Change]) -> None:
        """Hands each change to the live watchers that want it, and wakes each of their streams once."""
        touched: dict[Watcher, None] = {}
        by_key, by_range = self._by_key, self._by_range
        for change in changes:
            event: bytes | None = None
            is_delete = change.is_delete
            interested = list(by_key.get(change.key, ()))
            if len(by_range):
                interested.extend(by_range.stab(change.key))
            for watcher in interested:
                interest = watcher.interest
                if change.revision < watcher.next_revision or not (
                    interest.wants_deletes if is_delete else interest.wants_puts
                ):
                    continue
                if interest.wants_previous:
                    data = self._event(change.key, change.record, change.revision, is_delete, with_previous=True)
                else:
                    if event is None:
                        event = self._event(change.key, change.record, change.revision, is_delete)
                    data = event
                watcher.pending.append(data)
                watcher.pending_bytes += len(data)
                touched[watcher] = None
        for watcher in touched:
            if watcher.pending_bytes > PENDING_BYTES_MAX or len(watcher.pending) > PENDING_EVENTS_MAX:
                self._fall_behind(watcher)
            watcher.stream.wake(watcher)
        for callback in list(self.on_revision):
            callback()

    def restored(self) -> None:
        """A snapshot has replaced the store: what happened in between must be read from it."""
        for watcher in list(self._live):
            self._fall_behind(watcher)
        for watcher in list(self._behind):
            watcher.stream.wake(watcher)
        for callback in list(self.on_revision):
            callback()

    def lease_granted(self, lease: Lease) -> None:
        """Not of interest here."""

    def lease_ended(self, lease_id: int) -> None:
        """Not of interest here: its keys come as changes."""

    def lessor_epoch_began(self, epoch: int) -> None:
        """Not of interest here."""

    # ---- inside

    def _make_live(self, watcher: Watcher) -> None:
        self._behind.pop(watcher, None)
        self._live[watcher] = None
        watcher.sync = Sync.LIVE
        low, high = watcher.interest.low, watcher.interest.high
        if high == low + b"\0":
            self._by_key.setdefault(low, {})[watcher] = None
        else:
            self._by_range.add(low, high, watcher)

    def _leave_index(self, watcher: Watcher) -> None:
        del self._live[watcher]
        low, high = watcher.interest.low, watcher.interest.high
        if high == low + b"\0":
            watchers = self._by_key[low]
            del watchers[watcher]
            if not watchers:
                del self._by_key[low]
        else:
            self._by_range.remove(low, high, watcher)

    def _fall_behind(self, watcher: Watcher) -> None:
        self._leave_index(watcher)
        watcher.drop_pending()
        watcher.sync = Sync.BEHIND
        self._behind[watcher] = None

    def _catch_up(self, watcher: Watcher) -> Piece:
        store = self._store()
        if watcher.next_revision < store.compact_revision:
            raise Compacted
        events: list[bytes] = []
        size = 0
        revision = 0
        for visited, (name, record) in enumerate(store.engine.scan(lower_bound(watcher.next_revision))):
            if main_revision(name) != revision:
                if size >= CATCH_UP_BYTES or visited >= CATCH_UP_RECORDS:
                    watcher.next_revision = revision + 1
                    return Piece(events, revision)
                revision = main_revision(name)
            key = key_of_record(record)
            is_delete = is_tombstone(name)
            if watcher.wants(key, is_delete=is_delete):
                event = self._event(key, record, revision, is_delete, with_previous=watcher.interest.wants_previous)
                events.append(event)
                size += len(event)
        watcher.next_revision = max(watcher.next_revision, store.revision + 1)
        self._make_live(watcher)
        return Piece(events, store.revision)

    def _event(
        self, key: bytes, record: bytes, revision: int, is_delete: bool, *, with_previous: bool = False
    ) -> bytes:
        """A serialized Event."""
        event = field(EVENT_KV, _deletion(record, revision) if is_delete else record)
        if is_delete:
            event = EVENT_IS_DELETE + event
        store = self._store()
        # The pair before is what a read one revision earlier would give, and such a read may be refused.
        # A put that created the key has none, even where the same transaction had deleted the key before.
        if with_previous and revision - 1 >= store.compact_revision and (is_delete or not _creates(record)):
            history = store.history(key)
            previous = None if history is None else history.record_at(revision - 1)
            if previous is not None:
                event += field(EVENT_PREV_KV, store.record(previous))
        return event


_KEY_VALUE_MOD_REVISION = b"\x18"
"""Tag of KeyValue.mod_revision."""


def _creates(record: bytes) -> bool:
    pair = KeyValue.FromString(record)
    return pair.create_revision == pair.mod_revision


def _deletion(record: bytes, revision: int) -> bytes:
    """The pair that a deletion's event carries: the stored record, which holds only the key, and the revision."""
    return record + _KEY_VALUE_MOD_REVISION + varint(revision)
