"""The core's configuration, and the safeguards that a tester may take away."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Safeguards:
    """Rules without which Raft is unsafe. All are on; the simulator switches single ones off to test its checkers.

    Nothing in production may ever build one with a False in it.
    """

    vote_once_per_term: bool = True
    """Off: a member grants every candidate of a term. Breaks election safety (Raft, 5.2)."""
    log_freshness: bool = True
    """Off: a member votes for candidates whose log is behind its own. Breaks leader completeness (Raft, 5.4.1)."""
    persist_before_reply: bool = True
    """Off: votes and append acknowledgements leave before the disk holds what they promise."""
    commit_own_term_only: bool = True
    """Off: a leader counts copies of older terms' entries. Breaks leader completeness (Raft, 5.4.2, figure 8)."""
    check_previous_entry: bool = True
    """Off: a follower appends without comparing the entry before. Breaks log matching (Raft, 5.3)."""
    confirm_reads: bool = True
    """Off: a leader answers reads without asking a quorum whether it still leads (thesis, 6.4)."""
    reads_wait_for_own_term: bool = True
    """Off: a new leader answers reads before it committed in its term, with a stale commit index (thesis, 6.4)."""
    recover_before_voting: bool = True
    """Off: a member that lost its log takes part at once, and forgets what it voted and acknowledged."""


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Everything that a member of a group can be told. Raises ValueError, naming the field, when one makes no sense."""

    member_id: int
    """This member's own id within the group, never 0."""
    election_ticks: int = 10
    """Ticks without a leader after which a follower may campaign; the real number is drawn from [n, 2n)."""
    heartbeat_ticks: int = 1
    """Ticks between a leader's heartbeats. Must be well below `election_ticks`."""
    entries_bytes_per_message_max: int = 1 << 20
    """Data in one APPEND; a single larger entry still travels, alone."""
    inflight_messages_max: int = 256
    """Unacknowledged APPENDs with entries to one follower."""
    inflight_bytes_max: int = 64 << 20
    """Unacknowledged data to one follower."""
    uncommitted_bytes_max: int = 128 << 20
    """Data that a leader took and that is not yet applied here; more is refused. One proposal is always let in."""
    committed_bytes_per_ready_max: int = 16 << 20
    """Data of committed entries handed out and not yet applied; a single larger entry still passes."""
    pending_reads_max: int = 65_536
    """Reads that await confirmation at a leader, and those that it postpones."""
    pre_vote: bool = True
    """Ask whether an election could be won before raising the term (thesis, 9.6)."""
    check_quorum: bool = True
    """A leader without a quorum steps down; who hears from a leader ignores candidates (thesis, 6.2 and 4.2.3)."""
    safeguards: Safeguards = field(default_factory=Safeguards)

    def __post_init__(self) -> None:
        if self.member_id <= 0:
            raise ValueError(f"member_id must be positive, not {self.member_id}")
        if self.heartbeat_ticks < 1:
            raise ValueError(f"heartbeat_ticks must be at least 1, not {self.heartbeat_ticks}")
        if self.election_ticks <= self.heartbeat_ticks:
            raise ValueError(f"election_ticks ({self.election_ticks}) must exceed heartbeat_ticks")
        for name in (
            "entries_bytes_per_message_max",
            "inflight_messages_max",
            "inflight_bytes_max",
            "uncommitted_bytes_max",
            "committed_bytes_per_ready_max",
            "pending_reads_max",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.inflight_bytes_max < self.entries_bytes_per_message_max:
            raise ValueError("inflight_bytes_max must hold at least one message of entries_bytes_per_message_max")
