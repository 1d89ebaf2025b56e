"""Who may vouch for whom: the counting, tried out for all that can happen; and the questions and answers, one by one.

The protocol as a whole is in the scenarios `first_start` and `lost_*`, and under random faults in `test_explorer`.
"""

from itertools import combinations, product

import pytest

from cluster.raft.core import LIFE_CLOCK_SHIFT, MemoryLog, Raft, RaftConfig, Safeguards, Witnesses
from cluster.raft.core.recovering import Answer, Inquiry
from cluster.raft.core.types import (
    Configuration,
    HardState,
    Message,
    MessageKind,
    SnapshotMeta,
    Stage,
    Standing,
    Statement,
)

THREE = Configuration(frozenset({1, 2, 3}))
LIFE = 5 << LIFE_CLOCK_SHIFT


def joining(*, known: tuple[tuple[int, int], ...] = (), complete: bool = True, stage: Stage = Stage.JOINING) -> Raft:
    standing = Standing(stage, LIFE, complete, known)
    log = MemoryLog(SnapshotMeta(0, 0, THREE))
    return Raft(RaftConfig(1), log, HardState(), THREE, 0, lambda low, high: low, standing)


def stage_of(raft: Raft) -> Stage:
    return raft.standing.stage


def sent(raft: Raft) -> list[Message]:
    """What goes out once everything is on disk."""
    messages: list[Message] = []
    while raft.has_ready():
        ready = raft.ready()
        raft.persisted(ready)
        messages += ready.messages + ready.messages_after_persist
    return messages


def answer(source: int, context: bytes, statement: Statement, *, life: int = 7, known: int = 0) -> Message:
    return Message(MessageKind.JOIN_REPLY, source, 1, index=statement, reject_hint=known, context=context, life=life)


def question(raft: Raft) -> bytes:
    """The context of the newest question."""
    (context,) = {message.context for message in sent(raft) if message.kind is MessageKind.JOIN}
    return context


@pytest.mark.parametrize("voters", range(2, 7))
def test_nobody_who_took_part_is_ever_taken_for_new(voters: int) -> None:
    """For all sets that noted the earlier life, and all who lost them since: recovered, knowing it, or not yet."""
    witnesses = Witnesses.of(voters)
    others = range(witnesses.others)
    for registrars in combinations(others, witnesses.registrars):
        for lost_count in range(max(1, witnesses.spares)):
            for lost in combinations(others, lost_count):
                intact = [other for other in registrars if other not in lost]
                for aware, recovered in product(range(lost_count + 1), range(len(intact) + 1)):
                    inquiry = Inquiry(list(others))
                    for other in others:
                        if other in intact[recovered:]:
                            continue  # It would say OTHER, and end the question; here its answer comes too late.
                        statement = Statement.BLANK if other in intact else Statement.VOUCHED
                        inquiry.answers[other] = Answer(Statement.LOST if other in lost[:aware] else statement, 1)
                    assert not inquiry.is_new(inquiry.answers)


@pytest.mark.parametrize("voters", range(2, 8))
def test_a_new_member_needs_no_more_than_the_registrars(voters: int) -> None:
    witnesses = Witnesses.of(voters)
    inquiry = Inquiry(list(range(witnesses.others)))
    for other in range(witnesses.registrars):
        assert not inquiry.is_new(inquiry.answers)
        inquiry.answers[other] = Answer(Statement.VOUCHED, 1)
    assert inquiry.is_new(inquiry.answers)
    assert not inquiry.is_hopeless


def test_how_many_are_asked() -> None:
    assert {voters: Witnesses.of(voters).registrars for voters in range(1, 8)} == {
        1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4, 7: 5,
    }  # fmt: skip


def test_one_round_of_answers_is_not_one_moment() -> None:
    raft = joining()
    first = question(raft)
    for source in (2, 3):
        raft.step(answer(source, first, Statement.VOUCHED))
    second = question(raft)
    assert second != first
    raft.step(answer(2, first, Statement.VOUCHED))
    raft.step(answer(2, second, Statement.VOUCHED))
    assert stage_of(raft) is Stage.JOINING
    # With another log than before, 3 vouches for nothing that it said then; but 2 is enough of a voucher.
    raft.step(answer(3, second, Statement.VOUCHED, life=8))
    assert stage_of(raft) is Stage.SETTLED
    assert raft.standing.complete


def test_vouchers_that_changed_in_between_are_asked_again() -> None:
    raft = joining()
    first = question(raft)
    for source in (2, 3):
        raft.step(answer(source, first, Statement.VOUCHED))
    second = question(raft)
    for source in (2, 3):
        raft.step(answer(source, second, Statement.VOUCHED, life=8))
    assert stage_of(raft) is Stage.JOINING
    third = question(raft)
    for source in (2, 3):
        raft.step(answer(source, third, Statement.VOUCHED, life=8))
    assert stage_of(raft) is Stage.SETTLED


