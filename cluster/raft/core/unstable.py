"""The tail of the log that is not yet known to be on disk.

Several writes may be under way. A later write may overwrite what an earlier one still carries: entry 5 of term 2
replaces entry 5 of term 1, and entry 5 of term 1 may even come back with a later leader. Index and term therefore do
not tell whether a finished write made *this* entry stable (the ABA problem). So each write under way remembers how
far it is still valid, and a truncation clips all of them: a write that finishes makes stable what nobody has replaced
since it was handed out, and no more.
"""

from collections import deque
from collections.abc import Sequence

from cluster.raft.core.types import Entry, SnapshotMeta


class Write:
    """One Ready's part of the log on its way to the disk."""

    __slots__ = ("number", "snapshot_index", "valid_through")

    def __init__(self, number: int, valid_through: int, snapshot_index: int) -> None:
        self.number = number
        self.valid_through = valid_through
        self.snapshot_index = snapshot_index


class Unstable:
    """Invariants: `offset <= handed_offset <= offset + len(entries)`; entries are contiguous from `offset`."""

    __slots__ = ("_snapshot_handed", "_writes", "entries", "handed_offset", "offset", "snapshot")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        """Index of the first unstable entry; everything before it is stable, unless `snapshot` is set."""
        self.handed_offset = offset
        """Index of the first entry that no Ready carried yet."""
        self.entries: list[Entry] = []
        self.snapshot: SnapshotMeta | None = None
        """A received snapshot that is not on disk yet; it stands just before `offset`."""
        self._snapshot_handed = False
        self._writes: deque[Write] = deque()

    def append(self, entries: Sequence[Entry]) -> None:
        """Appends; a first index at or below the last one replaces everything from there on, stable or not."""
        first = entries[0].index
        end = self.offset + len(self.entries)
        assert first <= end, f"a gap between {end - 1} and {first}"
        if first < end or first < self.offset:
            self._truncate(first)
        self.entries.extend(entries)

    def _truncate(self, first: int) -> None:
        if first <= self.offset:
            self.offset = first
            self.entries = []
        else:
            del self.entries[first - self.offset :]
        self.handed_offset = min(self.handed_offset, first)
        for write in self._writes:
            write.valid_through = min(write.valid_through, first - 1)

    def restore(self, snapshot: SnapshotMeta) -> None:
        """A snapshot replaces the whole log."""
        self.snapshot = snapshot
        self._snapshot_handed = False
        self.entries = []
        self.offset = self.handed_offset = snapshot.index + 1
        for write in self._writes:
            write.valid_through = 0

    @property
    def has_work(self) -> bool:
        """Whether a Ready would carry entries or a snapshot."""
        if self.snapshot is not None and not self._snapshot_handed:
            return True
        return self.handed_offset < self.offset + len(self.entries)

    def hand_out(self, number: int) -> tuple[list[Entry], SnapshotMeta | None]:
        """What Ready `number` is to write; to be followed by `finished(number)`, in order."""
        entries = self.entries[self.handed_offset - self.offset :]
        snapshot = None if self._snapshot_handed else self.snapshot
        self._snapshot_handed = self.snapshot is not None
        self.handed_offset = self.offset + len(self.entries)
        if entries or snapshot is not None:
            last = entries[-1].index if entries else 0
            self._writes.append(Write(number, last, snapshot.index if snapshot is not None else 0))
        return entries, snapshot

    def finished(self, number: int) -> int:
        """Ready `number` is on disk. Returns the index of the snapshot that it installed, 0 for none.

        That is so even if a newer snapshot came meanwhile and is on its way itself: the state machine was replaced.
        """
        if not self._writes or self._writes[0].number != number:
            return 0
        write = self._writes.popleft()
        if self.snapshot is not None and self._snapshot_handed and write.snapshot_index == self.snapshot.index:
            self.snapshot, self._snapshot_handed = None, False
        done = write.valid_through + 1 - self.offset
        if done > 0:
            del self.entries[:done]
            self.offset += done
        return write.snapshot_index
