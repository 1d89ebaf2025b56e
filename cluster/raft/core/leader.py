"""What a leader does: replicate, commit, check its quorum, serve reads, hand over (Raft 5.3; thesis 3.10).

Replication is lazy: events only note that something is due, and `flush` sends it when the driver asks for a Ready.
So whatever was proposed in one turn of the driver travels in one APPEND per follower.
"""

from cluster.raft.core import recovering
from cluster.raft.core.errors import DropReason, ReadDropped
from cluster.raft.core.sizes import entries_bytes
from cluster.raft.core.state import Core
from cluster.raft.core.storage import Compacted
from cluster.raft.core.tracker.progress import Progress, ProgressState
from cluster.raft.core.types import NO_NODE, EntryKind, Message, MessageKind, ReadState


def step_leader(core: Core, message: Message) -> None:
    """A message of the present term, or one that has no term."""
    kind = message.kind
    if kind is MessageKind.PROPOSE:
        _take_forwarded(core, message)
        return
    if kind is MessageKind.READ_INDEX:
        _take_forwarded_read(core, message)
        return
    if kind is MessageKind.TRANSFER_LEADER:
        transfer(core, message.index)
        return
    progress = core.tracker.progress.get(message.source)
    if progress is None or message.source == core.id:
        return
    if kind is MessageKind.RECOVER:
        recovering.open_barrier(core, message, progress)
        return
    if kind is not MessageKind.APPEND_REPLY and kind is not MessageKind.HEARTBEAT_REPLY:
        return
    if message.life != progress.life or message.withheld is progress.counts:
        if not recovering.recognise(core, message, progress):
            return
        advance_commit(core)
    if kind is MessageKind.APPEND_REPLY:
        progress.recent_active = True
        if message.reject:
            _on_reject(core, message, progress)
        else:
            _on_acknowledge(core, message, progress)
    else:
        _on_heartbeat_reply(core, message, progress)


# Replication


def flush(core: Core) -> None:
    """Sends what is due: to be called before a Ready is assembled."""
    if core.reads.unsent:
        core.reads.start_round(core.id)
        broadcast_heartbeat(core)
        release_reads(core)
    if core.replication_due:
        core.replication_due = False
        for member, progress in core.tracker.progress.items():
            if member != core.id:
                _replicate(core, member, progress)


def _replicate(core: Core, member: int, progress: Progress) -> None:
    log, config = core.log, core.config
    last = log.last_index
    while True:
        probing = progress.state is ProgressState.PROBE
        if progress.state is ProgressState.SNAPSHOT or (probing and progress.probe_sent):
            return
        previous = progress.next - 1
        has_entries = progress.next <= last and not (progress.state is ProgressState.REPLICATE and progress.paused)
        # Commit news alone are worth a message, too, but not into a window that is full already.
        has_news = progress.sent_commit < min(log.committed, previous) and not progress.paused
        if not (probing or has_entries or has_news or progress.must_send):
            return
        try:
            previous_term = log.term(previous)
            entries = log.entries(progress.next, last + 1, config.entries_bytes_per_message_max) if has_entries else []
        except Compacted:
            _send_snapshot(core, member, progress)
            return
        core.outbox.append(
            Message(
                MessageKind.APPEND,
                core.id,
                member,
                core.term,
                index=previous,
                log_term=previous_term,
                entries=tuple(entries),
                commit=log.committed,
            )
        )
        progress.must_send = False
        progress.sent_commit = max(progress.sent_commit, min(log.committed, previous + len(entries)))
        if entries:
            progress.sent_entries(entries[-1].index, entries_bytes(entries))
        elif probing:
            progress.probe_sent = True


def _send_snapshot(core: Core, member: int, progress: Progress) -> None:
    # Who is not heard from would only keep a stream busy.
    if not progress.recent_active:
        return
    meta = core.log.storage.snapshot()
    assert meta.index > 0, "the log is compacted, so there is a snapshot"
    progress.become_snapshot(meta.index)
    progress.must_send = False
    core.outbox.append(Message(MessageKind.SNAPSHOT, core.id, member, core.term, snapshot=meta))


def _on_reject(core: Core, message: Message, progress: Progress) -> None:
    probe = message.reject_hint
    if message.log_term > 0:
        # Skip everything of ours that is newer than what the follower has there, as it skipped ours.
        probe = core.log.highest_at_or_below_term(message.reject_hint, message.log_term)[0]
    if progress.rejected(message.index, probe):
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        progress.must_send = True
        core.replication_due = True


def _on_acknowledge(core: Core, message: Message, progress: Progress) -> None:
    if message.index > core.log.last_index:
        # Nobody can hold what this leader never had; a broken peer must not move the commit index.
        return
    news = progress.acknowledged(message.index)
    if not news and not (progress.state is ProgressState.PROBE and message.index == progress.match):
        return
    core.replication_due = True
    if progress.state is ProgressState.REPLICATE:
        progress.inflights.free_through(message.index)
    elif progress.state is ProgressState.PROBE or progress.match + 1 >= core.log.first_index:
        progress.become_replicate()
    if news:
        advance_commit(core)
        if message.source == core.transfer_target:
            _hand_over_if_ready(core)


def advance_commit(core: Core) -> None:
    """Commits what a quorum holds, if it is of the own term (Raft, 5.4.2). Fails without: figure 8's scenario."""
    log = core.log
    index = min(core.tracker.committed(), log.last_index)
    if index <= log.committed:
        return
    own_term = log.matches(index, core.term)
    if core.safeguards.commit_own_term_only and not own_term:
        return
    log.commit_to(index)
    core.replication_due = True
    if own_term and not core.committed_in_term:
        core.committed_in_term = True
        postponed, core.reads.postponed = core.reads.postponed, []
        for source, context in postponed:
            take_read(core, source, context)


