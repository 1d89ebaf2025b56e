"""The log as the algorithm sees it: what is stable and what is on its way to the disk, as one sequence.

Invariants: applied <= handed <= committed <= last_index, and handed <= stable_index: an entry is given out to be
applied only when it is committed *and* on this member's own disk, so a state machine never knows more than the log
under it. Committed entries are never replaced; an attempt to is a broken promise somewhere, and stops the member.
"""

from collections import deque
from collections.abc import Sequence

from cluster.raft.core.errors import InvariantBroken
from cluster.raft.core.sizes import ENTRIES_PER_SLICE_MAX, entries_bytes, fit_entries
from cluster.raft.core.storage import Compacted, LogStorage, Unavailable
from cluster.raft.core.types import Entry, SnapshotMeta
from cluster.raft.core.unstable import Unstable


class RaftLog:
    """A LogStorage with its unstable tail, and how far it is committed, handed out and applied."""

    def __init__(self, storage: LogStorage, committed: int, applied: int, applying_bytes_max: int) -> None:
        last = storage.last_index()
        committed = max(committed, applied, storage.snapshot().index)
        if committed > last:
            raise ValueError(f"committed up to {committed}, but the log ends at {last}: entries were lost")
        if applied < storage.first_index() - 1:
            raise ValueError(f"applied up to {applied}, but the log starts at {storage.first_index()}")
        self.storage = storage
        self.unstable = Unstable(last + 1)
        self.committed = committed
        self.handed = applied
        self.applied = applied
        self._applying_bytes_max = applying_bytes_max
        self._applying: deque[tuple[int, int]] = deque()
        self._applying_bytes = 0

    @property
    def first_index(self) -> int:
        """The oldest index whose entry can be read."""
        snapshot = self.unstable.snapshot
        return self.storage.first_index() if snapshot is None else snapshot.index + 1

    @property
    def last_index(self) -> int:
        """The newest index, stable or not."""
        return self.unstable.offset + len(self.unstable.entries) - 1

    @property
    def stable_index(self) -> int:
        """Everything up to here is on disk. 0 while a snapshot is on its way there."""
        return self.unstable.offset - 1 if self.unstable.snapshot is None else 0

    def term(self, index: int) -> int:
        """Raises Compacted before `first_index - 1`, Unavailable after `last_index`."""
        unstable = self.unstable
        position = index - unstable.offset
        if position >= 0:
            if position >= len(unstable.entries):
                raise Unavailable(f"term of {index}: the log ends at {self.last_index}")
            return unstable.entries[position].term
        snapshot = unstable.snapshot
        if snapshot is not None:
            if index == snapshot.index:
                return snapshot.term
            raise Compacted(f"term of {index}: the log starts at {self.first_index}")
        return self.storage.term(index)

    @property
    def last_term(self) -> int:
        """The newest entry's term."""
        return self.term(self.last_index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the entry at `index` is known to have this term."""
        try:
            return self.term(index) == term
        except (Compacted, Unavailable):
            return False

    def at_least_as_fresh(self, index: int, term: int) -> bool:
        """Whether a log that ends with (index, term) is at least as up to date as this one (Raft, 5.4.1)."""
        last_term = self.last_term
        return term > last_term or (term == last_term and index >= self.last_index)

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Entries of [low, high), cut to size but at least one, at most ENTRIES_PER_SLICE_MAX. Raises Compacted."""
        high = min(high, low + ENTRIES_PER_SLICE_MAX)
        unstable = self.unstable
        offset = unstable.offset
        if low >= offset:
            return fit_entries(unstable.entries[low - offset : high - offset], bytes_max)
        if unstable.snapshot is not None:
            raise Compacted(f"entries from {low}: the log starts at {self.first_index}")
        stable = self.storage.entries(low, min(high, offset), bytes_max)
        if high <= offset or len(stable) < offset - low:
            return stable
        left = bytes_max - entries_bytes(stable)
        tail = unstable.entries[: high - offset]
        if left <= 0 or entries_bytes(tail[:1]) > left:
            return stable
        return stable + fit_entries(tail, left)

    def append(self, entries: Sequence[Entry]) -> None:
        """Appends; replaces the suffix from the first entry's index on. Raises InvariantBroken below the commit."""
        if entries:
            if entries[0].index <= self.committed:
                raise InvariantBroken(f"entry {entries[0].index} is to be replaced, but {self.committed} is committed")
            self.unstable.append(entries)

    def append_after(self, index: int, log_term: int, entries: Sequence[Entry], *, check: bool = True) -> int | None:
        """A follower's append: what follows (index, log_term), or None when that entry is not here.

        Returns the last index known to match the leader's log. Entries that are here already are left alone: the
        message may be an old one, and truncating would drop what later messages brought (Raft, 5.3).
        """
        if check and not self.matches(index, log_term):
            return None
        if index > self.last_index:
            return None
        last_new = index + len(entries)
        if index == self.last_index:
            self.append(entries)
            return last_new
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                self.append(entries[position:])
                break
        return last_new

    def highest_at_or_below_term(self, index: int, term: int) -> tuple[int, int]:
        """The highest entry at or before `index` whose term is at most `term`, and its term (0 when unknown).

        Everything after it has a greater term, so two logs cannot agree there: this skips whole terms of a
        conflicting suffix in one message. Terms never fall along the log, so it is a binary search.
        """
        low, high = self.first_index - 1, min(index, self.last_index)
        if high < low:
            return index, 0
        if self.term(high) <= term:
            return high, self.term(high)
        while low < high:
            middle = (low + high + 1) // 2
            if self.term(middle) <= term:
                low = middle
            else:
                high = middle - 1
        found = self.term(low)
        # The compaction point itself may still be too new: then nothing is known of what lies before it.
        return (low, found) if found <= term else (max(low - 1, 0), 0)

    def commit_to(self, index: int) -> bool:
        """Moves the commit index forward. Returns whether it moved. Raises InvariantBroken beyond the log's end."""
        if index <= self.committed:
            return False
        if index > self.last_index:
            raise InvariantBroken(f"{index} is committed, but the log ends at {self.last_index}: entries were lost")
        self.committed = index
        return True

    def restore(self, snapshot: SnapshotMeta) -> None:
        """A snapshot takes the place of the whole log."""
        self.unstable.restore(snapshot)
        self.committed = snapshot.index

    def write_finished(self, number: int) -> None:
        """A Ready's entries and snapshot are on disk."""
        self.handed = max(self.handed, self.unstable.finished(number))

    @property
    def has_committed(self) -> bool:
        """Whether `hand_out_committed` would give anything."""
        return self.handed < min(self.committed, self.stable_index) and self._applying_bytes < self._applying_bytes_max

    def hand_out_committed(self) -> list[Entry]:
        """The next committed entries, as many as may be outstanding."""
        if not self.has_committed:
            return []
        high = min(self.committed, self.stable_index)
        entries = self.storage.entries(
            self.handed + 1,
            min(high, self.handed + ENTRIES_PER_SLICE_MAX) + 1,
            self._applying_bytes_max - self._applying_bytes,
        )
        size = entries_bytes(entries)
        self.handed = entries[-1].index
        self._applying.append((self.handed, size))
        self._applying_bytes += size
        return entries

    def applied_to(self, index: int) -> int:
        """The state machine has come to `index`. Returns the bytes that were handed out and are now applied."""
        if index <= self.applied:
            return 0
        if index > self.handed:
            raise ValueError(f"{index} is said to be applied, but only {self.handed} was handed out")
        self.applied = index
        done = 0
        while self._applying and self._applying[0][0] <= index:
            done += self._applying.popleft()[1]
        self._applying_bytes -= done
        return done

    def describe(self) -> str:
        """One line for people."""
        return (
            f"first={self.first_index} last={self.last_index} stable={self.stable_index} committed={self.committed}"
            f" handed={self.handed} applied={self.applied}"
        )