def test_one_who_knows_another_life_is_enough_and_is_outlived() -> None:
    raft = joining()
    known = 99 << LIFE_CLOCK_SHIFT
    raft.step(answer(2, question(raft), Statement.OTHER, known=known))
    assert stage_of(raft) is Stage.RECOVERING
    assert not raft.standing.complete
    assert raft.standing.life > known
    assert {message.kind for message in sent(raft)} == {MessageKind.RECOVER}


def test_blank_witnesses_prove_nothing_so_the_log_counts_as_lost() -> None:
    raft = joining()
    context = question(raft)
    raft.step(answer(2, context, Statement.BLANK))
    assert stage_of(raft) is Stage.JOINING
    raft.step(answer(3, context, Statement.BLANK))
    assert stage_of(raft) is Stage.RECOVERING


@pytest.mark.parametrize(
    ("stage", "complete", "known", "statement"),
    [
        (Stage.SETTLED, True, (), Statement.VOUCHED),
        (Stage.SETTLED, True, ((2, 70),), Statement.VOUCHED),
        (Stage.SETTLED, True, ((2, 60),), Statement.OTHER),
        (Stage.SETTLED, False, (), Statement.BLANK),
        (Stage.RECOVERING, False, (), Statement.LOST),
        (Stage.JOINING, True, (), Statement.VOUCHED),
    ],
)
def test_what_a_witness_says(
    stage: Stage, complete: bool, known: tuple[tuple[int, int], ...], statement: Statement
) -> None:
    raft = joining(stage=stage, complete=complete, known=known)
    sent(raft)
    raft.step(Message(MessageKind.JOIN, 2, 1, context=b"question", life=70))
    ready = raft.ready()
    # The note is a promise: the answer waits for the disk.
    assert (ready.standing is not None) == (not known)
    (reply,) = [message for message in ready.messages_after_persist if message.kind is MessageKind.JOIN_REPLY]
    assert (reply.index, reply.context, reply.reject_hint) == (statement, b"question", 60 if known == ((2, 60),) else 0)
    if statement is not Statement.OTHER:
        assert raft.standing.known == ((2, 70),)


def test_strangers_are_not_noted() -> None:
    raft = joining(stage=Stage.SETTLED)
    raft.step(Message(MessageKind.JOIN, 9, 1, context=b"question", life=70))
    (reply,) = sent(raft)
    assert reply.index == Statement.OTHER
    assert raft.standing.known == ()


def test_a_withheld_member_answers_no_ballot_and_opens_none() -> None:
    for stage in (Stage.JOINING, Stage.RECOVERING):
        raft = joining(stage=stage)
        sent(raft)
        for kind in (MessageKind.PRE_VOTE, MessageKind.VOTE):
            raft.step(Message(kind, 2, 1, 5, context=b"transfer"))
        raft.step(Message(MessageKind.TIMEOUT_NOW, 2, 1, 0))
        raft.campaign()
        assert sent(raft) == []
        assert raft.term == 0


def acknowledge(index: int, life: int, *, withheld: bool = False) -> Message:
    return Message(MessageKind.APPEND_REPLY, 2, 1, 1, index=index, life=life, withheld=withheld)


def test_a_leader_tells_the_lives_of_a_member_apart() -> None:
    log = MemoryLog(SnapshotMeta(0, 0, THREE))
    raft = Raft(RaftConfig(1, pre_vote=False), log, HardState(), THREE, 0, lambda low, high: low)
    raft.campaign()
    sent(raft)
    raft.step(Message(MessageKind.VOTE_REPLY, 3, 1, 1))
    raft.propose([b"a", b"b", b"c"])
    progress = raft.progress[2]
    raft.step(acknowledge(1, 50))
    assert (progress.match, progress.counts) == (1, True)
    # It lost its log: what it acknowledged is void, and what it acknowledges counts for nothing.
    raft.step(acknowledge(0, 60, withheld=True))
    assert (progress.match, progress.counts, progress.life) == (0, False, 60)
    # A late word of the life that is over.
    raft.step(acknowledge(3, 50))
    assert (progress.match, progress.counts, progress.life) == (0, False, 60)
    # Nobody settles in a life that this leader has not seen.
    raft.step(acknowledge(3, 70))
    assert (progress.match, progress.counts, progress.life) == (0, False, 60)
    raft.step(acknowledge(2, 60, withheld=True))
    assert (progress.match, progress.counts) == (2, False)
    raft.step(acknowledge(3, 60))
    assert (progress.match, progress.counts) == (3, True)


def test_without_the_safeguard_nobody_asks() -> None:
    standing = Standing(Stage.JOINING, LIFE, complete=True)
    config = RaftConfig(1, safeguards=Safeguards(recover_before_voting=False))
    raft = Raft(config, MemoryLog(SnapshotMeta(0, 0, THREE)), HardState(), THREE, 0, lambda low, high: low, standing)
    assert not raft.has_ready()
    assert raft.recovery == ""
