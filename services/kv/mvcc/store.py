"""The store of revisions.

Theory of operation. Every write makes a new record; records are never changed. The engine keeps them by revision
(record key -> serialized KeyValue), and the index, in memory, keeps for each key the keys of its records. Keys that
exist now and keys that only have a past are in two trees: reads of the present, by far the most common, see only the
first, whose size is the answer to a count.

Compaction has two parts. Logically it is one number, at once: nothing before `compact_revision` can be read any more.
Physically, `reclaim` removes garbage in steps, whenever there is time. When that happens differs between replicas; that
must not show, so whatever leaves the store (snapshots, hashes) passes over what is logically gone.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, Protocol

from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.kv.mvcc.history import KeyHistory
from services.kv.mvcc.leases import LeaseTable
from services.kv.mvcc.revision import (
    is_tombstone,
    lower_bound,
    main_revision,
    record_key,
    tombstone_key,
)
from services.kv.mvcc.wire import key_of_record
from services.kv.refusals import COMPACTED, FUTURE_REVISION, Refused
from storage.engine import Reader, Snapshot
from structures.btree import BTree


class Records(Reader, Protocol):
    """Where the records are: an engine in memory, or a view of one on a disk (`services.kv.backend`).

    Records are put in the order of their keys. They are deleted only by `Store.reclaim`, between two turns.
    """

    def put(self, key: bytes, value: bytes) -> None:
        """Adds a record."""
        ...

    def delete(self, key: bytes) -> None:
        """Removes a record that nobody can ask for any more."""
        ...

    def snapshot(self) -> Snapshot:
        """The records as of now."""
        ...

    @property
    def size_bytes(self) -> int:
        """What they take, about."""
        ...


class Change(NamedTuple):
    """One write that took effect, as those who watch want it."""

    revision: int
    key: bytes
    record_key: bytes
    record: bytes
    """A serialized KeyValue, as stored. That of a deletion holds only the key."""

    @property
    def is_delete(self) -> bool:
        """Whether the key was deleted."""
        return is_tombstone(self.record_key)


class Store:
    """Keys, values, and their revisions. All calls are synchronous; one owner at a time."""

    def __init__(self, engine: Records, leases: LeaseTable) -> None:
        self.engine = engine
        self.leases = leases
        self.revision = 1
        """The newest revision. A store that holds nothing is at 1, as etcd's is."""
        self.compact_revision = -1
        """Reads below this are refused; -1: nothing was compacted."""
        self.live: BTree[bytes, KeyHistory] = BTree()
        """The keys that exist."""
        self.dead: BTree[bytes, KeyHistory] = BTree()
        """The keys that have a history, but do not exist now."""
        self._reclaimed_to = lower_bound(0)
        """Records before this position hold no garbage."""
        self._pins = 0

    # ---- reading

    def check_revision(self, revision: int, current: int) -> int:
        """The revision to read at when a client asks for `revision`; 0 or less means `current`. Raises Refused."""
        if revision > current:
            raise Refused(FUTURE_REVISION)
        if revision <= 0:
            return current
        if revision < self.compact_revision:
            raise Refused(COMPACTED)
        return revision

    def history(self, key: bytes) -> KeyHistory | None:
        """What the index knows of a key."""
        return self.live.get(key) or self.dead.get(key)

    def live_record(self, key: bytes) -> bytes | None:
        """The newest record of a key that exists."""
        history = self.live.get(key)
        return None if history is None else self.record(history.records[-1])

    def record(self, key: bytes) -> bytes:
        """The record under an engine's key that the index holds."""
        record = self.engine.get(key)
        assert record is not None, f"the index names a record that the engine does not have: {key.hex()}"
        return record

    def records_at(self, low: bytes, high: bytes | None, revision: int, current: int) -> Iterator[bytes]:
        """The engine's keys of the records valid at `revision`, in order of their keys.

        O(log n) and O(1) a key at the current revision; at an older one, O(log history) a key, the dead included.
        """
        if revision >= current:
            for _, history in self.live.items(low, high):
                yield history.records[-1]
            return
        for _, history in _merged(self.live.items(low, high), self.dead.items(low, high)):
            found = history.record_at(revision)
            if found is not None:
                yield found

    # ---- writing

    def begin(self) -> "WriteTransaction":
        """Starts a transaction. It must be committed before anything else touches the store."""
        return WriteTransaction(self)

    # ---- compaction

    def compact(self, revision: int) -> None:
        """Forgets, logically, all history before `revision`. O(1). Raises Refused."""
        if revision <= self.compact_revision:
            raise Refused(COMPACTED)
        if revision > self.revision:
            raise Refused(FUTURE_REVISION)
        self.compact_revision = revision

    @property
    def has_garbage(self) -> bool:
        """Whether compacted history is still to be removed physically."""
        return self._reclaimed_to < lower_bound(self.compact_revision)

    def reclaim(self, limit: int) -> bool:
        """Removes compacted history, visiting at most `limit` records; whether there is more to do.

        Each record of the compacted stretch is visited once: whatever it made garbage is found through its key.
        """
        if self._pins or not self.has_garbage:
            return False
        end = lower_bound(self.compact_revision + 1)
        visited = list(islice(self.engine.scan(self._reclaimed_to, end), limit))
        for key, record in visited:
            if self.engine.get(key) is not None:
                self._prune(key_of_record(record))
        if len(visited) < limit:
            # A deletion at the compacted revision itself stays until the next compaction, which begins with it.
            self._reclaimed_to = lower_bound(self.compact_revision)
            return False
        self._reclaimed_to = visited[-1][0] + b"\0"
        return self.has_garbage

    def _prune(self, key: bytes) -> None:
        history = self.history(key)
        assert history is not None, "a record whose key is not in the index"
        kept_from = history.kept_from(self.compact_revision)
        for record in history.records[:kept_from]:
            self.engine.delete(record)
        del history.records[:kept_from]
        if not history.records:
            self.dead.delete(key)

    # ---- what leaves the store

    def pin(self) -> None:
        """Suspends the physical removal of history until `unpin`, so that `is_kept` answers for the moment of now."""
        self._pins += 1

    def unpin(self) -> None:
        """Undoes one `pin`."""
        self._pins -= 1

    def is_kept(self, key: bytes, record: bytes, compact_revision: int) -> bool:
        """Whether a record survives a compaction at `compact_revision`, which must not be before the last one."""
        if main_revision(key) > compact_revision:
            return True
        history = self.history(key_of_record(record))
        assert history is not None, "a record whose key is not in the index"
        kept_from = history.kept_from(compact_revision)
        return kept_from < len(history.records) and key >= history.records[kept_from]

    def load(self, revision: int, compact_revision: int) -> None:
        """Sets the numbers of an empty store that is about to be filled by `load_record`."""
        assert self.revision == 1
        assert len(self.live) == 0
        self.revision = revision
        self.compact_revision = compact_revision
        self._reclaimed_to = lower_bound(compact_revision)

    def load_record(self, key: bytes, record: bytes) -> None:
        """Adds a record out of a snapshot; they must come in order. Raises ValueError when it cannot be one."""
        self.index_record(key, record)
        self.engine.put(key, record)

    def reopen(self, revision: int, compact_revision: int) -> None:
        """Sets the numbers of an empty store whose engine is full; `index_record` follows for each of its records."""
        self.load(revision, compact_revision)
        # How far the garbage was removed is not kept: it is looked for once more from the beginning.
        self._reclaimed_to = lower_bound(0)

    def index_record(self, key: bytes, record: bytes) -> None:
        """Adds a record to the index alone; they must come in order. Raises ValueError when it cannot be one."""
        pair = KeyValue.FromString(record)
        if not pair.key or main_revision(key) > self.revision:
            raise ValueError("a record without a key, or from the future")
        history = self.history(pair.key)
        if history is None:
            history = KeyHistory()
        elif history.records[-1] >= key:
            raise ValueError("records out of order")
        was_live = history.is_live
        history.records.append(key)
        if is_tombstone(key):
            history.create_revision = history.version = history.lease = 0
            if was_live:
                self.live.delete(pair.key)
            self.dead.set(pair.key, history)
            return
        history.create_revision = pair.create_revision
        history.version = pair.version
        history.lease = pair.lease
        if not was_live:
            self.dead.delete(pair.key)
            self.live.set(pair.key, history)

    def attach_leases(self) -> None:
        """Ties every key to its lease, after all records have been loaded."""
        for key, history in self.live.items():
            if history.lease and self.leases.get(history.lease) is not None:
                self.leases.attach(history.lease, key)


