"""How a member that lost its log comes back under the same id without breaking what it promised.

A member with a new log may have had another one, and with it votes and acknowledgements that others still count on.
Until it is settled it is *withheld*: it takes no part in ballots, and marks its answers to a leader, which then sends
it entries but counts it in no quorum. docs/decisions/0011 has the reasons, the proof, and what is wrong with simpler
ways. In short:

**Was I here before?** (JOINING) Each log has a life, a number. Before a member first takes part, `registrars` of the
others have its life on their disks. So one that asks them all about a new life hears of the old one: any two sets of
so many members share more of them than may lose their disks at a time. Who heard enough statements twice in a row,
so that all of them held at one moment, is new, and SETTLED.

**What did I promise?** (RECOVERING) Nobody may know: a candidate that it voted for may be cut off, and so may be the
answer to it. So it does not ask. The leader appends an entry that is newer than the loss, and it waits until that is
committed without its help and is in its own log. From then on, every entry that it ever acknowledged and that matters
is in its log again; no candidate that it ever voted for can win in a later term, as it lacks that entry; and in terms
up to now it does not vote.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from cluster.raft.core.state import Core
from cluster.raft.core.tracker.progress import Progress
from cluster.raft.core.types import NO_NODE, Message, MessageKind, Stage, Statement

RETRY_TICKS_MIN = 2
"""Ticks after which an unanswered question is asked again; twice as many after each time..."""
RETRY_ELECTIONS_MAX = 2
"""...up to this many election timeouts. Who starts late asks by itself, and is asked at once."""
LIFE_CLOCK_SHIFT = 20
"""A life's low bits are random, so that no two are the same; those above are a clock's, so that later ones are greater.
Only how soon a leader listens depends on the order, never what is safe."""

_NUMBER_BYTES = 8
_STATEMENTS = {int(statement): statement for statement in Statement}


class Witnesses(NamedTuple):
    """How many others a member must hear in a group of some size."""

    others: int
    """How many there are."""
    spares: int
    """How many members may be without their disks at a time: what a majority leaves over."""
    registrars: int
    """How many must have noted a life before it takes part."""

    @staticmethod
    def of(voters: int) -> "Witnesses":
        """For a group of so many voters."""
        others = voters - 1
        spares = voters - (voters // 2 + 1)
        return Witnesses(others, spares, (others + spares + 1) // 2)

    def misled_max(self, lost: int) -> int:
        """How many may vouch in vain for a member that is not new, when `lost` are known to have lost their notes.

        Those who were not asked the first time, and those who lost their notes and do not know it yet.
        """
        return self.others - self.registrars + max(0, self.spares - 1 - lost)


class Answer(NamedTuple):
    """What one member answered, and in which life of its own."""

    statement: Statement
    life: int


class Inquiry:
    """What a JOINING member has heard. Rounds are numbered, so that answers to an earlier one do not count."""

    __slots__ = ("answers", "before", "others", "round", "witnesses")

    def __init__(self, others: list[int]) -> None:
        self.others = others
        self.witnesses = Witnesses.of(len(others) + 1)
        self.round = 0
        self.answers: dict[int, Answer] = {}
        """To the present round."""
        self.before: dict[int, Answer] = {}
        """The newest ones that had come when the present round began."""

    def begin_round(self) -> None:
        """Everybody is asked again."""
        self.before |= self.answers
        self.answers = {}
        self.round += 1

    def is_new(self, answers: Mapping[int, Answer]) -> bool:
        """Whether these statements, if they all hold at one moment, prove that there was no earlier life."""
        count = Counter(answer.statement for answer in answers.values())
        misled = self.witnesses.misled_max(count[Statement.LOST])
        return len(self.answers) >= self.witnesses.registrars and count[Statement.VOUCHED] > misled

    @property
    def confirmed(self) -> dict[int, Answer]:
        """Answers that were the same before and after the present round began, and so held when it did."""
        return {member: answer for member, answer in self.answers.items() if self.before.get(member) == answer}

    @property
    def is_hopeless(self) -> bool:
        """Whether too few are left who could vouch."""
        count = Counter(answer.statement for answer in self.answers.values())
        can_vouch = self.witnesses.others - count[Statement.BLANK] - count[Statement.LOST]
        return can_vouch <= self.witnesses.misled_max(count[Statement.LOST])


# At the member that may have lost its log


def begin(core: Core) -> None:
    """The member starts withheld: asks what it must know."""
    if core.standing.stage is Stage.JOINING:
        core.inquiry = Inquiry(core.tracker.voters_but(core.id))
        if not core.inquiry.others:
            _settle(core)
            return
        core.inquiry.begin_round()
    if core.term and core.vote == NO_NODE:
        # It may have voted in this term, if it had come to it before the loss.
        core.vote = core.id
    _ask_anew(core)


def tick(core: Core) -> None:
    """A withheld member's tick: asks again after a while."""
    core.recovery_elapsed += 1
    if core.recovery_elapsed >= core.recovery_patience:
        patience_max = max(RETRY_TICKS_MIN, RETRY_ELECTIONS_MAX * core.config.election_ticks)
        core.recovery_patience = min(2 * core.recovery_patience, patience_max)
        _ask(core)


