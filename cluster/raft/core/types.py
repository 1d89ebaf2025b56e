"""What goes into the Raft core and what comes out of it.

The core is a pure state machine in the shape of etcd-io/raft: it does no I/O, reads no clock and draws no randomness
of its own. Its driver feeds it messages, ticks and proposals, takes a `Ready`, and owes it this contract:

1. `ready()` hands out work once; several Readys may be in flight, and are persisted in the order in which they came.
2. `Ready.messages` may be sent at once, in parallel with writing: a leader sends entries while it writes its own copy
   (Ongaro, "Consensus: Bridging Theory and Practice", section 10.2.1).
3. `Ready.messages_after_persist` may be sent only after this Ready's hard state, entries and snapshot, and those of
   every earlier Ready, are synced: votes and append acknowledgements are promises about the disk.
4. Once synced, and once the LogStorage holds its entries and snapshot, the driver calls `persisted(ready)`: for every
   Ready, in order, also for one that brought nothing to write. Only then does the node count itself towards a quorum.
   There may be a new Ready after it.
5. `Ready.committed` is to be applied in order; it holds only entries that are on this node's disk already.
   `applied(index)` says how far the state machine has come. A CONFIGURATION entry is passed to
   `apply_configuration` in its turn, and what that returns belongs into the next snapshot's meta.
6. `Ready.snapshot`, when set, replaces the state machine and the log before anything later is applied; it was
   announced by a SNAPSHOT message that the driver stepped in when it had received the state. The sending driver owes
   one `report_snapshot` for each SNAPSHOT message of a Ready, whatever becomes of it.
7. A `ReadState` may be served once the state machine has applied its index (thesis, section 6.4).
8. `Ready.standing`, when set, is written behind this Ready's entries and hard state, and synced with them; the newest
   one is given back at the next start. A member whose log is new starts as JOINING, and its standing is on disk before
   the core is made (see `recovering`).
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

NO_NODE = 0
"""The id of nobody: no leader known, no vote given."""


class EntryKind(IntEnum):
    """What an entry's data is."""

    COMMAND = 0
    """Opaque to Raft; an empty one is the no-op with which a leader opens its term."""
    CONFIGURATION = 1
    """An encoded change of the membership."""


class Entry(NamedTuple):
    """One position of the replicated log."""

    index: int  # type: ignore[assignment]  # the field hides tuple.index, which nobody needs here
    term: int
    kind: EntryKind
    data: bytes


class HardState(NamedTuple):
    """What must survive a crash beside the log (Raft, figure 2). A change of term or vote must be synced."""

    term: int = 0
    vote: int = NO_NODE
    commit: int = 0


class Configuration(NamedTuple):
    """Who votes and who only learns. During a joint change `voters_outgoing` must agree, too (thesis, 4.3)."""

    voters: frozenset[int] = frozenset()
    voters_outgoing: frozenset[int] = frozenset()
    learners: frozenset[int] = frozenset()
    learners_next: frozenset[int] = frozenset()
    auto_leave: bool = False


class SnapshotMeta(NamedTuple):
    """Where in the log a snapshot stands, and the membership at that point."""

    index: int = 0  # type: ignore[assignment]  # the field hides tuple.index, which nobody needs here
    term: int = 0
    configuration: Configuration = Configuration()


class Stage(IntEnum):
    """Whether a member may take part in quorums; see `recovering`. The numbers stand in the log on disk."""

    SETTLED = 0
    """It takes part."""
    JOINING = 1
    """Its log is new; whether it is the member's first one is not known yet."""
    RECOVERING = 2
    """It had another log, which is lost, and with it votes and entries that it had promised to keep."""


class Standing(NamedTuple):
    """What a member knows about the lives of logs; on disk beside the hard state.

    A life is a log from its creation to its loss: a number that no other log of this member has, and that is greater
    than those of its earlier ones. 0 is a log from before there were lives.
    """

    stage: Stage = Stage.SETTLED
    life: int = 0
    """This log's."""
    complete: bool = False
    """`known` has every life that this member was ever told of: it never lost a log, as far as it knows."""
    known: tuple[tuple[int, int], ...] = ()
    """(member, life): with which log each member first asked this one; in order of members."""