class WriteTransaction:
    """Writes that get one main revision. What it wrote shows at once in `store.live`."""

    __slots__ = ("_store", "changes", "main")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.main = store.revision + 1
        """The revision of its writes."""
        self.changes: list[Change] = []

    @property
    def revision(self) -> int:
        """The newest revision as seen from inside: its own as soon as it has written."""
        return self.main if self.changes else self.main - 1

    def put(self, key: bytes, value: bytes, lease: int) -> None:
        """Writes a key. The lease, when not 0, must exist."""
        store = self._store
        history = store.live.get(key)
        if history is None:
            history = store.dead.delete(key) or KeyHistory()
            store.live.set(key, history)
            history.create_revision = self.main
        history.version += 1
        record = KeyValue(
            key=key,
            create_revision=history.create_revision,
            mod_revision=self.main,
            version=history.version,
            value=value,
            lease=lease,
        ).SerializeToString()
        name = record_key(self.main, len(self.changes))
        store.engine.put(name, record)
        history.records.append(name)
        if history.lease != lease:
            if history.lease:
                store.leases.detach(history.lease, key)
            if lease:
                store.leases.attach(lease, key)
            history.lease = lease
        self.changes.append(Change(self.main, key, name, record))

    def delete(self, key: bytes) -> bool:
        """Deletes a key; whether it existed."""
        store = self._store
        history = store.live.delete(key)
        if history is None:
            return False
        store.dead.set(key, history)
        name = tombstone_key(self.main, len(self.changes))
        record = KeyValue(key=key).SerializeToString()
        store.engine.put(name, record)
        history.records.append(name)
        if history.lease:
            store.leases.detach(history.lease, key)
        history.create_revision = history.version = history.lease = 0
        self.changes.append(Change(self.main, key, name, record))
        return True

    def delete_range(self, low: bytes, high: bytes | None) -> int:
        """Deletes the keys in [low, high); how many there were."""
        doomed = [key for key, _ in self._store.live.items(low, high)]
        for key in doomed:
            self.delete(key)
        return len(doomed)

    def commit(self) -> list[Change]:
        """Ends the transaction; what it changed. One that wrote nothing leaves the revision as it was."""
        if self.changes:
            self._store.revision = self.main
        return self.changes


def _merged(
    one: Iterator[tuple[bytes, KeyHistory]], other: Iterator[tuple[bytes, KeyHistory]]
) -> Iterator[tuple[bytes, KeyHistory]]:
    """Two ordered iterators with no key in common, as one. (heapq.merge would compare histories on equal keys.)"""
    head = next(one, None)
    other_head = next(other, None)
    while head is not None and other_head is not None:
        if head[0] < other_head[0]:
            yield head
            head = next(one, None)
        else:
            yield other_head
            other_head = next(other, None)
    while head is not None:
        yield head
        head = next(one, None)
    while other_head is not None:
        yield other_head
        other_head = next(other, None)
