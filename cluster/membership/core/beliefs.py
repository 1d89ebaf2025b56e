"""What this member takes to be true of the others, and how long a suspicion lasts.

| heard of X          | known at the same incarnation as          | then X is                                       |
|---------------------|-------------------------------------------|-------------------------------------------------|
| any, incarnation +n | whatever                                  | what was heard                                  |
| ALIVE               | SUSPECT, FAILED, LEFT                     | what it was: only X itself could raise it        |
| SUSPECT             | ALIVE                                     | SUSPECT, and FAILED when it does not refute      |
| SUSPECT             | SUSPECT                                   | SUSPECT, for a shorter time when independent     |
| FAILED              | ALIVE, SUSPECT                            | FAILED; from a state exchange: SUSPECT           |
| LEFT                | ALIVE, SUSPECT, FAILED                    | LEFT                                             |

A failure that comes from a state exchange may be old: X has perhaps been heard of since, by somebody else. It counts as
a suspicion, so that X can object.
"""

from cluster.membership.core.claims import Claims
from cluster.membership.core.state import Core
from cluster.membership.core.suspicion import Suspicion, shortest_ticks
from cluster.membership.core.types import Details, EventKind, Member, Status, Update
from structures.deadline_heap import DeadlineHeap

FAILURES_PER_TICK_MAX = 64
"""Suspicions that end in one tick; the others end in the next ones."""


class Beliefs:
    """Decides on updates; see the table."""

    def __init__(self, core: Core, claims: Claims) -> None:
        self._core = core
        self._claims = claims
        self._suspicions: dict[str, Suspicion] = {}
        self._deadlines: DeadlineHeap[str] = DeadlineHeap()

    @property
    def suspicions(self) -> int:
        """Members that are suspected at present."""
        return len(self._suspicions)

    def hear(self, update: Update, *, exchanged: bool = False, spread: bool = True) -> None:
        """Takes an update for what it is worth. `exchanged`: it came from a state exchange; `spread`: it is told on."""
        core = self._core
        if update.name == core.own.name:
            self._claims.heard(update)
            return
        member = core.roster.get(update.name)
        if member is None:
            self._meet(update, spread=spread)
            return
        status = update.status
        if exchanged and status is Status.FAILED and member.living:
            status = Status.SUSPECT
        newer = _newer_details(update, member)
        if (update.incarnation, status) > (member.incarnation, member.status):
            self._change(member, status, update, newer, spread=spread)
            return
        if newer is not None:
            self._learn(member, newer)
        if status is Status.SUSPECT and member.status is Status.SUSPECT and update.incarnation == member.incarnation:
            self._confirm(member, update)

    def suspect(self, member: Member) -> None:
        """This member's own probe was not answered."""
        self.hear(Update(member.name, Status.SUSPECT, member.incarnation, None, self._core.own.name))

    def tick(self) -> None:
        """Suspicions that nobody refuted in time become failures."""
        if not self._suspicions:
            return
        for name in self._deadlines.pop_due(self._core.now, FAILURES_PER_TICK_MAX):
            member, suspicion = self._core.roster.get(name), self._suspicions.get(name)
            if member is not None and suspicion is not None:
                self.hear(Update(name, Status.FAILED, suspicion.incarnation, None, self._core.own.name))

    def _meet(self, update: Update, *, spread: bool) -> None:
        core, details = self._core, update.details
        if details is None:
            # Nobody knows where it is; its own word, or a state exchange, will tell.
            return
        member = core.roster.insert(update, details, core.now)
        if member is None:
            core.counters.members_refused += 1
            return
        if member.living:
            core.tell(EventKind.JOINED, member)
            if spread:
                core.spread(Update(update.name, Status.ALIVE, details.incarnation, details))
            if member.status is Status.SUSPECT:
                self._begin(member, update)

    def _change(self, member: Member, status: Status, update: Update, details: Details | None, *, spread: bool) -> None:
        core = self._core
        was, was_living, said = member.status, member.living, member.details
        core.roster.change(member, status, update.incarnation, details, core.now)
        self._suspicions.pop(member.name, None)
        self._deadlines.remove(member.name)
        if spread:
            core.spread(_for_wire(update, status))
        if member.living and not was_living:
            core.tell(EventKind.JOINED, member)
        elif status is Status.ALIVE:
            if was is Status.SUSPECT:
                core.tell(EventKind.REFUTED, member)
            if not member.details.same_words(said):
                core.tell(EventKind.UPDATED, member)
        elif was_living and not member.living:
            core.tell(EventKind.FAILED if status is Status.FAILED else EventKind.LEFT, member)
        if status is Status.SUSPECT:
            self._begin(member, update, told=was is Status.SUSPECT)

    def _learn(self, member: Member, details: Details) -> None:
        said = member.details
        self._core.roster.set_details(member, details)
        if member.living and not details.same_words(said):
            self._core.tell(EventKind.UPDATED, member)

    def _begin(self, member: Member, update: Update, *, told: bool = False) -> None:
        core, config = self._core, self._core.config
        living = core.roster.living
        shortest = shortest_ticks(config.suspicion_factor, living, config.probe_interval_ticks)
        wanted = config.confirmations if config.mechanisms.shrinking_suspicion else 0
        # This member and the suspect cannot confirm: with too few others, nobody is waited for.
        if living - 2 < wanted:
            wanted = 0
        suspicion = Suspicion(
            update.incarnation, core.now, shortest, shortest * config.suspicion_max_factor, wanted, {update.origin}
        )
        self._suspicions[member.name] = suspicion
        self._deadlines.set(member.name, suspicion.deadline_tick)
        if not told:
            core.tell(EventKind.SUSPECT, member)

    def _confirm(self, member: Member, update: Update) -> None:
        suspicion = self._suspicions.get(member.name)
        if suspicion is not None and update.origin and suspicion.confirm(update.origin):
            self._deadlines.set(member.name, suspicion.deadline_tick)
            # Told on, so that the others' suspicions get shorter, too.
            self._core.spread(_for_wire(update, Status.SUSPECT))


def _newer_details(update: Update, member: Member) -> Details | None:
    """What the update tells newly of a member's own words; of two lives at one incarnation the older one's hold."""
    details = update.details
    if details is None:
        return None
    said = (details.incarnation, -details.instance)
    known = (member.details.incarnation, -member.details.instance)
    return details if said > known else None


def _for_wire(update: Update, status: Status) -> Update:
    """As gossip carries it: details only where they are the news."""
    return Update(
        update.name, status, update.incarnation, update.details if status is Status.ALIVE else None, update.origin
    )
