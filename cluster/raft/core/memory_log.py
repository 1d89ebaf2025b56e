"""The log in memory, as the driver keeps it for the core to read. The driver's WAL is what makes it durable."""

from collections.abc import Sequence

from cluster.raft.core.sizes import fit_entries
from cluster.raft.core.storage import Compacted, Unavailable
from cluster.raft.core.types import Entry, SnapshotMeta


class MemoryLog:
    """A LogStorage over a list; entry i of the list has index `snapshot.index + 1 + i` until compaction.

    Invariant: indexes in `_entries` are contiguous and start at `_before_index + 1`; the term of the entry at
    `_before_index` is kept after that entry itself is gone.
    """

    def __init__(self, snapshot: SnapshotMeta | None = None, entries: Sequence[Entry] = ()) -> None:
        """An empty log with a bootstrap configuration, or one recovered from disk."""
        self._snapshot = snapshot if snapshot is not None else SnapshotMeta()
        self._before_index = self._snapshot.index
        self._before_term = self._snapshot.term
        self._entries: list[Entry] = []
        self.append(entries)

    def first_index(self) -> int:
        """See LogStorage."""
        return self._before_index + 1

    def last_index(self) -> int:
        """See LogStorage."""
        return self._before_index + len(self._entries)

    def term(self, index: int) -> int:
        """See LogStorage."""
        position = index - self._before_index - 1
        if position == -1:
            return self._before_term
        if position < 0:
            raise Compacted(f"term of {index}: the log starts at {self.first_index()}")
        if position >= len(self._entries):
            raise Unavailable(f"term of {index}: the log ends at {self.last_index()}")
        return self._entries[position].term

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """See LogStorage."""
        if low <= self._before_index:
            raise Compacted(f"entries from {low}: the log starts at {self.first_index()}")
        if high > self.last_index() + 1:
            raise Unavailable(f"entries below {high}: the log ends at {self.last_index()}")
        start = self._before_index + 1
        return fit_entries(self._entries[low - start : high - start], bytes_max)

    def snapshot(self) -> SnapshotMeta:
        """See LogStorage."""
        return self._snapshot

    def append(self, entries: Sequence[Entry]) -> None:
        """Appends what a Ready hands out; a first index at or below the last one replaces that suffix.

        Entries at or below the compaction point are passed over. Raises ValueError on a gap.
        """
        if not entries:
            return
        position = entries[0].index - self._before_index - 1
        if position > len(self._entries):
            raise ValueError(f"a gap: {entries[0].index} after {self.last_index()}")
        if position < 0:
            self.append(entries[-position:])
            return
        if position < len(self._entries):
            del self._entries[position:]
        self._entries.extend(entries)

    def compact(self, index: int) -> None:
        """Forgets entries up to and including `index`, which must not lie beyond the newest snapshot.

        The driver keeps some entries behind the snapshot, so that a slow follower needs no snapshot. Raises
        ValueError, or Compacted when that is gone already.
        """
        if index > self._snapshot.index:
            raise ValueError(f"compacting to {index} needs a snapshot; the newest is at {self._snapshot.index}")
        if index < self._before_index:
            raise Compacted(f"compacting to {index}: the log starts at {self.first_index()}")
        if index == self._before_index:
            return
        term = self.term(index)
        del self._entries[: index - self._before_index]
        self._before_index, self._before_term = index, term

    def set_snapshot(self, meta: SnapshotMeta) -> None:
        """Records a snapshot that this node took of its own state machine; the entries stay until `compact`.

        Raises ValueError when it is older than the present one or beyond the log.
        """
        if meta.index < self._snapshot.index:
            raise ValueError(f"snapshot at {meta.index} is older than the one at {self._snapshot.index}")
        if self.term(meta.index) != meta.term:
            raise ValueError(f"snapshot at {meta.index} has term {meta.term}, the log {self.term(meta.index)}")
        self._snapshot = meta

    def apply_snapshot(self, meta: SnapshotMeta) -> None:
        """Replaces the whole log by a snapshot received from the leader (`Ready.snapshot`)."""
        self._snapshot = meta
        self._before_index, self._before_term = meta.index, meta.term
        self._entries.clear()
