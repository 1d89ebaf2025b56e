"""From the log's records back to the state of each group.

A replay is fed every record in order with its LSN. What it cannot make sense of is corruption: the log below has
checksums, so a record that contradicts the ones before it was either written by a bug or follows a hole.
"""

from collections import deque
from typing import NamedTuple

from cluster.raft.core import MemoryLog
from cluster.raft.core.types import Configuration, Entry, HardState, SnapshotMeta, Standing
from cluster.raft.driver.records import (
    BadRecord,
    EntriesRecord,
    HardStateRecord,
    Mark,
    StandingRecord,
    decode,
)


class Span(NamedTuple):
    """Entries of one record that the log still needs."""

    first: int
    last: int
    lsn: int


class LogSpans:
    """Which records of the shared log one group needs: its newest MARK, and the records of its live entries."""

    def __init__(self) -> None:
        self._spans: deque[Span] = deque()
        self._mark_lsn = 0

    def entries_written(self, first: int, last: int, lsn: int) -> None:
        """A record with entries went into the log; it replaces what stood at `first` and after."""
        spans = self._spans
        while spans and spans[-1].last >= first:
            span = spans.pop()
            if span.first < first:
                spans.append(Span(span.first, first - 1, span.lsn))
                break
        spans.append(Span(first, last, lsn))

    def mark_written(self, base_index: int, lsn: int, *, reset: bool) -> None:
        """A MARK went into the log: entries up to `base_index`, or all with `reset`, are not needed any more."""
        self._mark_lsn = lsn
        spans = self._spans
        if reset:
            spans.clear()
        while spans and spans[0].last <= base_index:
            spans.popleft()

    @property
    def floor(self) -> int:
        """The lowest LSN that this group needs."""
        return min(self._mark_lsn, self._spans[0].lsn) if self._spans else self._mark_lsn


class RecoveredGroup:
    """What the log says about one group."""

    def __init__(self, group: int) -> None:
        self.group = group
        self.hard_state = HardState()
        self.standing = Standing()
        self.snapshot = SnapshotMeta(0, 0, Configuration())
        self.marked = False
        """Whether a MARK was seen: without one, there is no beginning."""
        self.spans = LogSpans()
        self._base = (0, 0)
        self._entries: list[Entry] = []

    def mark(self, mark: Mark, lsn: int) -> None:
        """Takes a MARK."""
        if mark.reset:
            self._entries = []
        elif self._entries:
            del self._entries[: max(0, mark.base_index + 1 - self._entries[0].index)]
        self._base = (mark.base_index, mark.base_term)
        self.hard_state, self.snapshot, self.marked = mark.hard_state, mark.snapshot, True
        self.spans.mark_written(mark.base_index, lsn, reset=mark.reset)

    def entries(self, entries: list[Entry], lsn: int) -> None:
        """Takes a run of entries. Raises BadRecord on a gap.

        Only gaps within the entries count here. The log's front may have been dropped up to what the newest MARK
        needs, so an older MARK at the front may speak of entries that are rightly gone; `log` checks the outcome.
        """
        first, last = entries[0].index, entries[-1].index
        self.spans.entries_written(first, last, lsn)
        start = self._entries[0].index if self._entries else first
        if first > start + len(self._entries):
            raise BadRecord(f"entries {start + len(self._entries)}..{first - 1} of group {self.group} are missing")
        if first <= start:
            self._entries = entries
            return
        del self._entries[first - start :]
        self._entries += entries

    def log(self) -> MemoryLog:
        """The log as the core wants it. Raises BadRecord when it does not reach what it must."""
        base_index, base_term = self._base
        last = base_index + len(self._entries)
        if not self.marked:
            raise BadRecord(f"group {self.group} has records and no beginning")
        if self._entries and self._entries[0].index != base_index + 1:
            raise BadRecord(f"entries of group {self.group} from {base_index + 1} on are missing")
        if last < max(self.hard_state.commit, self.snapshot.index):
            raise BadRecord(f"group {self.group} ends at {last}, committed {self.hard_state.commit}")
        log = MemoryLog(SnapshotMeta(base_index, base_term, self.snapshot.configuration), self._entries)
        try:
            log.set_snapshot(self.snapshot)
        except ValueError as error:
            raise BadRecord(str(error)) from error
        return log


class Replay:
    """Sorts the records of the shared log by group."""

    def __init__(self) -> None:
        self.groups: dict[int, RecoveredGroup] = {}

    def record(self, lsn: int, payload: bytes) -> None:
        """Takes the next record. Raises BadRecord."""
        record = decode(payload)
        group = self.groups.get(record.group)
        if group is None:
            group = self.groups[record.group] = RecoveredGroup(record.group)
        if isinstance(record, EntriesRecord):
            group.entries(record.entries, lsn)
        elif isinstance(record, HardStateRecord):
            group.hard_state = record.hard_state
        elif isinstance(record, StandingRecord):
            group.standing = record.standing
        else:
            group.mark(record, lsn)
