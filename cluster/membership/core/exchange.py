"""State exchanges: two members compare what they believe, and give each other what the other lacks.

    A                                   B
    Offer(digest)                 ->    equal:    Same
                                  <-    not so:   State(all that B believes, reply wanted)
    State(what B lacks)           ->

A member that joins begins with State. Gossip is fast and may miss somebody; exchanges are slow and miss nothing (Demers
et al., "Epidemic Algorithms for Replicated Database Maintenance", PODC 1987, section 1.3: anti-entropy). With equal
digests, which is nearly always, one costs a few dozen bytes and not the whole list.

Members that failed, and seeds that are no members, are looked for now and then: after a partition in which both sides
gave each other up, nobody else would ever speak to the other side again.
"""

import math
from collections.abc import Iterable
from itertools import islice

from cluster.membership.core.beliefs import Beliefs
from cluster.membership.core.state import Core
from cluster.membership.core.types import Address, Member, Purpose, Status, Update
from cluster.membership.core.wire import Offer, Same, State, encode, encode_update

SCALE_FROM_MEMBERS = 32
"""Up to here every member begins an exchange each `sync_ticks`; twice as many members wait one such time longer."""


class Exchange:
    """The anti-entropy of one member."""

    def __init__(self, core: Core, beliefs: Beliefs) -> None:
        self._core = core
        self._beliefs = beliefs
        self._seeds: dict[Address, None] = {}
        self.contacts = 0
        """Exchanges with others that have come about."""
        self._next_tick = core.random(0, core.config.sync_ticks) + 1
        self._reconnect_tick = core.random(0, core.config.reconnect_ticks) + 1

    def set_seeds(self, seeds: Iterable[Address]) -> None:
        """Remembers seeds in place of earlier ones, up to `seeds_max`."""
        core = self._core
        others = (seed for seed in seeds if seed != core.own.details.address)
        self._seeds = dict.fromkeys(islice(others, core.config.seeds_max))

    def join(self) -> None:
        """Asks all seeds for what they believe."""
        core = self._core
        for seed in self._seeds:
            core.call(seed, State(core.own.name, reply_wanted=True), Purpose.SYNC, self._records({}))

    def tick(self) -> None:
        """A tick has passed."""
        core, config = self._core, self._core.config
        if core.now >= self._next_tick:
            self._next_tick = core.now + config.sync_ticks * self._scale()
            for member in core.roster.choose(1):
                self._offer(member.details.address)
        if core.now >= self._reconnect_tick:
            self._reconnect_tick = core.now + config.reconnect_ticks
            self._reconnect()

    def offered(self, offer: Offer) -> bytes:
        """Somebody compares: the answer."""
        core = self._core
        self.contacts += 1
        core.counters.syncs += 1
        if offer.digest == core.roster.digest:
            core.counters.syncs_equal += 1
            return encode(Same(core.own.name))
        return encode(State(core.own.name, reply_wanted=True), self._records({}))

    def same(self) -> None:
        """The other side believes the same."""
        self.contacts += 1
        self._core.counters.syncs += 1
        self._core.counters.syncs_equal += 1

    def exchanged(self, state: State, updates: list[Update]) -> bytes | None:
        """The other side's beliefs: takes them over, and answers, when it wants to know, with what it lacks."""
        core = self._core
        self.contacts += 1
        core.counters.syncs += 1
        # Whoever knows nobody yet learns what all others know already: that is no news to tell.
        spread = core.roster.living > 1
        for update in updates:
            self._beliefs.hear(update, exchanged=True, spread=spread)
        if not state.reply_wanted:
            return None
        return encode(State(core.own.name, reply_wanted=False), self._records({item.name: item for item in updates}))

    def _offer(self, target: Address) -> None:
        core = self._core
        offer = Offer(core.own.name, core.roster.digest)
        core.call(target, offer, Purpose.SYNC)

    def _records(self, known: dict[str, Update]) -> list[bytes]:
        """All beliefs, as far as the other side does not share them."""
        return [
            encode_update(record)
            for member in self._core.roster.members.values()
            if (record := _record(member, self._core.own.name)) != known.get(member.name)
        ]

    def _scale(self) -> int:
        living = self._core.roster.living
        if living <= SCALE_FROM_MEMBERS:
            return 1
        return 1 + math.ceil(math.log2(living / SCALE_FROM_MEMBERS))

    def _reconnect(self) -> None:
        """Looks for one that is away; so seldom that all members together do so about once each time."""
        core, roster = self._core, self._core.roster
        failed = [member.details.address for member in roster.gone(Status.FAILED)]
        if self._seeds:
            here = {member.details.address for member in roster.members.values() if member.living}
            failed += [seed for seed in self._seeds if seed not in here]
        others = roster.living - 1
        if failed and (others <= 0 or core.random(0, others) < len(failed)):
            self._offer(failed[core.random(0, len(failed))])


def _record(member: Member, reporter: str) -> Update:
    origin = reporter if member.status in (Status.SUSPECT, Status.FAILED) else ""
    return Update(member.name, member.status, member.incarnation, member.details, origin)
