"""Elections: who stands, who is granted a vote, and what a ballot decides (Raft 5.2, 5.4.1; thesis 4.2.3 and 9.6).

A pre-vote asks with the term that a candidate would open, and changes nothing at anybody: a member that was cut off
comes back without having raised the term. A voter that hears from a leader ignores both kinds of request, unless the
leader itself asked for the election (a transfer).
"""

from cluster.raft.core.quorum.votes import VoteResult
from cluster.raft.core.state import Core
from cluster.raft.core.types import NO_NODE, EntryKind, Message, MessageKind, Role

TRANSFER_CONTEXT = b"transfer"
"""Marks the VOTE of a member that its leader told to stand: leases do not hold against it."""


def in_lease(core: Core) -> bool:
    """Whether this member heard from a leader so lately that no other one can be wanted (thesis, 4.2.3)."""
    return core.config.check_quorum and core.leader != NO_NODE and core.election_elapsed < core.config.election_ticks


def ignores_request(core: Core, message: Message) -> bool:
    """Whether a vote request of a newer term is to be left without answer."""
    return message.context != TRANSFER_CONTEXT and in_lease(core)


def may_grant(core: Core, message: Message) -> bool:
    """The decision on a VOTE or PRE_VOTE of this term or, for PRE_VOTE, a newer one."""
    free = (
        core.vote == message.source
        or (core.vote == NO_NODE and core.leader == NO_NODE)
        or (message.kind is MessageKind.PRE_VOTE and message.term > core.term)
        or not core.safeguards.vote_once_per_term
    )
    fresh = not core.safeguards.log_freshness or core.log.at_least_as_fresh(message.index, message.log_term)
    return free and fresh


def answer_request(core: Core, message: Message) -> None:
    """Grants or rejects. A learner answers, too: it may have been promoted without knowing it yet."""
    pre = message.kind is MessageKind.PRE_VOTE
    kind = MessageKind.PRE_VOTE_REPLY if pre else MessageKind.VOTE_REPLY
    if may_grant(core, message):
        # A granted pre-vote carries the term that was asked for; the candidate is not there yet itself.
        core.send(Message(kind, core.id, message.source, message.term))
        if not pre:
            core.election_elapsed = 0
            core.vote = message.source
    else:
        committed = core.log.committed
        core.send(
            Message(
                kind,
                core.id,
                message.source,
                core.term,
                index=committed,
                log_term=core.log.term(committed),
                reject=True,
            )
        )


def learn_commit(core: Core, message: Message) -> None:
    """A rejection tells which entry its sender knows to be committed; a log that has the entry may commit up to it.

    Without this a group can be stuck (TiKV's raft-rs found it): a membership takes effect when it is applied, so a
    voter that has a committed change but does not know of its commitment asks by the old membership, and those who
    applied the change no longer stand themselves. Fails without: the explorer's runs that reconfigure two members.
    """
    if message.reject and message.index > core.log.committed and core.log.matches(message.index, message.log_term):
        core.log.commit_to(message.index)


def may_campaign(core: Core) -> bool:
    """Whether this member could lead: a voter, with a log of its own, that knows the membership it would lead."""
    if core.role is Role.LEADER or not core.tracker.is_voter(core.id) or core.log.unstable.snapshot is not None:
        return False
    if core.withheld:
        return False
    return not _has_unapplied_configuration(core)


def _has_unapplied_configuration(core: Core) -> bool:
    # A committed change that is not applied here yet may say that another quorum counts.
    # Nothing is looked for before the log's start: a snapshot, even one that is not applied yet, brought its own.
    low, high = max(core.log.applied + 1, core.log.first_index), core.log.committed + 1
    while low < high:
        entries = core.log.entries(low, high, core.config.committed_bytes_per_ready_max)
        if any(entry.kind is EntryKind.CONFIGURATION for entry in entries):
            return True
        low = entries[-1].index + 1
    return False


def campaign(core: Core, *, pre_vote: bool, context: bytes = b"") -> None:
    """Opens a ballot, and decides it at once when this member is a quorum by itself."""
    log = core.log
    if pre_vote:
        core.become_pre_candidate()
        kind, term = MessageKind.PRE_VOTE, core.term + 1
    else:
        core.become_candidate()
        kind, term = MessageKind.VOTE, core.term
    for member in core.tracker.voters_but(core.id):
        core.send(Message(kind, core.id, member, term, index=log.last_index, log_term=log.last_term, context=context))
    if pre_vote:
        # A pre-vote promises nothing, so the own one counts without the disk.
        count_vote(core, core.id, granted=True)


def stand(core: Core, *, transfer: bool = False) -> None:
    """The election timeout passed, or somebody asked for an election."""
    if not may_campaign(core):
        return
    if transfer:
        # The leader itself has vouched for this member: asking first would only cost time (thesis, 3.10).
        campaign(core, pre_vote=False, context=TRANSFER_CONTEXT)
    else:
        campaign(core, pre_vote=core.config.pre_vote)


def count_vote(core: Core, member: int, *, granted: bool) -> None:
    """PRE_CANDIDATE or CANDIDATE: one more answer."""
    result = core.tracker.record_vote(member, granted)
    if result is VoteResult.WON:
        if core.role is Role.PRE_CANDIDATE:
            campaign(core, pre_vote=False)
        else:
            core.become_leader()
    elif result is VoteResult.LOST:
        core.become_follower(core.term, NO_NODE)


def own_vote_persisted(core: Core, term: int, vote: int) -> None:
    """The disk holds this term and vote: a candidate's own vote counts from now on."""
    if core.role is Role.CANDIDATE and core.term == term and vote == core.id:
        count_vote(core, core.id, granted=True)


def step_candidate(core: Core, message: Message) -> None:
    """VOTE_REPLY at a candidate, PRE_VOTE_REPLY at a pre-candidate; answers of another ballot are ignored."""
    expected = MessageKind.PRE_VOTE_REPLY if core.role is Role.PRE_CANDIDATE else MessageKind.VOTE_REPLY
    if message.kind is expected:
        count_vote(core, message.source, granted=not message.reject)


def tick(core: Core) -> None:
    """A tick of anyone but a leader."""
    core.election_elapsed += 1
    if core.election_elapsed >= core.election_timeout and core.tracker.is_voter(core.id):
        core.election_elapsed = 0
        stand(core)