class Statement(IntEnum):
    """What a member answers to JOIN. All but OTHER mean, too, that the asker's life is now noted on its disk."""

    VOUCHED = 1
    """I know of no other life of yours, and I would."""
    BLANK = 2
    """I know of none, but I lost my notes once, or never had any."""
    LOST = 3
    """As BLANK, and I am recovering myself."""
    OTHER = 4
    """I know you by another life, or not as a member."""


class MessageKind(IntEnum):
    """The peer protocol. Numbers are the wire's (proto/orrery/raft/v1)."""

    APPEND = 1
    APPEND_REPLY = 2
    HEARTBEAT = 3
    HEARTBEAT_REPLY = 4
    PRE_VOTE = 5
    PRE_VOTE_REPLY = 6
    VOTE = 7
    VOTE_REPLY = 8
    SNAPSHOT = 9
    """Only announces: the driver streams the state itself, and steps this message in at the target when it has it."""
    PROPOSE = 10
    """Entries that a follower forwards to its leader."""
    READ_INDEX = 11
    READ_INDEX_REPLY = 12
    TRANSFER_LEADER = 13
    TIMEOUT_NOW = 14
    JOIN = 15
    """A member whose log is new asks whether anybody knew it with another one. Of no term."""
    JOIN_REPLY = 16
    RECOVER = 17
    """A member that lost its log asks the leader for an entry that is newer than the loss. Of no term."""
    RECOVER_REPLY = 18


@dataclass(slots=True, frozen=True)
class Message:
    """One message between two members of a group. Fields that a kind does not use stay at their defaults."""

    kind: MessageKind
    source: int
    target: int
    term: int = 0
    index: int = 0
    """APPEND: index before the entries. APPEND_REPLY: last matched index, or the rejected one. VOTE: the candidate's
    last index. VOTE_REPLY with reject: the voter's commit index. READ_INDEX_REPLY: the index to read at.
    TRANSFER_LEADER: the member that shall lead. JOIN_REPLY: a Statement. RECOVER: the commit index that the member
    has again. RECOVER_REPLY: the entry to wait for."""
    log_term: int = 0
    """The term of the entry at `index`, in APPEND, VOTE and a rejecting VOTE_REPLY; PRE_VOTE is as VOTE."""
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    reject: bool = False
    reject_hint: int = 0
    """APPEND_REPLY with reject: a guess at the highest index where the logs may agree; its term in `log_term`.
    JOIN_REPLY of statement OTHER and RECOVER_REPLY with reject: the life that the sender knows."""
    context: bytes = b""
    """READ_INDEX and the heartbeats that confirm it: the request's id. VOTE: marks a leader transfer. JOIN, RECOVER
    and their replies: which question is answered."""
    snapshot: SnapshotMeta | None = None
    life: int = 0
    """APPEND_REPLY, HEARTBEAT_REPLY, JOIN, JOIN_REPLY, RECOVER: the sender's life, see Standing; 0 for unknown.
    HEARTBEAT: the target's, in which it acknowledged what `commit` rests on."""
    withheld: bool = False
    """APPEND_REPLY, HEARTBEAT_REPLY: the sender may not vote yet, so this must not count towards any quorum."""


class ReadState(NamedTuple):
    """A read that became safe: serve it from a state machine that has applied `index`."""

    index: int  # type: ignore[assignment]  # the field hides tuple.index, which nobody needs here
    context: bytes


class Role(IntEnum):
    """What a member is at the moment."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class SoftState(NamedTuple):
    """Volatile facts that an observer likes to know at once."""

    leader: int
    role: Role


@dataclass(slots=True)
class Ready:
    """Work that the core hands to its driver; see the contract above."""

    number: int
    """Counts Readys; `persisted` must be called in this order."""
    soft_state: SoftState | None = None
    """Set when leader or role changed."""
    hard_state: HardState | None = None
    """Set when it changed; to be written before `messages_after_persist` go out."""
    must_sync: bool = False
    """False when only the commit index moved: it may be written lazily."""
    entries: list[Entry] = field(default_factory=list)
    """To be written. The first one's index may be at or below one written before: it then replaces that suffix."""
    snapshot: SnapshotMeta | None = None
    standing: Standing | None = None
    """Set when it changed; to be written behind the entries."""
    committed: list[Entry] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    messages_after_persist: list[Message] = field(default_factory=list)
    read_states: list[ReadState] = field(default_factory=list)
