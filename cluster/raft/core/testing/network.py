"""Members and the messages between them; nothing moves unless it is told to."""

from collections.abc import Callable, Iterable

from cluster.raft.core.config import RaftConfig
from cluster.raft.core.recovering import LIFE_CLOCK_SHIFT
from cluster.raft.core.testing.checker import Checker
from cluster.raft.core.testing.member import Member
from cluster.raft.core.types import Configuration, Message, MessageKind, Role

SETTLE_ROUNDS_MAX = 5000
"""A group that is not quiet after so many rounds is talking in circles."""


class Network:
    """A group in memory. `draw(low, high)` draws from [low, high) and decides the election timeouts."""

    def __init__(
        self,
        configs: Iterable[RaftConfig],
        configuration: Configuration,
        draw: Callable[[int, int], int],
        *,
        eager_log: bool = False,
        first_start: bool = False,
    ) -> None:
        """With `first_start` all logs are new, and nobody takes part before it has asked the others."""
        self.lives = 0
        self.checker = Checker()
        self.members = {
            config.member_id: Member(
                config,
                configuration,
                draw,
                self.checker,
                eager_log=eager_log,
                life=self.next_life() if first_start else 0,
            )
            for config in configs
        }
        self.messages: list[Message] = []
        """On their way, oldest first."""
        self.cut: set[tuple[int, int]] = set()
        """(source, target) pairs between which everything is lost."""

    def next_life(self) -> int:
        """A number for a new log."""
        self.lives += 1
        return (self.lives << LIFE_CLOCK_SHIFT) + self.lives

    def isolate(self, member: int) -> None:
        """Cuts one member off, both ways."""
        self.cut |= {pair for other in self.members for pair in ((member, other), (other, member))}

    def heal(self) -> None:
        """All links work again."""
        self.cut.clear()

    def send(self, messages: Iterable[Message]) -> None:
        """Puts messages on their way, or loses them where the link is cut."""
        for message in messages:
            if (message.source, message.target) in self.cut or message.target not in self.members:
                self.lose(message)
            else:
                self.messages.append(message)

    def lose(self, message: Message) -> None:
        """A message is gone; of a snapshot the sender's transport knows."""
        if message.kind is MessageKind.SNAPSHOT:
            self.members[message.source].raft.report_snapshot(message.target, ok=False)

    def deliver(self, message: Message) -> None:
        """Hands a message over."""
        self.members[message.target].raft.step(message)
        if message.kind is MessageKind.SNAPSHOT:
            self.members[message.source].raft.report_snapshot(message.target, ok=True)

    def run_member(self, member: Member) -> bool:
        """Takes one Ready through the disk and the state machine at once. Returns whether there was one."""
        taken = member.take_ready()
        if taken is None and not member.under_way and not member.unapplied:
            return False
        if taken is not None:
            self.send(taken[1])
        while member.under_way:
            self.send(member.finish_write())
        member.apply()
        return True

    def settle(self) -> None:
        """Runs all members and delivers all messages, in order, until the group is quiet."""
        for _ in range(SETTLE_ROUNDS_MAX):
            busy = False
            for member in self.members.values():
                busy |= self.run_member(member)
            batch, self.messages = self.messages, []
            for message in batch:
                self.deliver(message)
            if not busy and not batch:
                return
        raise AssertionError(f"not quiet after {SETTLE_ROUNDS_MAX} rounds")

    def tick(self, count: int = 1) -> None:
        """Ticks everybody `count` times, and settles after each."""
        for _ in range(count):
            for member in self.members.values():
                member.raft.tick()
            self.settle()

    @property
    def leader(self) -> Member | None:
        """The leader of the newest term, if any."""
        leaders = [member for member in self.members.values() if member.raft.role is Role.LEADER]
        return max(leaders, key=lambda member: member.raft.term, default=None)
