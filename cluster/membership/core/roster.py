"""Who is believed to be there: the members, the order in which they are probed, and a digest of it all.

Invariants:
- `digest` is the XOR of the marks of all living members, this one included. Two rosters with equal digests hold the
  same living members with the same details; what is suspected of whom is left out, since it does not last.
- `ring` holds each living other member once, and perhaps some that are gone, until it is shuffled anew.

The ring is walked round robin and shuffled after each round, and newcomers get a random place in it, so each member
is probed within two rounds, and on average as soon as by random choice (SWIM, section 4.3).
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from hashlib import blake2b

from cluster.membership.core.types import Details, Member, Status, Update
from cluster.membership.core.wire import encode_update

MARKS_CACHED = 8_192
"""Suspicions come and go: most marks have been reckoned before."""


class Roster:
    """The members by name, this one included. `random(low, high)` draws from [low, high)."""

    def __init__(self, own: Member, members_max: int, random: Callable[[int, int], int]) -> None:
        self.own = own
        self.members: dict[str, Member] = {}
        self.ring: list[str] = []
        self.digest = 0
        self.living = 0
        """Members that count, this one included."""
        self._max = members_max
        self._random = random
        self._next = 0
        self._gone: dict[str, int] = {}
        """Those that failed or left, and when; the oldest first."""
        self.members[own.name] = own
        self._enter(own)

    def get(self, name: str) -> Member | None:
        """What is believed of a name."""
        return self.members.get(name)

    def insert(self, update: Update, details: Details, tick: int) -> Member | None:
        """Somebody new. Returns None when the roster is full."""
        if len(self.members) >= self._max:
            oldest = next((name for name in self._gone if name != self.own.name), None)
            if oldest is None or update.status > Status.SUSPECT:
                return None
            self.forget(oldest)
        name = update.name
        member = Member(name, update.status, update.incarnation, details, tick)
        self.members[name] = member
        if member.living:
            self._enter(member)
            self._place(name)
        else:
            self._gone[name] = tick
        return member

    def change(self, member: Member, status: Status, incarnation: int, details: Details | None, tick: int) -> None:
        """Something else is believed of a member now."""
        if member.living:
            self._exit(member)
        was_living = member.living
        if status != member.status:
            member.status = status
            member.changed_tick = tick
        member.incarnation = incarnation
        if details is not None:
            member.details = details
        if member.living:
            self._enter(member)
            if not was_living:
                self._gone.pop(member.name, None)
                if member.name not in self.ring:
                    self._place(member.name)
        elif was_living:
            self._gone[member.name] = tick

    def set_details(self, member: Member, details: Details) -> None:
        """What a member says of itself, heard behind what others said of it."""
        if member.living:
            self._exit(member)
        member.details = details
        if member.living:
            self._enter(member)

    def forget(self, name: str) -> None:
        """Nothing is remembered of one that failed or left."""
        del self._gone[name]
        del self.members[name]

    def gone_before(self, tick: int) -> list[str]:
        """Those that failed or left before then."""
        names = []
        for name, since in self._gone.items():
            if since >= tick:
                break
            names.append(name)
        return names

    def gone(self, status: Status) -> list[Member]:
        """Those that failed, or those that left."""
        return [member for name in self._gone if (member := self.members[name]).status is status]

    def next_target(self) -> Member | None:
        """Whom to probe next; None when there is nobody."""
        for _ in range(len(self.ring) + 1):
            if self._next >= len(self.ring):
                self._shuffle()
                if not self.ring:
                    return None
            member = self.members.get(self.ring[self._next])
            self._next += 1
            if member is not None and member.living:
                return member
        return None

    def choose(self, count: int, but: Collection[str] = ()) -> list[Member]:
        """Up to `count` living others, at random, each once. O(count), and what it has to skip."""
        ring, chosen = self.ring, list[Member]()
        # The first steps of a shuffle, of which only the moves are kept.
        moved: dict[int, str] = {}
        for place in range(len(ring)):
            if len(chosen) == count:
                break
            at = self._random(place, len(ring))
            name = moved.get(at, ring[at])
            moved[at] = moved.get(place, ring[place])
            member = self.members.get(name)
            if member is not None and member.living and name not in but:
                chosen.append(member)
        return chosen

    def _place(self, name: str) -> None:
        """Somewhere in the ring, by swapping with a random one."""
        ring = self.ring
        ring.append(name)
        at = self._random(0, len(ring))
        ring[at], ring[-1] = ring[-1], ring[at]

    def _shuffle(self) -> None:
        """Begins a new round, without those who are gone (Fisher and Yates)."""
        ring = [name for name in self.ring if (member := self.members.get(name)) is not None and member.living]
        for end in range(len(ring) - 1, 0, -1):
            at = self._random(0, end + 1)
            ring[at], ring[end] = ring[end], ring[at]
        self.ring = ring
        self._next = 0

    def _enter(self, member: Member) -> None:
        member.mark = _mark(member.name, member.incarnation, member.details)
        self.digest ^= member.mark
        self.living += 1

    def _exit(self, member: Member) -> None:
        self.digest ^= member.mark
        member.mark = 0
        self.living -= 1


@lru_cache(maxsize=MARKS_CACHED)
def _mark(name: str, incarnation: int, details: Details) -> int:
    said = encode_update(Update(name, Status.ALIVE, incarnation, details))
    return int.from_bytes(blake2b(said, digest_size=8).digest(), "big")
