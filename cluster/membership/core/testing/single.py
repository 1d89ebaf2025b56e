"""One core, to which a test speaks by hand."""

from collections.abc import Callable
from typing import NamedTuple

from cluster.membership.core.config import SwimConfig
from cluster.membership.core.swim import Swim
from cluster.membership.core.types import Address, Details, EventKind, Status, StreamCall, Update
from cluster.membership.core.wire import Ack, Gossip, Message, Ping, decode, encode, encode_update

STRANGER = Address("10.9.9.9", 9)


class Sent(NamedTuple):
    """A datagram that the core sent."""

    target: Address
    message: Message
    updates: list[Update]


def address_of(name: str) -> Address:
    """Where a member of that name lives in tests: each name has its own."""
    return Address(f"10.1.{sum(name.encode()) % 250}.{len(name)}", 7000 + sum(name.encode()) % 1000)


def alive(name: str, incarnation: int = 1, *, instance: int = 1, metadata: bytes = b"") -> Update:
    """What a member says of itself."""
    return Update(name, Status.ALIVE, incarnation, Details(instance, address_of(name), metadata, incarnation))


class Single:
    """A core named `me`, and what it had to say and to tell since it was last asked."""

    def __init__(
        self,
        config: SwimConfig | None = None,
        *,
        name: str = "me",
        instance: int = 100,
        random: Callable[[int, int], int] = lambda low, high: low,
        answered: bool = False,
    ) -> None:
        """`answered`: each ping that it sends is acked at once, and not shown."""
        self._answered = answered
        self.swim = Swim(config or SwimConfig(), name, instance, address_of(name), b"", random)
        self.datagrams: list[Sent] = []
        self.streams: list[StreamCall] = []
        self.events: list[tuple[EventKind, str]] = []

    def meet(self, *names: str) -> "Single":
        """Members say that they live; what came of it is forgotten."""
        self.hear(*(alive(name) for name in names))
        self.take()
        self.events.clear()
        return self

    def hear(self, *updates: Update, message: Message | None = None, source: Address = STRANGER) -> None:
        """A datagram comes in."""
        self.swim.datagram(encode(message or Gossip("somebody"), map(encode_update, updates)), source)
        self._collect()

    def tick(self, ticks: int = 1) -> None:
        """Time passes."""
        for _ in range(ticks):
            self.swim.tick()
            self._collect()

    def exchange(self, message: Message, *updates: Update) -> tuple[Message, list[Update]] | None:
        """A message comes in by a stream: the answer."""
        answer = self.swim.stream_message(encode(message, map(encode_update, updates)))
        self._collect()
        return None if answer is None else decode(answer)

    def take(self) -> list[Sent]:
        """The datagrams since the last call."""
        self._collect()
        sent, self.datagrams = self.datagrams, []
        return sent

    def status(self, name: str) -> Status | None:
        """What it believes of a name."""
        member = self.swim.member(name)
        return None if member is None else member.status

    def _collect(self) -> None:
        output = self.swim.take_output()
        self.streams += output.streams
        self.events += [(kind, member.name) for kind, member in output.events]
        for target, data in output.datagrams:
            sent = Sent(target, *decode(data))
            if self._answered and isinstance(sent.message, Ping):
                self.swim.datagram(encode(Ack(sent.message.sequence, sent.message.target, 1)), target)
            else:
                self.datagrams.append(sent)