def own_log_persisted(core: Core) -> None:
    """More of the own log is on disk: the leader counts itself."""
    progress = core.tracker.progress.get(core.id)
    if progress is not None and progress.acknowledged(core.log.stable_index):
        advance_commit(core)


# Heartbeats


def broadcast_heartbeat(core: Core) -> None:
    """To everyone; with the commit index as far as that member is known to follow."""
    context = core.reads.round_context
    for member, progress in core.tracker.progress.items():
        if member != core.id:
            commit = min(progress.match, core.log.committed)
            core.outbox.append(
                Message(
                    MessageKind.HEARTBEAT,
                    core.id,
                    member,
                    core.term,
                    commit=commit,
                    context=context,
                    life=progress.life,
                )
            )


def _on_heartbeat_reply(core: Core, message: Message, progress: Progress) -> None:
    progress.recent_active = True
    progress.probe_sent = False
    if progress.match < core.log.last_index or progress.state is ProgressState.PROBE:
        # Something may have been lost on the way; an APPEND, even an empty one, finds out.
        progress.must_send = True
        core.replication_due = True
    if message.context and progress.counts:
        core.reads.acknowledge(message.source, message.context)
        release_reads(core)


def tick(core: Core) -> None:
    """A leader's tick: heartbeats, and once in an election timeout the check of the quorum."""
    core.heartbeat_elapsed += 1
    core.election_elapsed += 1
    if core.election_elapsed >= core.config.election_ticks:
        core.election_elapsed = 0
        if core.config.check_quorum:
            if not core.tracker.quorum_active(core.id):
                core.become_follower(core.term, NO_NODE)
                return
            core.tracker.reset_active()
        # A transfer that takes longer than an election is given up, so that proposals are taken again.
        core.transfer_target = NO_NODE
    if core.heartbeat_elapsed >= core.config.heartbeat_ticks:
        core.heartbeat_elapsed = 0
        broadcast_heartbeat(core)


# Reads


def take_read(core: Core, source: int, context: bytes) -> None:
    """Starts a read for a local or a remote caller. Raises ReadDropped when too many wait."""
    if len(core.reads) >= core.config.pending_reads_max:
        raise ReadDropped(DropReason.READ_LIMIT)
    if not core.committed_in_term and core.safeguards.reads_wait_for_own_term:
        core.reads.postponed.append((source, context))
    elif core.tracker.is_only_voter(core.id) or not core.safeguards.confirm_reads:
        _answer_read(core, source, core.log.committed, context)
    else:
        core.reads.add(source, core.log.committed, context)


def _take_forwarded_read(core: Core, message: Message) -> None:
    try:
        take_read(core, message.source, message.context)
    except ReadDropped:
        return  # The caller asks again: reads are not acknowledged in any other way.


def release_reads(core: Core) -> None:
    """Answers the reads whose round a quorum has confirmed."""
    for read in core.reads.confirmed(core.quorum_index):
        _answer_read(core, read.source, read.index, read.context)


def _answer_read(core: Core, source: int, index: int, context: bytes) -> None:
    if source == core.id:
        core.read_states.append(ReadState(index, context))
    else:
        core.outbox.append(
            Message(MessageKind.READ_INDEX_REPLY, core.id, source, core.term, index=index, context=context)
        )


# Proposals and handing over


def refuses_proposals(core: Core, size_bytes: int) -> DropReason | None:
    """Why a proposal of that size cannot be taken now."""
    if core.id not in core.tracker.progress:
        return DropReason.NOT_A_MEMBER
    if core.transfer_target != NO_NODE:
        return DropReason.TRANSFERRING
    if not core.has_room(size_bytes):
        return DropReason.UNCOMMITTED_LIMIT
    return None


def _take_forwarded(core: Core, message: Message) -> None:
    entries = message.entries
    if not entries or refuses_proposals(core, entries_bytes(entries)) is not None:
        return
    # A change of the membership is checked against the leader's own state, so it is proposed at the leader.
    if all(entry.kind is EntryKind.COMMAND for entry in entries):
        core.append_forwarded(entries)


def transfer(core: Core, target: int) -> None:
    """Leads `target` to the log's end and tells it to stand. A second call turns to another target."""
    if target in (core.id, core.transfer_target) or not core.tracker.is_voter(target):
        return
    progress = core.tracker.progress[target]
    if not progress.counts:
        return
    core.election_elapsed = 0
    core.transfer_target = target
    progress.must_send = progress.must_send or progress.match < core.log.last_index
    core.replication_due = True
    _hand_over_if_ready(core)


def ask_best_to_stand(core: Core) -> None:
    """Leadership ends here: the voter with the longest log shall stand at once."""
    voters = core.tracker.voters_but(core.id)
    if voters:
        progress = core.tracker.progress
        best = max(voters, key=lambda member: progress[member].match if progress[member].counts else -1)
        core.outbox.append(Message(MessageKind.TIMEOUT_NOW, core.id, best, core.term))


def _hand_over_if_ready(core: Core) -> None:
    if core.tracker.progress[core.transfer_target].match == core.log.last_index:
        core.outbox.append(Message(MessageKind.TIMEOUT_NOW, core.id, core.transfer_target, core.term))
