"""How a change turns one membership into the next (Raft thesis, sections 4.1 to 4.3).

A change of at most one voter needs no joint phase: old and new majorities overlap. Any other one goes through a joint
membership in which both must agree. A voter that becomes a learner while its vote still counts in the outgoing half
waits in `learners_next`.
"""

from collections.abc import Sequence

from cluster.raft.core import leader
from cluster.raft.core.configuration import ChangeKind, ConfigurationChange, MemberChange, Transition
from cluster.raft.core.state import Core
from cluster.raft.core.tracker.tracker import members
from cluster.raft.core.types import NO_NODE, Configuration, Role


class ChangeRefused(Exception):
    """The change is not possible from this membership; the message says why."""


def apply(configuration: Configuration, change: ConfigurationChange) -> Configuration:
    """The next membership, by the way that the change's transition asks for. Raises ChangeRefused."""
    if not change.changes:
        return leave_joint(configuration)
    if change.transition is Transition.AUTO and len(change.changes) == 1:
        return simple(configuration, change.changes)
    if change.transition is Transition.AUTO and not configuration.voters_outgoing:
        try:
            return simple(configuration, change.changes)
        except ChangeRefused:
            pass  # More than one voter changes, or it is refused for good: the joint way says which.
    return enter_joint(configuration, change.changes, auto_leave=change.transition is not Transition.JOINT_EXPLICIT)


def simple(configuration: Configuration, changes: Sequence[MemberChange]) -> Configuration:
    """One step, for any number of learners and at most one voter."""
    if configuration.voters_outgoing:
        raise ChangeRefused("can't apply simple config change in joint config")
    changed = _with_changes(configuration, changes)
    if len(configuration.voters ^ changed.voters) > 1:
        raise ChangeRefused("more than one voter changed without entering joint config")
    return changed


def enter_joint(configuration: Configuration, changes: Sequence[MemberChange], *, auto_leave: bool) -> Configuration:
    """The present voters become the outgoing half."""
    if configuration.voters_outgoing:
        raise ChangeRefused("config is already joint")
    if not configuration.voters:
        raise ChangeRefused("can't make a zero-voter config joint")
    outgoing = configuration._replace(voters_outgoing=configuration.voters)
    return _with_changes(outgoing, changes)._replace(auto_leave=auto_leave)


def leave_joint(configuration: Configuration) -> Configuration:
    """The incoming half alone; who waited becomes a learner."""
    if not configuration.voters_outgoing:
        raise ChangeRefused("can't leave a non-joint config")
    return Configuration(voters=configuration.voters, learners=configuration.learners | configuration.learners_next)


def _with_changes(configuration: Configuration, changes: Sequence[MemberChange]) -> Configuration:
    voters, learners = set(configuration.voters), set(configuration.learners)
    waiting = set(configuration.learners_next)
    for change in changes:
        member = change.member
        if member == NO_NODE or change.kind is ChangeKind.UPDATE:
            continue
        if change.kind is ChangeKind.ADD_VOTER:
            voters.add(member)
            learners.discard(member)
            waiting.discard(member)
            continue
        if change.kind is ChangeKind.ADD_LEARNER and member in learners | waiting:
            continue
        voters.discard(member)
        learners.discard(member)
        waiting.discard(member)
        if change.kind is ChangeKind.ADD_LEARNER:
            (waiting if member in configuration.voters_outgoing else learners).add(member)
    if not voters:
        raise ChangeRefused("removed all voters")
    return configuration._replace(
        voters=frozenset(voters), learners=frozenset(learners), learners_next=frozenset(waiting)
    )


def switch(core: Core, configuration: Configuration) -> None:
    """Makes a membership the one in force at this member."""
    tracker = core.tracker
    before = tracker.progress
    tracker.configuration = configuration
    tracker.progress = {
        # Counted as active at first, or the check of the quorum could depose a leader for adding a member.
        member: before.get(member) or tracker.new_progress(0, core.log.last_index + 1, recent_active=True)
        for member in sorted(members(configuration))
    }
    if core.role is not Role.FOLLOWER and not tracker.is_voter(core.id):
        # It leads, or stands for, a group that it no longer votes in (thesis, 4.2.2). The change is committed, and
        # its commit went out in the Ready that handed it out. A follower is asked to stand, so that nobody waits.
        if core.role is Role.LEADER:
            leader.ask_best_to_stand(core)
        core.become_follower(core.term, NO_NODE)
        return
    if core.role is not Role.LEADER:
        return
    core.replication_due = True
    # Fewer voters may make more of the log committed, and more of the reads confirmed.
    leader.advance_commit(core)
    leader.release_reads(core)
    if core.transfer_target != NO_NODE and not tracker.is_voter(core.transfer_target):
        core.transfer_target = NO_NODE
