"""Whose name is it: rules for two processes that call themselves the same.

- A process that comes back under its name finds its former life remembered, and takes over by a higher incarnation:
  at once when that life failed, left, or had the same address, which this one holds now.
- A life at another address might live: it is challenged, by pings to that address. When it answers, the older of the
  two keeps the name, by the smaller instance, and the younger is refused: NAME_TAKEN. When it does not, the younger one
  takes over.
- The older one never gives way: it refutes what the younger one says, as it would a suspicion.

So two living processes with one name end with one that is a member and one that knows that it is none.
"""

from dataclasses import dataclass

from cluster.membership.core.state import Core
from cluster.membership.core.types import Details, EventKind, Member, Status, Update
from cluster.membership.core.wire import Ack, Ping

CHALLENGE_PINGS = 5
"""Pings to an older life before it counts as gone; losing all of them at a loss of 5 % happens once in a million."""


@dataclass(slots=True)
class _Challenge:
    details: Details
    incarnation: int
    sequence: int
    end_tick: int
    next_ping_tick: int


class Claims:
    """What is said of this member's own name."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._challenge: _Challenge | None = None

    @property
    def contested(self) -> bool:
        """Whether an older process of this name may live."""
        return self._challenge is not None

    def heard(self, update: Update) -> None:
        """Somebody said something about this member: refutes it, if it is news."""
        core, own = self._core, self._core.own
        if own.status is Status.LEFT or core.refused:
            return
        details = update.details
        foreign = details is not None and details.instance != own.details.instance
        known = (own.incarnation, own.status)
        if (update.incarnation, update.status) <= known and not (foreign and update.incarnation == own.incarnation):
            return
        if foreign and details is not None and update.status <= Status.SUSPECT:
            older = details.instance < own.details.instance
            if older and details.address != own.details.address:
                self._begin(details, update.incarnation)
                return
        if not core.config.mechanisms.refutation:
            return
        if update.status in (Status.SUSPECT, Status.FAILED) and not foreign:
            core.counters.refutations += 1
            core.health.worse(1)
        core.announce(max(own.incarnation, update.incarnation) + 1)

    def acked(self, ack: Ack) -> None:
        """Somebody answered a challenge, perhaps."""
        challenge = self._challenge
        if challenge is None or ack.sequence != challenge.sequence or ack.instance != challenge.details.instance:
            return
        core = self._core
        self._challenge = None
        core.refused = True
        core.rumours.discard(core.own.name)
        holder = Member(core.own.name, Status.ALIVE, challenge.incarnation, challenge.details, core.now)
        core.tell(EventKind.NAME_TAKEN, holder)

    def tick(self) -> None:
        """Challenges go on, or end."""
        challenge, core = self._challenge, self._core
        if challenge is None:
            return
        if core.now >= challenge.end_tick:
            self._challenge = None
            core.announce(max(core.own.incarnation, challenge.incarnation) + 1)
        elif core.now >= challenge.next_ping_tick:
            self._ping(challenge)

    def _begin(self, details: Details, incarnation: int) -> None:
        challenge, core = self._challenge, self._core
        if challenge is not None and challenge.details.instance == details.instance:
            challenge.incarnation = max(challenge.incarnation, incarnation)
            return
        end_tick = core.now + core.config.challenge_ticks
        self._challenge = challenge = _Challenge(details, incarnation, core.next_sequence(), end_tick, core.now)
        self._ping(challenge)

    def _ping(self, challenge: _Challenge) -> None:
        core = self._core
        challenge.next_ping_tick = core.now + max(1, core.config.challenge_ticks // CHALLENGE_PINGS)
        core.send(challenge.details.address, "", Ping(challenge.sequence, core.own.name, core.own.name))
