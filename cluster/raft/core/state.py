"""One member's whole state, and the transitions between its roles (Raft, figure 4).

The modules `election`, `leader` and `follower` decide; this one holds what they share. Messages leave in two boxes:
`outbox` at once, and `outbox_after_persist` for what is a promise about the disk (types.py, contract 3).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from cluster.raft.core.config import RaftConfig
from cluster.raft.core.log import RaftLog
from cluster.raft.core.quorum import joint
from cluster.raft.core.read_index import ReadRounds
from cluster.raft.core.sizes import entries_bytes
from cluster.raft.core.tracker.tracker import Tracker
from cluster.raft.core.types import (
    NO_NODE,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    ReadState,
    Role,
    Stage,
    Standing,
)

if TYPE_CHECKING:
    from cluster.raft.core.recovering import Inquiry

PROMISES = frozenset({MessageKind.APPEND_REPLY, MessageKind.VOTE_REPLY, MessageKind.VOTE, MessageKind.JOIN_REPLY})
"""Messages that must not leave before the state they speak of is on disk.

A VOTE is among them, which etcd sends at once: it speaks of the candidate's last entry. If that entry is lost in a
crash and the candidate stands again in the same term, a vote granted before the crash would elect a shorter log.
"""


class Core:
    """The state of a member of a group. Only the modules of this package touch it."""

    def __init__(
        self,
        config: RaftConfig,
        log: RaftLog,
        tracker: Tracker,
        term: int,
        vote: int,
        standing: Standing,
        random: Callable[[int, int], int],
    ) -> None:
        self.config = config
        self.safeguards = config.safeguards
        self.id = config.member_id
        self.random = random
        self.log = log
        self.tracker = tracker
        self.term = term
        self.vote = vote
        self.standing = standing
        self.inquiry: Inquiry | None = None
        self.barrier = (0, 0)
        """RECOVERING: index and term of the entry that must come back; index 0 while none is known."""
        self.recovery_elapsed = self.recovery_patience = 0
        """Ticks since the last question, and after how many it is asked again."""
        self.role = Role.FOLLOWER
        self.leader = NO_NODE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = 0
        self.transfer_target = NO_NODE
        self.pending_configuration_index = 0
        """A leader proposes no change of the membership before it applied the entry here."""
        self.uncommitted_bytes = 0
        self.committed_in_term = False
        """Leader: an entry of the own term is committed, so the commit index is as new as any (thesis, 6.4)."""
        self.reads = ReadRounds()
        self.read_states: list[ReadState] = []
        self.outbox: list[Message] = []
        self.outbox_after_persist: list[Message] = []
        self.replication_due = False
        """Leader: somebody may have to be sent something at the next Ready."""
        self._reset(term)

    @property
    def withheld(self) -> bool:
        """Whether this member may not take part in quorums, see `recovering`."""
        return self.standing.stage is not Stage.SETTLED

    # Messages

    def send(self, message: Message) -> None:
        """Puts a message into the right box."""
        if message.kind in PROMISES and self.safeguards.persist_before_reply:
            self.outbox_after_persist.append(message)
        else:
            self.outbox.append(message)

    # Roles

    def _reset(self, term: int) -> None:
        if term != self.term:
            self.term = term
            # A withheld member may have voted in this term before it lost its log: nobody gets its vote (again).
            self.vote = self.id if self.withheld else NO_NODE
        self.leader = NO_NODE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.transfer_target = NO_NODE
        self.election_timeout = self.config.election_ticks + self.random(0, self.config.election_ticks)
        self.tracker.reset_votes()
        self.tracker.reset_progress(self.log.last_index)
        self.pending_configuration_index = 0
        self.uncommitted_bytes = 0
        self.committed_in_term = False
        self.replication_due = False
        self.reads.reset()

    def become_follower(self, term: int, leader: int) -> None:
        """Any role to FOLLOWER: a newer term, a leader of this one, a lost ballot, or a lost quorum."""
        assert term >= self.term, "terms never fall"
        self._reset(term)
        self.role = Role.FOLLOWER
        self.leader = leader

    def become_pre_candidate(self) -> None:
        """FOLLOWER or a candidate that got no answer: asks first. Term and vote stay: nothing is promised."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self.tracker.reset_votes()
        self.role = Role.PRE_CANDIDATE
        self.leader = NO_NODE
        self.election_elapsed = 0
        self.election_timeout = self.config.election_ticks + self.random(0, self.config.election_ticks)

    def become_candidate(self) -> None:
        """Opens a new term and votes for itself; the own vote counts once it is on disk."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self._reset(self.term + 1)
        self.role = Role.CANDIDATE
        self.vote = self.id

    def become_leader(self) -> None:
        """CANDIDATE to LEADER. The empty entry lets what older terms left be committed (Raft, 5.4.2 and 8)."""
        assert self.role is Role.CANDIDATE, "only an elected candidate leads"
        self._reset(self.term)
        self.role = Role.LEADER
        self.leader = self.id
        own = self.tracker.progress[self.id]
        own.match = self.log.stable_index
        own.become_replicate()
        own.recent_active = True
        # There may be a change of the membership somewhere in the uncommitted tail; not looking for it costs at
        # most one refused proposal.
        self.pending_configuration_index = self.log.last_index
        self.append_commands((b"",))

    # Leader's log

    def append_commands(self, commands: Sequence[bytes]) -> None:
        """Leader: appends commands to the own log."""
        start, term = self.log.last_index + 1, self.term
        self._append_own(
            list(map(Entry, range(start, start + len(commands)), repeat(term), repeat(EntryKind.COMMAND), commands))
        )

    def append_entry(self, kind: EntryKind, data: bytes) -> None:
        """Leader: appends one entry of any kind."""
        self._append_own([Entry(self.log.last_index + 1, self.term, kind, data)])

    def append_forwarded(self, entries: Sequence[Entry]) -> None:
        """Leader: appends entries that came without a place in the log."""
        start, term = self.log.last_index + 1, self.term
        self._append_own([Entry(i, term, entry.kind, entry.data) for i, entry in enumerate(entries, start)])

    def _append_own(self, entries: list[Entry]) -> None:
        self.uncommitted_bytes += entries_bytes(entries)
        self.log.append(entries)
        self.replication_due = True

    def has_room(self, size_bytes: int) -> bool:
        """Leader: whether that much may be proposed. One proposal is always let in, or a large one never could."""
        return not self.uncommitted_bytes or self.uncommitted_bytes + size_bytes <= self.config.uncommitted_bytes_max

    def quorum_index(self, acknowledged: Mapping[int, int]) -> int:
        """The highest number that a quorum acknowledged."""
        configuration = self.tracker.configuration
        return joint.committed_index(configuration.voters, configuration.voters_outgoing, acknowledged)
