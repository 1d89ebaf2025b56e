"""One after another; the heavier ones more often, and evenly among the others.

With weights that is earliest deadline first, as Envoy has it: target i is due at the times 0.5/w, 1.5/w, 2.5/w of
virtual time, and the one that is due first comes next. In each stretch of as many picks as the weights sum up to, each
target comes exactly as often as its weight says, spread over the stretch: weights 5, 1, 1 give a a a b c a a. nginx's
smooth weighted round robin keeps the same counts, but looks at all targets for each pick.

Pick: O(1) with equal weights, O(log n) otherwise, and O(tried) more; update: O(n).
"""

from collections.abc import Collection, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic

from cluster.discovery.balancers.balancer import TargetT
from runtime import Randomness

Due = tuple[int, float, int, int]
"""Turn, time within the turn, place of the target, number of the pick within the turn. Turns instead of ever larger
times: quotients of equal value are equal floats, and so ties are seen as such for ever."""


class RoundRobin(Generic[TargetT]):
    """Starts at a random place, so that processes that start together do not walk together."""

    keeps_keys = False

    def __init__(self, random: Randomness) -> None:
        self._random = random
        self._targets: list[TargetT] = []
        self._next = 0
        self._due: list[Due] | None = None
        """None: all weigh the same."""

    def update(self, targets: Sequence[TargetT], usable: Sequence[TargetT]) -> None:
        """See `Balancer`."""
        self._targets = list(usable)
        if not usable:
            self._due = None
            return
        self._next = self._random.integer(0, len(usable))
        if all(target.weight == usable[0].weight for target in usable):
            self._due = None
            return
        # Ties go by a random order: among processes, no target shall always come first.
        start = self._next
        self._targets = [*usable[start:], *usable[:start]]
        self._due = [(0, 0.5 / target.weight, place, 1) for place, target in enumerate(self._targets)]
        heapify(self._due)
        for _ in range(self._random.integer(0, len(usable))):
            self._advance(self._due)

    def pick(self, key: bytes | None, tried: Collection[TargetT], in_flight: int) -> TargetT | None:
        """See `Balancer`."""
        targets = self._targets
        if self._due is not None:
            return self._pick_due(self._due, tried)
        for _ in range(len(tried) + 1):
            if not targets:
                return None
            at = self._next
            if at >= len(targets):
                at = 0
            self._next = at + 1
            target = targets[at]
            if target not in tried:
                return target
        # Tried ones that are not usable any more, or that were met twice: rare enough to look at all.
        return next((target for target in targets if target not in tried), None)

    def _pick_due(self, due: list[Due], tried: Collection[TargetT]) -> TargetT | None:
        if not tried:
            return self._targets[self._advance(due)]
        passed: list[Due] = []
        try:
            while due:
                if self._targets[due[0][2]] not in tried:
                    return self._targets[self._advance(due)]
                # It keeps its turn: that it was tried in this call is no reason to skip it in the next.
                passed.append(heappop(due))
            return None
        finally:
            for entry in passed:
                heappush(due, entry)

    def _advance(self, due: list[Due]) -> int:
        """Takes what is due first, and puts its next time in; the place of the target."""
        turn, _, place, number = due[0]
        weight = self._targets[place].weight
        if number == weight:
            heapreplace(due, (turn + 1, 0.5 / weight, place, 1))
        else:
            heapreplace(due, (turn, (number + 0.5) / weight, place, number + 1))
        return place
