"""What a leader does not send at once: entries and commit news, to members that nobody waits for.

An entry is committed as soon as a quorum has it, so of three members the leader needs one other. That one is sent the
entries in the turn in which they were proposed; so many members as make a quorum, those that are furthest along, are
**eager** in this sense. What is for the others waits for the next turn that comes after `delay_s`, and what gathers in
that time goes as one message. So is the news that something is committed, which the next entries say anyway. Where
writes come one behind another this halves the messages, and where members share a machine it takes the work of those
who are not needed out of a write's way. It is Multi-Paxos's "thrifty" sending (Moraru et al., "There Is More Consensus
in Egalitarian Parliaments", SOSP 2013, section 6.2), but with a time limit: a member that is eager and does not answer
costs `delay_s` until the others have the entries and are further along, and then they are eager.

A member that forwards proposals or reads has callers who wait until it has applied them: it is eager, too, for
EAGER_TICKS from its latest question on.

To the core all this looks like a network that is slow now and then. Two messages are made one only where the leader
could have sent that one: in one term its log at an index never changes.
"""

from collections.abc import Sequence

from cluster.raft.core import Raft
from cluster.raft.core.tracker.progress import ProgressState
from cluster.raft.core.types import Message, MessageKind
from cluster.raft.driver.transport import GroupMessage

EAGER_TICKS = 10
"""For so long after its last forwarded proposal or read a member is told everything at once."""
ENTRIES_MAX = 512
"""Entries that may be held back for one member of a group; where more come, they are sent at once."""
BYTES_MAX = 256 << 10
"""The same, in bytes of their data."""
_QUESTIONS = frozenset({MessageKind.PROPOSE, MessageKind.READ_INDEX})


class HeldBack:
    """What waits, by member and group."""

    def __init__(self, delay_s: float) -> None:
        """With a delay of 0, nothing is ever held back."""
        self._delay_s = delay_s
        self._ticks = 0
        self._eager_until: dict[int, int] = {}
        self._held: dict[int, dict[int, Message]] = {}
        self._due_s: dict[int, float] = {}

    def ticked(self, ticks: int) -> None:
        """Time has passed."""
        self._ticks += ticks

    def heard(self, core: Raft, message: Message) -> None:
        """A message came in: a member that asks something waits for the answer."""
        if message.kind in _QUESTIONS and message.source in core.progress:
            self._eager_until[message.source] = self._ticks + EAGER_TICKS

    def hold(self, group: int, core: Raft, message: Message, now_s: float) -> bool:
        """Takes an APPEND, if its target can wait for it; False: it is to be sent now."""
        target = message.target
        if not self._delay_s or self._eager_until.get(target, 0) > self._ticks:
            return False
        progress = core.progress.get(target)
        # One that probes does not wait: much waits for its answer.
        if progress is None or progress.state is not ProgressState.REPLICATE:
            return False
        if message.entries and _is_needed(core, target):
            return False
        held = self._held.get(target)
        if held is None:
            held = self._held[target] = {}
            self._due_s[target] = now_s + self._delay_s
        before = held.get(group)
        if before is not None:
            both = _joined(before, message)
            if both is None:
                return False
            message = both
        elif _is_large(message):
            return False
        held[group] = message
        return True

    def join(self, target: int, messages: Sequence[GroupMessage]) -> list[GroupMessage]:
        """A batch to `target`, with what was held back for it."""
        held = self._held.pop(target, None)
        if held is None:
            return list(messages)
        del self._due_s[target]
        batch: list[GroupMessage] = []
        for item in messages:
            group, message = item
            before = held.pop(group, None) if message.kind is MessageKind.APPEND else None
            if before is None:
                batch.append(item)
            elif (both := _joined(before, message)) is not None:
                batch.append(GroupMessage(group, both))
            else:
                batch += (GroupMessage(group, before), item)
        return [*(GroupMessage(group, message) for group, message in held.items()), *batch]

    @property
    def due_s(self) -> float | None:
        """When the oldest of what is held back should go out."""
        return min(self._due_s.values(), default=None)

    def take_due(self, now_s: float) -> dict[int, list[GroupMessage]]:
        """What has waited long enough, by target."""
        due = [target for target, due_s in self._due_s.items() if due_s <= now_s]
        return {target: self.join(target, ()) for target in due}


def _is_needed(core: Raft, target: int) -> bool:
    """Whether `target` is among those who make a quorum with this leader soonest."""
    configuration = core.configuration
    voters = configuration.voters
    if configuration.voters_outgoing or core.member_id not in voters:
        return True
    if target not in voters:
        return False
    progress = core.progress
    mine = progress[target]
    further = 0
    for member in voters:
        if member == target or member == core.member_id:
            continue
        other = progress[member]
        # Who is equally far is told apart by its number, so that all turns choose the same ones.
        if other.counts and other.state is ProgressState.REPLICATE and (other.match, member) > (mine.match, target):
            further += 1
    return further < len(voters) // 2


def _is_large(message: Message) -> bool:
    entries = message.entries
    return len(entries) > ENTRIES_MAX or sum([len(entry.data) for entry in entries]) > BYTES_MAX


def _joined(before: Message, after: Message) -> Message | None:
    """One APPEND that says what two say; None where there is none."""
    if before.term != after.term or before.index + len(before.entries) != after.index:
        return None
    entries = before.entries + after.entries
    both = Message(
        MessageKind.APPEND,
        before.source,
        before.target,
        before.term,
        index=before.index,
        log_term=before.log_term,
        entries=entries,
        commit=max(before.commit, after.commit),
    )
    return None if before.entries and after.entries and _is_large(both) else both
