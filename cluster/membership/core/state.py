"""What all parts of the core share: who this member is, what it believes, and what it has to say."""

import math
from collections.abc import Callable

from cluster.membership.core.config import SwimConfig
from cluster.membership.core.health import LocalHealth
from cluster.membership.core.roster import Roster
from cluster.membership.core.rumours import Rumours
from cluster.membership.core.types import (
    Address,
    Counters,
    Datagram,
    Details,
    Event,
    EventKind,
    Member,
    Output,
    Purpose,
    Status,
    StreamCall,
    Update,
)
from cluster.membership.core.wire import Message, encode, encode_update


class Core:
    """Made by `Swim`, used by its parts."""

    def __init__(self, config: SwimConfig, name: str, details: Details, random: Callable[[int, int], int]) -> None:
        self.config = config
        self.random = random
        self.now = 0
        """Ticks since the start."""
        self.own = Member(name, Status.ALIVE, details.incarnation, details, 0)
        self.roster = Roster(self.own, config.members_max, random)
        self.rumours = Rumours(config.rumours_max)
        self.health = LocalHealth(config.health_max if config.mechanisms.health_aware_probes else 0)
        self.counters = Counters()
        self.output = Output()
        self.refused = False
        """An older living member has the name: this one is silent from now on."""
        self._sequence = random(0, 1 << 32)
        self._times = (0, 0)

    # Saying

    def next_sequence(self) -> int:
        """Numbers pings; wraps."""
        self._sequence = (self._sequence + 1) & 0xFFFF_FFFF
        return self._sequence

    def send(self, target: Address, name: str, message: Message) -> None:
        """Sends a message, and with it what is due to be told. `name` is whose address it is, empty when unknown."""
        head = encode(message)
        room = self.config.packet_bytes_max - len(head)
        pieces = []
        told = ""
        member = self.roster.get(name) if self.config.mechanisms.buddy else None
        if member is not None and member.status is not Status.ALIVE and member is not self.own:
            # Whoever is suspected must hear of it first of all, or it cannot refute (Lifeguard, section IV.C).
            told = name
            pieces.append(encode_update(Update(name, member.status, member.incarnation, None, self.own.name)))
            room -= len(pieces[0])
        pieces += self.rumours.take(room, self.times_max, but=told)
        self.output.datagrams.append(Datagram(target, b"".join((head, *pieces))))

    def call(self, target: Address, message: Message, purpose: Purpose, updates: list[bytes] | None = None) -> None:
        """Opens a stream with a message."""
        self.output.streams.append(StreamCall(target, encode(message, updates or ()), purpose))

    @property
    def times_max(self) -> int:
        """How often a piece of news is told."""
        living, times = self._times
        if living != self.roster.living:
            living = self.roster.living
            times = self.config.retransmit_factor * max(1, math.ceil(math.log10(living + 1)))
            self._times = (living, times)
        return times

    def spread(self, update: Update) -> None:
        """Has news to tell."""
        if not self.rumours.put(update.name, encode_update(update)):
            self.counters.rumours_dropped += 1

    def announce(self, incarnation: int, details: Details | None = None) -> None:
        """Says something of itself, by an incarnation that is above whatever was said before."""
        said = (details or self.own.details)._replace(incarnation=incarnation)
        self.roster.change(self.own, self.own.status, incarnation, said, self.now)
        self.spread(Update(self.own.name, self.own.status, incarnation, self.own.details))

    def tell(self, kind: EventKind, member: Member) -> None:
        """Lets the driver hear of a member."""
        copy = Member(
            member.name,
            member.status,
            member.incarnation,
            member.details,
            member.changed_tick,
        )
        self.output.events.append(Event(kind, copy))
