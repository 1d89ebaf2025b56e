"""Faults of the network. What is cut is lost and sent again; what is clogged is held back."""

import asyncio
from collections.abc import Iterable
from typing import Literal

from orrery.sim.faults.nemesis import Cluster, Nemesis
from runtime.sim import SimHost

SWIZZLE_GAP_S_MAX = 1.0
"""Between two hosts that swizzle-clog clogs or unclogs."""


class _Cuts(Nemesis):
    """Remembers which directions it cut, and mends those."""

    def __init__(self) -> None:
        self._cuts: list[tuple[str, str]] = []

    def _cut(self, cluster: Cluster, source: SimHost, target: SimHost) -> None:
        cluster.world.net.cut(source.name, target.name, both=False)
        self._cuts.append((source.name, target.name))

    def _part(self, cluster: Cluster, side: Iterable[SimHost], other: Iterable[SimHost]) -> None:
        others = list(other)
        for one in side:
            for another in others:
                self._cut(cluster, one, another)
                self._cut(cluster, another, one)

    async def _heal(self, cluster: Cluster) -> None:
        cuts, self._cuts = self._cuts, []
        for source, target in cuts:
            cluster.world.net.mend(source, target, both=False)


def _split(hosts: Iterable[SimHost], cluster: Cluster) -> tuple[list[SimHost], list[SimHost]]:
    """Each host goes to one side or the other."""
    sides: tuple[list[SimHost], list[SimHost]] = ([], [])
    for host in hosts:
        sides[cluster.world.random.randrange(2)].append(host)
    return sides


class Halves(_Cuts):
    """Two sides, one of which has a majority; the clients are on both."""

    name = "halves"

    async def _strike(self, cluster: Cluster) -> None:
        members = cluster.world.random.sample(cluster.members, len(cluster.members))
        majority = len(members) // 2 + 1
        with_majority, with_minority = _split(cluster.clients, cluster)
        self._part(cluster, members[:majority] + with_majority, members[majority:] + with_minority)


class Isolate(_Cuts):
    """One member, and a client beside it, against everybody else; or the member can only send, or only hear."""

    name = "isolate"

    def __init__(self, *, open_way: Literal["none", "out", "in"] = "none") -> None:
        super().__init__()
        self._open_way = open_way

    async def _whom(self, cluster: Cluster) -> SimHost:
        return cluster.world.random.choice(cluster.members)

    async def _strike(self, cluster: Cluster) -> None:
        member = await self._whom(cluster)
        # A member that nobody asks does no harm: a client is cut off together with it.
        beside = cluster.world.random.choice(cluster.clients) if cluster.clients else None
        member.tell(f"isolated{'' if self._open_way == 'none' else f', but the way {self._open_way}'}")
        inside = [member] if beside is None else [member, beside]
        for host in (*cluster.members, *cluster.clients):
            if host in inside:
                continue
            for inner in inside:
                if self._open_way != "out" or inner is not member:
                    self._cut(cluster, inner, host)
                if self._open_way != "in" or inner is not member:
                    self._cut(cluster, host, inner)


class IsolateLeader(Isolate):
    """As `Isolate`, and it is the member that leads."""

    name = "isolate-leader"

    async def _whom(self, cluster: Cluster) -> SimHost:
        return await cluster.leader() or await super()._whom(cluster)


class Bridge(_Cuts):
    """Two halves that do not see each other, and one member that sees both (after Jepsen's `bridge`)."""

    name = "bridge"

    async def _strike(self, cluster: Cluster) -> None:
        members = cluster.world.random.sample(cluster.members, len(cluster.members))
        middle = len(members) // 2
        members[middle].tell("is the bridge")
        self._part(cluster, members[:middle], members[middle + 1 :])


class OneWayCut(_Cuts):
    """What one member sends to another is lost; the other way is open."""

    name = "one-way-cut"

    async def _strike(self, cluster: Cluster) -> None:
        source, target = cluster.world.random.sample(cluster.members, 2)
        self._cut(cluster, source, target)


class RingMajority(_Cuts):
    """Every member hears a majority, and no two the same one (after Jepsen's `majorities-ring`)."""

    name = "ring-majority"

    async def _strike(self, cluster: Cluster) -> None:
        ring = cluster.world.random.sample(cluster.members, len(cluster.members))
        count = len(ring)
        window = count // 2 + 1
        for place, listener in enumerate(ring):
            heard = {(place + step - window // 2) % count for step in range(window)}
            for other in range(count):
                if other not in heard:
                    self._cut(cluster, ring[other], listener)


class SwizzleClog(Nemesis):
    """Clogs some members, one by one in random order, and unclogs them in another order (after FoundationDB)."""

    name = "swizzle-clog"

    def __init__(self) -> None:
        self._clogged: list[SimHost] = []

    async def _strike(self, cluster: Cluster) -> None:
        random = cluster.world.random
        for member in random.sample(cluster.members, random.randint(1, len(cluster.members))):
            self._clogged.append(member)
            member.tell("clogged")
            self._set(cluster, member, clogged=True)
            await asyncio.sleep(random.uniform(0, SWIZZLE_GAP_S_MAX))

    async def _heal(self, cluster: Cluster) -> None:
        random = cluster.world.random
        random.shuffle(self._clogged)
        while self._clogged:
            member = self._clogged.pop()
            member.tell("unclogged")
            self._set(cluster, member, clogged=False)
            await asyncio.sleep(random.uniform(0, SWIZZLE_GAP_S_MAX))

    def _set(self, cluster: Cluster, member: SimHost, *, clogged: bool) -> None:
        net = cluster.world.net
        for other in (*cluster.members, *cluster.clients):
            # A direction between two clogged members stays so until both are unclogged.
            if other is not member and (clogged or other not in self._clogged):
                (net.clog if clogged else net.unclog)(member.name, other.name, both=True)


class SlowNetwork(Nemesis):
    """One member's links are slow, both ways."""

    name = "slow-network"

    def __init__(self, *, factor: float = 50.0) -> None:
        self._factor = factor
        self._slowed: list[tuple[str, str]] = []

    async def _strike(self, cluster: Cluster) -> None:
        member = cluster.world.random.choice(cluster.members)
        for other in cluster.members:
            if other is not member:
                self._slowed += [(member.name, other.name), (other.name, member.name)]
        for source, target in self._slowed:
            cluster.world.net.slow(source, target, self._factor)

    async def _heal(self, cluster: Cluster) -> None:
        while self._slowed:
            source, target = self._slowed.pop()
            cluster.world.net.slow(source, target, 1.0)


class BreakConnections(Nemesis):
    """Connections of one member to another host break; with `half_open` only the other one hears of it."""

    name = "break-connections"

    def __init__(self, *, half_open: bool = False) -> None:
        self._half_open = half_open

    async def _strike(self, cluster: Cluster) -> None:
        random, net = cluster.world.random, cluster.world.net
        member = random.choice(cluster.members)
        other = random.choice([host for host in (*cluster.members, *cluster.clients) if host is not member])
        (net.half_open if self._half_open else net.reset)(member.name, other.name)

    async def _heal(self, cluster: Cluster) -> None:
        pass  # Who needs a connection makes a new one.
