"""Commit news on their way to members that are not known to wait for them.

When a leader's entries are committed it tells the others so, in an APPEND without entries. A member that did not ask
for anything can hear it a little later: together with the next entries, which say it anyway, or after
`delay_s`. Where writes come one behind another that is half of all messages, and on a machine that is shared by the
members half of a write's way.

A member that forwards proposals or reads has callers who wait until it has applied them: it is told at once, for
EAGER_TICKS from its latest question on. Heartbeats tell the commit index, too, so nothing rests on this.
"""

from collections.abc import Sequence

from cluster.raft.core.types import Message, MessageKind
from cluster.raft.driver.transport import GroupMessage

EAGER_TICKS = 10
"""For so long after its last forwarded proposal or read a member is told at once."""
_QUESTIONS = frozenset({MessageKind.PROPOSE, MessageKind.READ_INDEX})


class CommitNews:
    """What is held back, by member."""

    def __init__(self, delay_s: float) -> None:
        """With a delay of 0, nothing is ever held back."""
        self._delay_s = delay_s
        self._ticks = 0
        self._eager_until: dict[int, int] = {}
        self._held: dict[int, dict[int, GroupMessage]] = {}
        self._due_s: dict[int, float] = {}

    def ticked(self, ticks: int) -> None:
        """Time has passed."""
        self._ticks += ticks

    def heard(self, message: Message) -> None:
        """A message came in: a member that asks something waits for the answer."""
        if message.kind in _QUESTIONS:
            self._eager_until[message.source] = self._ticks + EAGER_TICKS

    def hold(self, item: GroupMessage, now_s: float) -> bool:
        """Takes an APPEND without entries that streams at its target; False: it is to be sent now."""
        target = item.message.target
        if not self._delay_s or self._eager_until.get(target, 0) > self._ticks:
            return False
        held = self._held.get(target)
        if held is None:
            held = self._held[target] = {}
            self._due_s[target] = now_s + self._delay_s
        held[item.group] = item
        return True

    def join(self, target: int, messages: Sequence[GroupMessage]) -> list[GroupMessage]:
        """A batch to `target`, with what was held back for it and is not said by the batch itself."""
        held = self._held.pop(target, None)
        if held is None:
            return list(messages)
        del self._due_s[target]
        for group, message in messages:
            if message.kind is MessageKind.APPEND:
                # It tells at least the same commit index, since it is younger.
                held.pop(group, None)
        return [*held.values(), *messages]

    @property
    def due_s(self) -> float | None:
        """When the oldest of what is held back should go out."""
        return min(self._due_s.values(), default=None)

    def take_due(self, now_s: float) -> dict[int, list[GroupMessage]]:
        """What has waited long enough, by target."""
        due = [target for target, due_s in self._due_s.items() if due_s <= now_s]
        return {target: self.join(target, ()) for target in due}
