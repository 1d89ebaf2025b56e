"""The public face of the core: what a driver calls, and how terms and Readys are kept in order.

Follow `step` for a message's way: terms are compared here, then `election`, `leader` or `follower` decides.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from cluster.raft.core import election, follower, leader, membership, recovering
from cluster.raft.core.config import RaftConfig
from cluster.raft.core.configuration import ConfigurationChange, decode, encode
from cluster.raft.core.errors import DropReason, ProposalDropped, ReadDropped
from cluster.raft.core.log import RaftLog
from cluster.raft.core.sizes import commands_bytes
from cluster.raft.core.state import Core
from cluster.raft.core.storage import Compacted, LogStorage, Unavailable
from cluster.raft.core.tracker.progress import Progress, ProgressState
from cluster.raft.core.tracker.tracker import Tracker
from cluster.raft.core.types import (
    NO_NODE,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    Ready,
    Role,
    SoftState,
    Stage,
    Standing,
)

LEADER_ONLY = frozenset({MessageKind.APPEND, MessageKind.HEARTBEAT, MessageKind.SNAPSHOT})
"""Only the leader of their term sends these: whoever gets one knows the leader."""

VOTE_REPLIES = frozenset({MessageKind.VOTE_REPLY, MessageKind.PRE_VOTE_REPLY})


class _Handed(NamedTuple):
    """What `persisted` must know of a Ready that is under way."""

    number: int
    term: int
    vote: int


class Raft:
    """One member of one group. Not safe for threads; every call is synchronous and short.

    A driver's turn: feed `tick`, `step`, `propose`, `read_index`; then, once a turn, `if has_ready(): ready()`.
    Whatever was proposed between two Readys travels in one APPEND per follower, and all reads in one round of
    heartbeats, so ask for a Ready once a turn and not after every call. After `persisted` and `applied` there may be
    a new Ready. InvariantBroken, from any call, means that this member must stop.
    """

    def __init__(
        self,
        config: RaftConfig,
        storage: LogStorage,
        hard_state: HardState,
        configuration: Configuration,
        applied: int,
        random: Callable[[int, int], int],
        standing: Standing | None = None,
    ) -> None:
        """Starts, or restarts, a member as a follower.

        Args:
            config: this member's settings.
            storage: the recovered log; `persisted` promises that it holds what was handed out.
            hard_state: as recovered; a commit index behind the truth is fine, one beyond the log is not.
            configuration: the membership in force at `applied`.
            applied: how far the state machine is; committed entries are handed out from the next one on.
            random: `random(low, high)` draws from [low, high), as runtime.Randomness.integer does.
            standing: as recovered; of a new log, JOINING and its life. None is a log from before there were lives.

        Raises:
            ValueError: the log ends before what is committed or applied, or starts after `applied`.
        """
        log = RaftLog(storage, hard_state.commit, applied, config.committed_bytes_per_ready_max)
        tracker = Tracker(configuration, config.inflight_messages_max, config.inflight_bytes_max)
        if standing is None or not config.safeguards.recover_before_voting:
            standing = Standing()
        self._core = Core(config, log, tracker, hard_state.term, hard_state.vote, standing, random)
        self._handed_standing = standing
        self._handed_hard_state = hard_state
        self._handed_soft_state = SoftState(NO_NODE, Role.FOLLOWER)
        self._under_way: deque[_Handed] = deque()
        self._number = 0
        if self._core.withheld:
            recovering.begin(self._core)

    # Input

    def tick(self) -> None:
        """One tick of the driver's clock."""
        if self._core.role is Role.LEADER:
            leader.tick(self._core)
        else:
            election.tick(self._core)
            if self._core.withheld:
                recovering.tick(self._core)

    def step(self, message: Message) -> None:
        """Takes one message of a peer. Messages of past terms and unknown members are dropped here.

        A SNAPSHOT is stepped in once its state has been received whole. Raises InvariantBroken.
        """
        core = self._core
        is_request = message.kind in (MessageKind.VOTE, MessageKind.PRE_VOTE)
        if is_request and core.withheld:
            return
        if message.kind is MessageKind.JOIN:
            recovering.testify(core, message)
            return
        if message.kind is MessageKind.JOIN_REPLY:
            recovering.hear(core, message)
            return
        if message.term > core.term:
            if is_request and election.ignores_request(core, message):
                return
            if not self._keeps_term(message):
                core.become_follower(message.term, message.source if message.kind in LEADER_ONLY else NO_NODE)
        elif 0 < message.term < core.term:
            self._answer_past_term(message)
            return
        if message.kind in VOTE_REPLIES and core.role is not Role.LEADER:
            election.learn_commit(core, message)
        if is_request:
            election.answer_request(core, message)
        elif core.role is Role.LEADER:
            leader.step_leader(core, message)
        elif core.role is Role.FOLLOWER:
            follower.step_follower(core, message)
        elif message.kind in LEADER_ONLY:
            # Somebody won the term that this candidate stands in, or that the pre-candidate never left.
            core.become_follower(message.term, message.source)
            follower.step_follower(core, message)
        else:
            election.step_candidate(core, message)

    @staticmethod
    def _keeps_term(message: Message) -> bool:
        # A pre-vote asks about a term that nobody is in yet; granting it does not enter it, nor does hearing of it.
        return message.kind is MessageKind.PRE_VOTE or (
            message.kind is MessageKind.PRE_VOTE_REPLY and not message.reject
        )

    def _answer_past_term(self, message: Message) -> None:
        core = self._core
        if message.kind in (MessageKind.HEARTBEAT, MessageKind.APPEND):
            # With leases, a member of a newer term cannot depose an old leader by standing for election: requests
            # are ignored. An answer with the newer term makes the old leader step down.
            if core.config.check_quorum or core.config.pre_vote:
                core.send(
                    Message(
                        MessageKind.APPEND_REPLY,
                        core.id,
                        message.source,
                        core.term,
                        life=core.standing.life,
                        withheld=core.withheld,
                    )
                )
        elif message.kind is MessageKind.PRE_VOTE:
            core.send(Message(MessageKind.PRE_VOTE_REPLY, core.id, message.source, core.term, reject=True))

    def campaign(self) -> None:
        """Starts an election now instead of at the election timeout. Nothing happens where it cannot."""
        election.stand(self._core)

    def propose(self, commands: Sequence[bytes]) -> None:
        """Appends commands (leader) or forwards them (follower). Raises ProposalDropped, which is definite.

        Without an exception the outcome is open until the commands are seen among the committed ones: a forwarded
        or appended command may still be lost with a leader.
        """
        core = self._core
        if not commands:
            return
        if core.role is Role.LEADER:
            reason = leader.refuses_proposals(core, commands_bytes(commands))
            if reason is not None:
                raise ProposalDropped(reason)
            core.append_commands(commands)
            return
        if core.leader == NO_NODE:
            raise ProposalDropped(DropReason.NO_LEADER)
        entries = tuple(Entry(0, 0, EntryKind.COMMAND, command) for command in commands)
        core.send(Message(MessageKind.PROPOSE, core.id, core.leader, entries=entries))

    def propose_configuration(self, change: ConfigurationChange) -> None:
        """Leader only: proposes a change of the membership; one at a time. Raises ProposalDropped.

        It takes effect on each member when `apply_configuration` is called there (etcd's rule, not the thesis's,
        which uses a configuration as soon as it is in the log).
        """
        core = self._core
        if core.role is not Role.LEADER:
            raise ProposalDropped(DropReason.NOT_LEADER)
        data = encode(change)
        reason = leader.refuses_proposals(core, len(data))
        if reason is not None:
            raise ProposalDropped(reason)
        if core.pending_configuration_index > core.log.applied:
            raise ProposalDropped(DropReason.CONFIGURATION_PENDING)
        try:
            membership.apply(core.tracker.configuration, change)
        except membership.ChangeRefused as error:
            raise ProposalDropped(DropReason.CONFIGURATION_INVALID, str(error)) from error
        core.append_entry(EntryKind.CONFIGURATION, data)
        core.pending_configuration_index = core.log.last_index

    def apply_configuration(self, entry: Entry) -> Configuration:
        """To be called for each committed CONFIGURATION entry, in its turn; returns the membership from here on.

        An invalid change leaves the membership as it is, the same on all members.
        """
        core = self._core
        try:
            configuration = membership.apply(core.tracker.configuration, decode(entry.data))
        except (ValueError, membership.ChangeRefused):
            return core.tracker.configuration
        membership.switch(core, configuration)
        return configuration

    def read_index(self, context: bytes) -> None:
        """Asks for a linearizable read; a ReadState with this context follows, or nothing. Raises ReadDropped.

        Nothing follows when the leader changes or a message is lost: ask again after a while.
        """
        core = self._core
        if core.role is Role.LEADER:
            leader.take_read(core, core.id, context)
        elif core.leader == NO_NODE:
            raise ReadDropped(DropReason.NO_LEADER)
        else:
            core.send(Message(MessageKind.READ_INDEX, core.id, core.leader, context=context))

    def transfer_leadership(self, target: int) -> None:
        """Hands leadership to `target` once it has caught up; given up after an election timeout.

        A follower passes the wish on to its leader. Unknown members and learners are ignored.
        """
        self.step(Message(MessageKind.TRANSFER_LEADER, self._core.id, self._core.id, index=target))

    def report_unreachable(self, member: int) -> None:
        """The transport lost messages to `member`: probe it instead of streaming at it."""
        progress = self._leaders_progress(member)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_probe()

    def report_snapshot(self, member: int, ok: bool) -> None:
        """The driver finished, or gave up, streaming a snapshot to `member`: entries flow again after its next word."""
        progress = self._leaders_progress(member)
        if progress is None or progress.state is not ProgressState.SNAPSHOT:
            return
        if not ok:
            progress.pending_snapshot = 0
        progress.become_probe()
        # The member may need a moment to install it, or the transport to recover: wait for a heartbeat's answer.
        progress.probe_sent = True

    def _leaders_progress(self, member: int) -> Progress | None:
        if self._core.role is not Role.LEADER or member == self._core.id:
            return None
        return self._core.tracker.progress.get(member)

    # Output

    def has_ready(self) -> bool:
        """Whether `ready` would hand out any work. Settles what is to be sent, so call it once a turn."""
        core = self._core
        self._prepare()
        log = core.log
        # Field by field: this is asked several times a turn, and mostly in vain.
        hard, soft = self._handed_hard_state, self._handed_soft_state
        return bool(
            core.outbox
            or core.outbox_after_persist
            or core.read_states
            or log.unstable.has_work
            or log.has_committed
            or log.committed != hard.commit
            or core.term != hard.term
            or core.vote != hard.vote
            or core.standing is not self._handed_standing
            or core.leader != soft.leader
            or core.role is not soft.role
        )

    def _prepare(self) -> None:
        core = self._core
        if core.role is Role.LEADER:
            leader.flush(core)
        elif core.withheld:
            recovering.advance(core)

    def _hard_state(self) -> HardState:
        return HardState(self._core.term, self._core.vote, self._core.log.committed)

    def ready(self) -> Ready:
        """Hands out the work that has come up since the last call. Every Ready is owed a `persisted`."""
        core = self._core
        self._prepare()
        self._number += 1
        ready = Ready(self._number)
        soft_state = SoftState(core.leader, core.role)
        if soft_state != self._handed_soft_state:
            ready.soft_state = self._handed_soft_state = soft_state
        hard_state = self._hard_state()
        before = self._handed_hard_state
        if hard_state != before:
            ready.hard_state = self._handed_hard_state = hard_state
        ready.entries, ready.snapshot = core.log.unstable.hand_out(self._number)
        if core.standing is not self._handed_standing:
            ready.standing = self._handed_standing = core.standing
        ready.must_sync = (
            bool(ready.entries)
            or ready.standing is not None
            or ready.snapshot is not None
            or hard_state.term != before.term
            or hard_state.vote != before.vote
        )
        ready.committed = core.log.hand_out_committed()
        ready.messages, core.outbox = core.outbox, []
        ready.messages_after_persist, core.outbox_after_persist = core.outbox_after_persist, []
        ready.read_states, core.read_states = core.read_states, []
        self._under_way.append(_Handed(self._number, core.term, core.vote))
        return ready

    def persisted(self, ready: Ready) -> None:
        """This Ready is synced and its entries and snapshot are in the LogStorage. Call in order, for every Ready.

        Raises ValueError when called out of order.
        """
        if not self._under_way or self._under_way[0].number != ready.number:
            expected = self._under_way[0].number if self._under_way else None
            raise ValueError(f"Ready {ready.number} cannot be persisted now; the next one is {expected}")
        handed = self._under_way.popleft()
        core = self._core
        core.log.write_finished(handed.number)
        election.own_vote_persisted(core, handed.term, handed.vote)
        if core.role is Role.LEADER:
            leader.own_log_persisted(core)

    def applied(self, index: int) -> None:
        """The state machine has applied everything up to `index`. Raises ValueError beyond what was handed out."""
        core = self._core
        core.uncommitted_bytes = max(0, core.uncommitted_bytes - core.log.applied_to(index))
        if (
            core.role is Role.LEADER
            and core.tracker.configuration.auto_leave
            and core.log.applied >= core.pending_configuration_index
        ):
            # Not subject to the limits: a group must not stay joint because it is busy.
            core.append_entry(EntryKind.CONFIGURATION, encode(ConfigurationChange()))
            core.pending_configuration_index = core.log.last_index

    # Status

    @property
    def member_id(self) -> int:
        """This member's own id."""
        return self._core.id

    @property
    def term(self) -> int:
        """The current term."""
        return self._core.term

    @property
    def role(self) -> Role:
        """What this member is now."""
        return self._core.role

    @property
    def leader(self) -> int:
        """The leader's id, NO_NODE when none is known."""
        return self._core.leader

    @property
    def commit_index(self) -> int:
        """The highest index known to be committed."""
        return self._core.log.committed

    @property
    def applied_index(self) -> int:
        """The highest index that the driver reported as applied."""
        return self._core.log.applied

    @property
    def first_index(self) -> int:
        """The oldest index that can be sent without a snapshot."""
        return self._core.log.first_index

    @property
    def last_index(self) -> int:
        """The newest entry's index, persisted or not."""
        return self._core.log.last_index

    def entry_term(self, index: int) -> int | None:
        """The term of one entry of the log, persisted or not; None where it is compacted or not there yet."""
        try:
            return self._core.log.term(index)
        except (Compacted, Unavailable):
            return None

    @property
    def uncommitted_bytes(self) -> int:
        """Leader: what was proposed and is not yet applied here."""
        return self._core.uncommitted_bytes

    @property
    def configuration(self) -> Configuration:
        """The membership in force."""
        return self._core.tracker.configuration

    @property
    def progress(self) -> Mapping[int, Progress]:
        """What a leader knows of each member. Read only; of no meaning on others."""
        return MappingProxyType(self._core.tracker.progress)

    @property
    def transfer_target(self) -> int:
        """Whom leadership is being handed to, NO_NODE usually."""
        return self._core.transfer_target

    @property
    def standing(self) -> Standing:
        """Whether this member takes part in quorums, and what it knows of lives."""
        return self._core.standing

    @property
    def recovery(self) -> str:
        """What a member that may not take part yet waits for, in one line for people; empty once it is settled."""
        return recovering.describe(self._core)

    def describe(self) -> str:
        """The state in a few lines, for people; a leader's with a line per member."""
        core = self._core
        stage = f" {core.standing.stage.name.lower()}" if core.standing.stage is not Stage.SETTLED else ""
        lines = [
            f"{core.id}: {core.role.name.lower()} term={core.term} vote={core.vote} leader={core.leader}{stage}",
            f"log: {core.log.describe()}",
        ]
        if core.role is Role.LEADER:
            lines.append(core.tracker.describe())
        return "\n".join(lines)
