"""Judges what a group of members does, by the properties of the Raft paper's figure 3.

It knows more than any member does: every entry that anybody ever applied, and every leader of every term.
"""

from collections.abc import Iterable

from cluster.raft.core.raft import Raft
from cluster.raft.core.storage import LogStorage
from cluster.raft.core.types import Entry


class Violation(AssertionError):
    """A safety property does not hold; the message names it and tells what was seen."""


class Checker:
    """Fed by Network; every method raises Violation."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        """The leader of each term."""
        self.applied: dict[int, Entry] = {}
        """What the group agreed on, by index: the first application of each."""
        self.applied_in_term: dict[int, int] = {}
        """The term of the member that applied it first: an upper bound of the term in which it was committed."""
        self.commit_max = 0
        """The highest commit index that any member ever knew."""

    def on_leader(self, raft: Raft) -> None:
        """Election Safety: one leader a term. Leader Completeness: it has what earlier terms committed."""
        known = self.leaders.setdefault(raft.term, raft.member_id)
        if known != raft.member_id:
            raise Violation(f"election safety: term {raft.term} has leaders {known} and {raft.member_id}")
        for index, entry in self.applied.items():
            if self.applied_in_term[index] >= raft.term or index < raft.first_index:
                continue
            term = raft.entry_term(index)
            if term != entry.term:
                raise Violation(
                    f"leader completeness: {raft.member_id} leads term {raft.term} with term {term} at {index}, "
                    f"where {entry.term} is committed"
                )

    def on_commit(self, raft: Raft) -> None:
        """Notes how far anybody knows to be committed."""
        self.commit_max = max(self.commit_max, raft.commit_index)

    def on_apply(self, raft: Raft, expected: int, entry: Entry) -> None:
        """State Machine Safety: nobody applies anything else at an index; nobody skips one."""
        if entry.index != expected:
            raise Violation(f"order: {raft.member_id} applies {entry.index} where {expected} is next")
        first = self.applied.setdefault(entry.index, entry)
        self.applied_in_term.setdefault(entry.index, raft.term)
        if first != entry:
            raise Violation(f"state machine safety: {raft.member_id} applies {entry}, somebody applied {first}")

    def on_snapshot(self, raft: Raft, index: int) -> None:
        """A snapshot stands for entries that somebody applied."""
        if index not in self.applied:
            raise Violation(f"{raft.member_id} installs a snapshot at {index}, which nobody applied")

    def on_read(self, raft: Raft, index: int, committed_at_call: int) -> None:
        """Linearizable reads: the index covers everything that was committed when the read was asked for."""
        if index < committed_at_call:
            raise Violation(
                f"stale read at {raft.member_id}: index {index}, but {committed_at_call} was committed at the call"
            )

    def check_logs(self, logs: Iterable[LogStorage]) -> None:
        """Log Matching: where two logs have the same index and term, they are the same from there down."""
        every = list(logs)
        for place, one in enumerate(every):
            for other in every[place + 1 :]:
                self._check_pair(one, other)

    @staticmethod
    def _check_pair(one: LogStorage, other: LogStorage) -> None:
        low = max(one.first_index(), other.first_index())
        high = min(one.last_index(), other.last_index())
        while high >= low and one.term(high) != other.term(high):
            high -= 1
        if high < low:
            return
        left, right = one.entries(low, high + 1, 1 << 40), other.entries(low, high + 1, 1 << 40)
        for first, second in zip(left, right, strict=False):
            if first != second:
                raise Violation(f"log matching: {first} against {second}, though the logs agree at {high}")

    def check_durable(self, logs: Iterable[LogStorage], voters: int) -> None:
        """Whatever was applied anywhere is on the disks of a majority."""
        every = list(logs)
        for index, entry in self.applied.items():
            holders = sum(
                index < log.first_index() or (index <= log.last_index() and log.term(index) == entry.term)
                for log in every
            )
            if holders <= voters // 2:
                raise Violation(f"durability: committed {entry} is on {holders} disks of {voters}")