def _ask_anew(core: Core) -> None:
    """Another question than before."""
    core.recovery_patience = RETRY_TICKS_MIN
    _ask(core)


def _ask(core: Core) -> None:
    core.recovery_elapsed = 0
    if core.inquiry is not None:
        # Of the same round, however long it takes: a network or a disk may be slower than this member asks.
        for member in core.inquiry.others:
            if member not in core.inquiry.answers:
                _send_join(core, core.inquiry, member)
    else:
        for member in core.tracker.voters_but(core.id):
            # Whoever leads will answer; an entry that is committed already would prove nothing any more.
            core.send(
                Message(
                    MessageKind.RECOVER,
                    core.id,
                    member,
                    index=core.log.committed,
                    context=_number(core.standing.life),
                    life=core.standing.life,
                )
            )


def _send_join(core: Core, inquiry: Inquiry, member: int) -> None:
    context = _number(core.standing.life) + _number(inquiry.round)
    core.send(Message(MessageKind.JOIN, core.id, member, context=context, life=core.standing.life))


def hear(core: Core, message: Message) -> None:
    """JOIN_REPLY: one more statement."""
    inquiry = core.inquiry
    statement = _STATEMENTS.get(message.index)
    if inquiry is None or statement is None or message.source not in inquiry.others:
        return
    if message.context != _number(core.standing.life) + _number(inquiry.round):
        return
    if statement is Statement.OTHER:
        _lose(core, message.reject_hint)
        return
    inquiry.answers[message.source] = Answer(statement, message.life)
    if inquiry.is_hopeless:
        _lose(core, 0)
    elif inquiry.is_new(inquiry.confirmed):
        _settle(core)
    elif inquiry.is_new(inquiry.answers):
        # Asked at different moments, they may contradict each other unseen; a second round makes them one moment's.
        inquiry.begin_round()
        _ask_anew(core)


def _lose(core: Core, known_life: int) -> None:
    """The member had another log: JOINING to RECOVERING."""
    core.inquiry = None
    core.standing = core.standing._replace(stage=Stage.RECOVERING, complete=False)
    _outlive(core, known_life)
    _ask_anew(core)


def _outlive(core: Core, known_life: int) -> None:
    """Makes this life greater than an earlier one whose clock was ahead."""
    if core.standing.life <= known_life:
        random_bits = core.standing.life & ((1 << LIFE_CLOCK_SHIFT) - 1)
        life = (((known_life >> LIFE_CLOCK_SHIFT) + 1) << LIFE_CLOCK_SHIFT) | random_bits
        core.standing = core.standing._replace(life=life)


def take_barrier(core: Core, message: Message) -> None:
    """RECOVER_REPLY: the leader of this term says which entry to wait for."""
    if core.standing.stage is not Stage.RECOVERING or message.context != _number(core.standing.life):
        return
    if message.reject:
        _outlive(core, message.reject_hint)
        _ask_anew(core)
    else:
        core.barrier = (message.index, message.term)


