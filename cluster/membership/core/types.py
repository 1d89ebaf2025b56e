"""What goes into the membership core and what comes out of it.

The core is SWIM (Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership
Protocol", DSN 2002) with the extensions of Lifeguard (Dadgar, Phillips, Currey, "Lifeguard: Local Health Awareness for
More Accurate Failure Detection", DSN 2018). It does no I/O, reads no clock and draws no randomness of its own: ticks
and bytes go in, bytes and events come out. Its driver owes it this:

1. `tick()` at a steady pace. After a stall the datagrams that waited are fed before the next tick, and ticks that were
   missed are not made up for: a process that slept must not believe that the others were silent meanwhile.
2. After every call, `take_output()`: what is in `datagrams` is sent, or lost; each `StreamCall` is a conversation.
3. A conversation: connect, send `data`, and give what comes back to `stream_message`, whose answer is sent in turn,
   until it answers None. The side that was connected to does the same. Failing is fine: nothing needs to be told.
4. Events are heard in order. They are about others; `NAME_TAKEN` alone is about this member, and ends it.

**What members believe of one another converges.** A belief about a name is ordered by (incarnation, status), and
whoever hears a greater one takes it over, so all that talk to each other end with the same. Only the member itself
raises its incarnation, which is why a living member can refute whatever is said of it, and wins.
"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """What is believed of a member. The order is the precedence within one incarnation; the numbers are the wire's."""

    ALIVE = 0
    SUSPECT = 1
    """It did not answer; it is a member still, and may refute."""
    FAILED = 2
    LEFT = 3
    """It has said goodbye."""


LIVING = (Status.ALIVE, Status.SUSPECT)
"""A member counts as one until it failed or left."""


class Address(NamedTuple):
    """Where a member listens, for datagrams and streams alike. `host` is numeric."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Details(NamedTuple):
    """What only a member itself says of itself, at one of its incarnations."""

    instance: int
    """Tells this life of the process from others of the same name; the smaller one is the older one."""
    address: Address
    metadata: bytes
    """What the service says of itself; opaque here, see `cluster.membership.metadata`."""
    incarnation: int
    """At which of its incarnations it said so: behind the member's own when only a suspicion has been heard since."""

    def same_words(self, other: "Details") -> bool:
        """Whether the two say the same, whenever they were said."""
        return self[:3] == other[:3]


class Update(NamedTuple):
    """One thing that is said about one member."""

    name: str
    status: Status
    incarnation: int
    details: Details | None = None
    """Always there when it is ALIVE, and in a state exchange."""
    origin: str = ""
    """Of SUSPECT and FAILED: who found out. Independent origins confirm each other (Lifeguard, section IV.B)."""


@dataclass(slots=True)
class Member:
    """What is believed of one member."""

    name: str
    status: Status
    incarnation: int
    details: Details
    changed_tick: int
    """When `status` changed."""
    mark: int = 0
    """Its share of the roster's digest; 0 while it does not count as a member."""

    @property
    def living(self) -> bool:
        """Whether it counts as a member."""
        return self.status <= Status.SUSPECT


class EventKind(Enum):
    """What happened to a member."""

    JOINED = "joined"
    """It is a member now; also one that had failed, or left, and is back."""
    UPDATED = "updated"
    """It says something else of itself now: metadata, address, or another life of it."""
    SUSPECT = "suspect"
    """It did not answer, and has some time to refute."""
    REFUTED = "refuted"
    """It was suspected, and is alive."""
    FAILED = "failed"
    LEFT = "left"
    NAME_TAKEN = "name_taken"
    """An older living member has this member's own name: this one is none any more."""


class Event(NamedTuple):
    """Something to hear about, in order."""

    kind: EventKind
    member: Member
    """As it is now: a copy."""


class Datagram(NamedTuple):
    """To be sent, or lost."""

    target: Address
    data: bytes


class Purpose(Enum):
    """Why a stream is opened."""

    SYNC = "sync"
    """To compare what both sides believe, and exchange it when it differs."""
    PROBE = "probe"
    """To ask whether the other side lives, when datagrams to it seem to get lost."""


class StreamCall(NamedTuple):
    """A conversation to be opened; see the contract above."""

    target: Address
    data: bytes
    purpose: Purpose


@dataclass(slots=True)
class Output:
    """Work that the core hands to its driver."""

    datagrams: list[Datagram] = field(default_factory=list)
    streams: list[StreamCall] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Counters:
    """What the core has done; only ever grows."""

    probes: int = 0
    probes_failed: int = 0
    """Probes that nobody answered, neither directly nor through helpers nor by a stream."""
    probes_indirect: int = 0
    """Probes that needed helpers."""
    probes_by_stream: int = 0
    """Probes that only a stream answered: datagrams to that member get lost, by a firewall perhaps."""
    nacks_missed: int = 0
    """Helpers that said nothing at all: a sign that this side is the slow one."""
    refutations: int = 0
    """How often this member had to say that it lives."""
    syncs: int = 0
    """State exchanges, as either side."""
    syncs_equal: int = 0
    """Of those, the ones that found nothing to exchange."""
    misdirected: int = 0
    """Pings for another name, and what came from this member itself."""
    members_refused: int = 0
    """Members that were one too many; see `SwimConfig.members_max`."""
    rumours_dropped: int = 0
    """News that had to make room for newer ones before they were told often enough."""
