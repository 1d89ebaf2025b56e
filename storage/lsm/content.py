"""What the engine does in memory: every synchronous call of it.

Theory of operation: writes go into the memtable in use, which is a dict. A snapshot freezes it and takes the view of
what is beneath, so it costs nothing that grows with the content; when the snapshot is closed, the memtable that it
froze is written to again. Keys and operands are counted in bytes as they come, and every STEP_BYTES `_look_after` sorts
what is new, freezes what is full, and lets the loop have its turn at the writer's next `throttle`.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from runtime.clock import Clock
from storage.engine import DeleteRange, Merge, MergeOperator, NoMergeOperator, WriteBatch
from storage.lsm.applying import apply, bytes_taken_by
from storage.lsm.columns import SILENCE, Expiring, Layer, Operands
from storage.lsm.lookup import find_in, value_of
from storage.lsm.memtable import (
    MEMTABLE_ENTRY_BYTES,
    MEMTABLE_KEYS_MAX,
    RANGE_DELETE_BYTES,
    Memtable,
    bytes_of,
)
from storage.lsm.operations_log import Logged, OperationsLog
from storage.lsm.options import LsmOptions
from storage.lsm.read_counters import ReadCounters
from storage.lsm.scanning import pairs
from storage.lsm.version import Version
from storage.lsm.view import View
from structures.generation_cache import GenerationCache
from structures.sorted_pieces import PIECE_KEYS

STEP_BYTES = 2 << 20
"""Written between two looks at how the memtable does."""
FROZEN_LAYERS_MAX = 8
"""Small memtables that snapshots froze are flushed together when there are more."""
RECOUNT_KEYS_MAX = 1 << 16
"""A full memtable of no more keys is measured exactly: it may only have been written over again and again."""


class Snapshot:
    """The content as of one moment; see `storage.engine.Snapshot`."""

    __slots__ = ("_content", "_view")

    def __init__(self, content: "Content", view: View) -> None:
        self._content = content
        self._view: View | None = view

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None. Raises Corruption."""
        return self._need_view().get(key, self._content.now_ms())

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with low <= key < high, in the order asked for. Raises Corruption."""
        view = self._need_view()
        return self._content.iterate(None, view, low, high, reverse)

    def close(self) -> None:
        """Lets go of memtables and tables."""
        view, self._view = self._view, None
        if view is not None:
            self._content.unpin(view)

    def _need_view(self) -> View:
        assert self._view is not None, "the snapshot is closed"
        return self._view


class Content:
    """The part of the engine that does no I/O of its own. `LsmEngine` stands on it."""

    def __init__(
        self,
        version: Version,
        *,
        clock: Clock,
        operator: MergeOperator | None,
        options: LsmOptions,
        reads: ReadCounters | None = None,
    ) -> None:
        self._reads = reads or ReadCounters()
        self.operator = operator
        self._clock = clock
        self._options = options
        self._log: OperationsLog | None = None
        self._failure: OSError | None = None
        self._turn_due = False
        self._snapshots = 0
        self._frozen: tuple[Memtable, ...] = ()
        self._version = version
        self._older = View((), version, operator)
        self._find_in_tables = version.find
        self._rows = GenerationCache(options.row_cache_bytes)
        self._expiring = self._older.expiring
        self._active = Memtable()
        self._entries = self._active.entries
        self._step_bytes = max(1, min(STEP_BYTES, options.memtable_bytes_max // 4))
        self._room = self._step_bytes

    # Reading

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None. Raises Corruption."""
        entry = self._entries.get(key, SILENCE)
        if entry is SILENCE:
            older = self._older
            if self._active.ranged or older.ranged:
                entry = find_in(self._layers(), key, self.operator)
            else:
                for entries in older.dicts:
                    entry = entries.get(key, SILENCE)
                    if entry is not SILENCE:
                        break
                else:
                    # Only the tables are left, or what is known of them.
                    rows = self._rows
                    value = rows.young.get(key)
                    if value is not None:
                        return value
                    entry = rows.get(key)
                    if entry is None:
                        self._reads.table_gets += 1
                        entry = self._find_in_tables(key)
                        if type(entry) is bytes:
                            rows.put(key, entry)
        if type(entry) is bytes:
            return entry
        if entry is None or entry is SILENCE:
            return None
        if isinstance(entry, Operands):
            entry = find_in(self._layers(), key, self.operator)
        return value_of(entry, self.operator, self.now_ms())

    def _layers(self) -> tuple[Layer, ...]:
        return (self._active, *self._older.layers)

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with low <= key < high, in the order asked for. Raises Corruption."""
        return self.iterate(self._active, self._older, low, high, reverse)

    def iterate(
        self, active: Memtable | None, view: View, low: bytes | None, high: bytes | None, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of a view, and of a memtable above it. Holds the view's tables until it ends or is let go."""
        layers = view.layers if active is None or active.is_empty else (active, *view.layers)
        found = pairs(layers, view.version, low, high, reverse=reverse, operator=self.operator, now_ms=self.now_ms())
        # The first step takes hold of the tables, and from then on the generator lets go of them whatever happens.
        return chain.from_iterable(chain((next(found),), found))

    def snapshot(self) -> Snapshot:
        """The content as of now. O(layers)."""
        self._freeze()
        view = self._older
        for memtable in view.memtables:
            memtable.pins += 1
        view.version.hold()
        self._snapshots += 1
        return Snapshot(self, view)

    def unpin(self, view: View) -> None:
        """A snapshot lets go."""
        self._snapshots -= 1
        for memtable in view.memtables:
            memtable.pins -= 1
        view.version.release()
        self._thaw()

    @property
    def size_bytes(self) -> int:
        """What the tables take on the disk, and the memtables in memory."""
        tables = sum(meta.size_bytes for meta in self._version.metas)
        return tables + self._frozen_bytes + self._active_bytes

    def now_ms(self) -> int:
        """Wall time, by which values expire."""
        return int(self._clock.wall_s() * 1000)

    # Writing

    def put(self, key: bytes, value: bytes) -> None:
        """Sets the value of `key`. Raises the OSError that background work failed with."""
        self._room -= len(key) + len(value) + MEMTABLE_ENTRY_BYTES
        if self._room < 0:
            self._look_after()
        self._entries[key] = value
        if self._log is not None:
            self._log.put(key, value)

    def delete(self, key: bytes) -> None:
        """Removes `key`; one that does not exist is fine."""
        self._make_room(len(key) + MEMTABLE_ENTRY_BYTES)
        self._active.plain = False
        self._entries[key] = None
        if self._log is not None:
            self._log.put(key, None)

    def put_expiring(self, key: bytes, value: bytes, expires_ms: int) -> None:
        """Sets a value that is gone from `expires_ms` on, in milliseconds since the epoch by the wall clock."""
        self._write_special([(key, Expiring(value, expires_ms))])

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Removes every key with low <= key < high. O(k) for k keys of it in the memtable; the rest is remembered."""
        self._write_special([(low, DeleteRange(high))])

    def merge(self, key: bytes, operand: bytes) -> None:
        """Changes the value of `key` by the merge operator. Raises NoMergeOperator."""
        self._write_special([(key, Merge(operand))])

    def write(self, batch: WriteBatch) -> None:
        """Applies all of a batch, or none of it. Raises NoMergeOperator, and ValueError when it is too large for a log.

        O(operations), and for plain batches in C.
        """
        operations = batch.operations
        if not batch.plain:
            self._write_special(operations)
            return
        log = self._log
        if log is not None:
            log.check(operations)
        try:
            # The quick way: a deletion has no length.
            size = sum([len(key) + len(value) for key, value in operations])  # type: ignore[misc,arg-type]
            plain = True
        except TypeError:
            size = sum([len(key) + (0 if value is None else len(value)) for key, value in operations])  # type: ignore[misc,arg-type]
            plain = False
        self._room -= size + MEMTABLE_ENTRY_BYTES * len(operations)
        if self._room < 0:
            self._look_after()
        if not plain:
            self._active.plain = False
        self._entries.update(operations)  # type: ignore[arg-type]  # a plain batch holds values and deletions only
        if log is not None:
            log.write(operations, plain=True)

    def _write_special(self, operations: Sequence[tuple[bytes, Logged]]) -> None:
        """Applies operations of every kind. What can fail is done before anything is applied."""
        merges = [key for key, operation in operations if type(operation) is Merge]
        if merges:
            self._need_operator()
        if self._log is not None:
            self._log.check(operations)
        # What is beneath the memtable is looked at when it is known which memtable that is.
        self._make_room(bytes_taken_by(operations))
        told = self._apply(operations, self._expiring_beneath(merges) if self._expiring else {})
        if self._log is not None:
            self._log.write(told, plain=False)

    def _apply(
        self, operations: Sequence[tuple[bytes, Logged]], expiring_beneath: dict[bytes, Expiring]
    ) -> Sequence[tuple[bytes, Logged]]:
        """Returns what the log should hold."""
        told = apply(
            self._active,
            operations,
            self.operator,
            expiring_beneath=expiring_beneath,
            nothing_beneath=not self._older.layers,
            now_ms=self.now_ms(),
        )
        self._expiring = self._expiring or self._active.expiring
        return told

    def _expiring_beneath(self, keys: list[bytes]) -> dict[bytes, Expiring]:
        """Which of these keys have a value beneath the memtable that expires. Raises Corruption."""
        found: dict[bytes, Expiring] = {}
        for key in keys:
            entry = self._older.find(key)
            if isinstance(entry, Expiring):
                found[key] = entry
        return found

    def _need_operator(self) -> MergeOperator:
        if self.operator is None:
            raise NoMergeOperator("the engine was opened without a merge operator")
        return self.operator

    # Memtables

    def _make_room(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            self._look_after()

    def _look_after(self) -> None:
        """Is called every STEP_BYTES, before the write that is over."""
        if self._failure is not None:
            raise self._failure
        self._turn_due = True
        active = self._active
        active.bytes_taken += self._step_bytes - self._room
        self._room = self._step_bytes
        if active.unsorted_keys >= PIECE_KEYS:
            active.sort_new()
        count = len(active.entries)
        if active.bytes_taken >= self._options.memtable_bytes_max or count >= MEMTABLE_KEYS_MAX:
            if count <= RECOUNT_KEYS_MAX and self._recount(active) < self._options.memtable_bytes_max // 2:
                return
            self._freeze()

    def _recount(self, memtable: Memtable) -> int:
        memtable.bytes_taken = sum(
            len(key) + bytes_of(entry) + MEMTABLE_ENTRY_BYTES for key, entry in memtable.entries.items()
        ) + RANGE_DELETE_BYTES * len(memtable.range_deletes)
        return memtable.bytes_taken

    @property
    def _active_bytes(self) -> int:
        return self._active.bytes_taken + max(0, self._step_bytes - self._room)

    @property
    def _frozen_bytes(self) -> int:
        return sum(memtable.bytes_taken for memtable in self._frozen)

    def _freeze(self) -> None:
        """Makes the memtable in use the newest of the frozen ones. Does nothing when it is empty."""
        active = self._active
        if active.is_empty:
            return
        active.bytes_taken = self._active_bytes
        if self._log is not None:
            active.last_lsn = self._log.cut()
        self._frozen = (active, *self._frozen)
        self._use(Memtable())
        self._view_changed()
        if len(self._frozen) > FROZEN_LAYERS_MAX or self._frozen_bytes >= self._options.memtable_bytes_max:
            self._flush_wanted()

    def _thaw(self) -> None:
        """Writes go on in what only snapshots had frozen, once none shows it any more."""
        changed = False
        while self._frozen:
            newest = self._frozen[0]
            if newest.pins or newest.sealed:
                break
            if newest.bytes_taken + self._active_bytes >= self._options.memtable_bytes_max:
                break
            active = self._active
            active.bytes_taken = self._active_bytes
            if not active.is_empty:
                newest.absorb(active, self.operator)
            self._frozen = self._frozen[1:]
            self._use(newest)
            changed = True
        if changed:
            self._view_changed()

    def _use(self, memtable: Memtable) -> None:
        self._active = memtable
        self._entries = memtable.entries
        if self._failure is None:
            self._room = self._step_bytes

    def _view_changed(self) -> None:
        self._older = View(self._frozen, self._version, self.operator)
        self._expiring = self._older.expiring or self._active.expiring

    def _flush_wanted(self) -> None:
        """Is called when frozen memtables should go to the disk."""
        raise NotImplementedError

    # What the background asks for

    def frozen(self) -> tuple[Memtable, ...]:
        """Memtables that wait, newest first."""
        return self._frozen

    def flushed(self, memtables: Sequence[Memtable], version: Version) -> None:
        """The version holds what the oldest memtables held."""
        self._frozen = self._frozen[: len(self._frozen) - len(memtables)]
        for memtable in memtables:
            if memtable.ranged:
                self._rows.clear()
            else:
                self._rows.forget(memtable.entries.keys())
        self.change_version(version)

    def failed(self, failure: OSError) -> None:
        """Nothing may be written any more: every write looks after the memtable, and meets the failure there."""
        self._failure = failure
        self._room = -1

    def change_version(self, version: Version) -> None:
        """Reading goes on in another version."""
        old, self._version = self._version, version
        self._find_in_tables = version.find
        self._view_changed()
        old.release()
