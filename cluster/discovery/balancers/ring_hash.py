"""Calls of one key at one target, by a consistent hash ring: what a target has in its caches is of use again.

A target that is not usable keeps its points: its keys go to those that follow it on the ring, and come back with it,
and no other key moves. With a bound, a target that has more than so many times its share of the calls in flight passes
further calls on in the same way.

Pick: O(log points) where the key's own target takes it; a call without a key goes to a random place. update: O(points)
for each target that comes, goes, or changes its weight; O(n) otherwise.
"""

from collections.abc import Collection, Sequence
from math import ceil
from typing import Generic

from cluster.discovery.balancers.balancer import TargetT
from cluster.discovery.balancers.draws import draw
from runtime import Randomness
from structures.hash_ring import POINTS, HashRing, ring_hash

POINTS_OF_TARGET_MAX = 16 * POINTS
"""A weight beyond 16 counts as 16, since a ring costs memory and time for each point."""
POINTS_OF_RING_MAX = 1 << 16
"""Beyond it each target gets fewer points, and loads stray more."""
POINTS_MIN = 4


class RingHash(Generic[TargetT]):
    """Keeps keys together; `load_max` bounds what that may cost."""

    keeps_keys = True

    def __init__(self, random: Randomness, load_max: float | None = None) -> None:
        """`load_max`: how many times its share of all calls in flight a target may have; None: any.

        Raises ValueError for a bound of 1 or less, which leaves no room to keep anything together.
        """
        if load_max is not None and load_max <= 1.0:
            raise ValueError("load_max is a multiple of the mean load above 1")
        self._random = random
        self._draws: list[float] = []
        self._load_max = load_max
        self._ring = HashRing()
        self._targets: dict[str, TargetT] = {}
        self._usable: list[TargetT] = []
        self._weight = 0

    def update(self, targets: Sequence[TargetT], usable: Sequence[TargetT]) -> None:
        """See `Balancer`."""
        self._targets = {target.address: target for target in targets}
        self._usable = list(usable)
        self._weight = sum(target.weight for target in usable)
        each = _points_each(len(targets))
        wanted = {target.address: min(POINTS_OF_TARGET_MAX, target.weight * each) for target in targets}
        ring = self._ring
        if wanted == ring.nodes:
            return
        changed = [address for address, points in wanted.items() if ring.nodes.get(address) != points]
        gone = [address for address in ring.nodes if address not in wanted]
        if len(changed) + len(gone) > max(4, len(wanted) // 8):
            self._ring = HashRing(wanted)
            return
        for address in gone:
            ring.remove(address)
        for address in changed:
            ring.place(address, wanted[address])

    def pick(self, key: bytes | None, tried: Collection[TargetT], in_flight: int) -> TargetT | None:
        """See `Balancer`."""
        if not self._usable:
            return None
        place = ring_hash(key) if key is not None else self._anywhere()
        target = self._targets[self._ring.lookup(place)]
        if target.is_usable and target not in tried and (self._load_max is None or self._has_room(target, in_flight)):
            return target
        spare: TargetT | None = None
        for address in self._ring.walk(place):
            target = self._targets[address]
            if target.is_usable and target not in tried:
                if self._has_room(target, in_flight):
                    return target
                spare = spare or target
        # The bounds of all usable targets together hold every call; with some of them tried, the rest may be full.
        return spare

    def _anywhere(self) -> int:
        if not self._draws:
            self._draws = draw(self._random)
        return int(self._draws.pop() * (1 << 64))

    def _has_room(self, target: TargetT, in_flight: int) -> bool:
        if self._load_max is None:
            return True
        # Counted with the call that is to be placed.
        return target.in_flight < ceil(self._load_max * (in_flight + 1) * target.weight / self._weight)


def _points_each(targets: int) -> int:
    """Points of a target of weight 1: the same for any usual number of targets, so that none of them moves."""
    each = POINTS
    while each > POINTS_MIN and each * targets > POINTS_OF_RING_MAX:
        each //= 2
    return each
