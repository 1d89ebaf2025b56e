"""What a leader knows of one member's log.

Three states (etcd's model of thesis 10.2.1):
- PROBE: where the logs agree is unknown; one APPEND at a time, the next after an answer or a heartbeat's.
- REPLICATE: they agree; APPENDs are pipelined, `next` moves on when they are sent.
- SNAPSHOT: what it lacks is compacted; nothing is sent until the snapshot is reported or acknowledged.

Invariant: `match < next`; `match` never moves back within a term and a life of the member's log.
"""

from enum import Enum

from cluster.raft.core.tracker.inflights import Inflights


class ProgressState(Enum):
    """How entries flow to a member."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One member, seen by the leader."""

    __slots__ = (
        "barrier",
        "counts",
        "inflights",
        "life",
        "match",
        "must_send",
        "next",
        "pending_snapshot",
        "probe_sent",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(self, match: int, next_index: int, inflights: Inflights, *, recent_active: bool = False) -> None:
        self.match = match
        """The highest index known to be on that member's disk."""
        self.next = next_index
        """The index with which the next APPEND starts."""
        self.state = ProgressState.PROBE
        self.inflights = inflights
        self.probe_sent = False
        """PROBE: one is under way. REPLICATE: an empty APPEND was sent into a full window."""
        self.must_send = False
        """Send an APPEND even when there is nothing new: its answer tells where the logs agree."""
        self.recent_active = recent_active
        """Heard from since the last check of the quorum."""
        self.pending_snapshot = 0
        """SNAPSHOT: the index of the one that is under way."""
        self.sent_commit = 0
        """The highest commit index sent; saves empty APPENDs that would tell nothing new."""
        self.life = 0
        """The life of its log, as its newest answer told; 0 before the first one of a term."""
        self.counts = True
        """False while it recovers a lost log: `match` then steers what is sent to it, and is part of no quorum."""
        self.barrier = 0
        """The entry that was appended for its recovery, 0 for none."""

    def begin_life(self, life: int, next_index: int) -> None:
        """The member answers with another log than before: what was known of the lost one is void."""
        self._become(ProgressState.PROBE)
        self.match = self.sent_commit = self.barrier = 0
        self.next = next_index
        self.must_send = True
        self.life = life
        self.counts = False

    def _become(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.pending_snapshot = 0
        self.inflights.reset()

    def become_probe(self) -> None:
        """Back to one at a time; after a snapshot from just behind it."""
        after_snapshot = self.pending_snapshot if self.state is ProgressState.SNAPSHOT else 0
        self._become(ProgressState.PROBE)
        self.next = max(self.match, after_snapshot) + 1
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        """The logs agree up to `match`: stream from there."""
        self._become(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """A snapshot at `index` goes out."""
        self._become(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self.sent_commit = index

    def sent_entries(self, last_index: int, size_bytes: int) -> None:
        """An APPEND with entries up to `last_index` goes out."""
        if self.state is ProgressState.REPLICATE:
            self.next = last_index + 1
            self.inflights.add(last_index, size_bytes)
            self.probe_sent = False
        else:
            self.probe_sent = True

    def acknowledged(self, index: int) -> bool:
        """The member holds everything up to `index`. Returns whether that is news."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, index + 1)
        return True

    def rejected(self, index: int, hint: int) -> bool:
        """The member lacks the entry at `index`; the logs may agree at `hint`. False when the rejection is outdated.

        Rejections can be outdated because messages are reordered and sent twice.
        """
        if self.state is ProgressState.REPLICATE:
            if index <= self.match:
                return False
            self.next = self.match + 1
            self.sent_commit = min(self.sent_commit, self.match)
            return True
        if self.next - 1 != index:
            return False
        self.next = max(min(index, hint + 1), self.match + 1)
        self.sent_commit = min(self.sent_commit, self.next - 1)
        self.probe_sent = False
        return True

    @property
    def paused(self) -> bool:
        """Whether entries must wait."""
        if self.state is ProgressState.REPLICATE:
            return self.inflights.full
        if self.state is ProgressState.PROBE:
            return self.probe_sent
        return True

    def describe(self) -> str:
        """One line for people."""
        parts = [f"{self.state.value} match={self.match} next={self.next}"]
        if self.paused:
            parts.append("paused")
        if self.pending_snapshot:
            parts.append(f"snapshot={self.pending_snapshot}")
        if not self.recent_active:
            parts.append("inactive")
        if not self.counts:
            parts.append("withheld")
        if len(self.inflights):
            parts.append(f"inflight={len(self.inflights)}")
        return " ".join(parts)
