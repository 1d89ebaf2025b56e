"""What a follower does with its leader's messages, and what it passes on to the leader (Raft, figure 2)."""

from cluster.raft.core import election, recovering
from cluster.raft.core.state import Core
from cluster.raft.core.types import NO_NODE, Message, MessageKind, ReadState, SnapshotMeta

FORWARDED = frozenset({MessageKind.PROPOSE, MessageKind.READ_INDEX, MessageKind.TRANSFER_LEADER})


def step_follower(core: Core, message: Message) -> None:
    """A message of the present term, or one that has no term."""
    kind = message.kind
    if kind is MessageKind.APPEND:
        _hear(core, message)
        _append(core, message)
    elif kind is MessageKind.HEARTBEAT:
        _hear(core, message)
        if not core.withheld or message.life == core.standing.life:
            # Else the leader may speak of what this member acknowledged before it lost its log.
            core.log.commit_to(message.commit)
        core.send(
            Message(
                MessageKind.HEARTBEAT_REPLY,
                core.id,
                message.source,
                core.term,
                context=message.context,
                life=core.standing.life,
                withheld=core.withheld,
            )
        )
    elif kind is MessageKind.SNAPSHOT:
        _hear(core, message)
        _install(core, message)
    elif kind is MessageKind.TIMEOUT_NOW:
        election.stand(core, transfer=True)
    elif kind is MessageKind.READ_INDEX_REPLY:
        core.read_states.append(ReadState(message.index, message.context))
    elif kind is MessageKind.RECOVER_REPLY:
        recovering.take_barrier(core, message)
    elif kind in FORWARDED:
        _forward(core, message)


def _hear(core: Core, message: Message) -> None:
    core.election_elapsed = 0
    core.leader = message.source


def _forward(core: Core, message: Message) -> None:
    # Back to where it came from would let two members that are wrong about each other play ball with it.
    if core.leader in (NO_NODE, message.source):
        return
    core.send(
        Message(
            message.kind,
            message.source,
            core.leader,
            index=message.index,
            entries=message.entries,
            context=message.context,
        )
    )


def _append(core: Core, message: Message) -> None:
    log = core.log
    if message.index < log.committed:
        # Everything up to the commit index is known to agree: say so instead of comparing.
        core.send(_append_reply(core, message, log.committed))
        return
    last_new = log.append_after(
        message.index, message.log_term, message.entries, check=core.safeguards.check_previous_entry
    )
    if last_new is not None:
        log.commit_to(min(message.commit, last_new))
        core.send(_append_reply(core, message, last_new))
        return
    hint, hint_term = log.highest_at_or_below_term(min(message.index, log.last_index), message.log_term)
    core.send(
        Message(
            MessageKind.APPEND_REPLY,
            core.id,
            message.source,
            core.term,
            index=message.index,
            log_term=hint_term,
            reject=True,
            reject_hint=hint,
            life=core.standing.life,
            withheld=core.withheld,
        )
    )


def _append_reply(core: Core, message: Message, index: int) -> Message:
    return Message(
        MessageKind.APPEND_REPLY,
        core.id,
        message.source,
        core.term,
        index=index,
        life=core.standing.life,
        withheld=core.withheld,
    )


def _install(core: Core, message: Message) -> None:
    if message.snapshot is not None and restore(core, message.snapshot):
        core.send(_append_reply(core, message, core.log.last_index))
    else:
        core.send(_append_reply(core, message, core.log.committed))


def restore(core: Core, snapshot: SnapshotMeta) -> bool:
    """Takes a snapshot in place of the log. False when it brings nothing.

    A snapshot without this member in its membership is taken, too (etcd refuses it): the member may have been added
    after the snapshot, and refusing the only one that there is would keep it out for ever.
    """
    log = core.log
    if snapshot.index <= log.committed:
        return False
    if log.unstable.snapshot is None and log.matches(snapshot.index, snapshot.term):
        # The entries are here: knowing that they are committed is all that was missing.
        log.commit_to(snapshot.index)
        return False
    log.restore(snapshot)
    core.tracker.configuration = snapshot.configuration
    core.tracker.reset_progress(log.last_index)
    return True