def advance(core: Core) -> None:
    """Settles a RECOVERING member that has the leader's entry, committed.

    A snapshot may bring it beyond that entry without showing whether it is the one that was meant; then it waits for
    the newer one that the leader appends at the next question.
    """
    index, term = core.barrier
    if 0 < index <= core.log.committed and core.standing.stage is Stage.RECOVERING:
        if core.log.matches(index, term):
            _settle(core)
        else:
            core.barrier = (0, 0)


def _settle(core: Core) -> None:
    """From now on the member takes part. The vote in this term was given when the term began, see Core._reset."""
    core.standing = core.standing._replace(stage=Stage.SETTLED, complete=core.standing.stage is Stage.JOINING)
    core.inquiry = None
    core.barrier = (0, 0)
    # Others settle at about the same time; who stands at once finds nobody who may vote.
    core.election_elapsed = 0


def describe(core: Core) -> str:
    """What a withheld member waits for, in one line; empty for others."""
    stage, inquiry = core.standing.stage, core.inquiry
    if stage is Stage.SETTLED:
        return ""
    if inquiry is not None:
        heard = len(inquiry.before.keys() | inquiry.answers.keys())
        return (
            "the log is new: asks the other members whether there was an earlier one; "
            f"{heard} of {inquiry.witnesses.others} answered, {inquiry.witnesses.registrars} must"
        )
    if not core.barrier[0]:
        return "the log was lost: waits for a leader to rebuild from, elected by the other members"
    return f"the log was lost: rebuilds it from the leader, {core.log.committed} of {core.barrier[0]} entries"


# At those who are asked


def testify(core: Core, message: Message) -> None:
    """JOIN: notes the asker's life, and tells what is known. The answer waits until the note is on disk."""
    standing = core.standing
    known = dict(standing.known)
    noted = known.setdefault(message.source, message.life)
    if noted != message.life or message.source not in core.tracker.progress:
        statement = Statement.OTHER
    else:
        if len(known) > len(standing.known):
            core.standing = standing._replace(known=tuple(sorted(known.items())))
        if standing.complete:
            statement = Statement.VOUCHED
        else:
            statement = Statement.LOST if standing.stage is Stage.RECOVERING else Statement.BLANK
    core.send(
        Message(
            MessageKind.JOIN_REPLY,
            core.id,
            message.source,
            index=statement,
            reject_hint=noted if statement is Statement.OTHER else 0,
            context=message.context,
            life=standing.life,
        )
    )
    inquiry = core.inquiry
    if inquiry is not None and message.source in inquiry.others and message.source not in inquiry.answers:
        # It was not up when it was asked last: now it is, and nobody need wait for the next tick.
        _send_join(core, inquiry, message.source)


def open_barrier(core: Core, message: Message, progress: Progress) -> None:
    """RECOVER at a leader: appends an entry that the member can wait for, unless one is on its way already."""
    if message.life > progress.life:
        progress.begin_life(message.life, core.log.last_index + 1)
    elif message.life == progress.life and progress.counts:
        return  # Asked before it settled, and late on its way.
    reject = message.life < progress.life
    if not reject and progress.barrier <= message.index:
        core.append_commands((b"",))
        progress.barrier = core.log.last_index
    progress.recent_active = True
    core.replication_due = True
    core.send(
        Message(
            MessageKind.RECOVER_REPLY,
            core.id,
            message.source,
            core.term,
            index=0 if reject else progress.barrier,
            reject=reject,
            reject_hint=progress.life if reject else 0,
            context=message.context,
        )
    )


def recognise(core: Core, message: Message, progress: Progress) -> bool:
    """An answer that does not fit what the leader knows of its sender's life. Returns whether to go on with it.

    No member starts a new life unseen: who has settled in one that this leader does not know, while it knows another,
    speaks out of one that is over.
    """
    if message.life == progress.life:
        progress.counts = not message.withheld
        return True
    if message.life < progress.life:
        return False
    if message.withheld:
        progress.begin_life(message.life, core.log.last_index + 1)
        core.replication_due = True
    elif progress.life == 0:
        progress.life = message.life
    else:
        return False
    return True


def _number(number: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big")
