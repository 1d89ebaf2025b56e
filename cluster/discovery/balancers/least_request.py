"""The less busy one of two random ones.

Comparing two is nearly as good as comparing all, costs nothing, and does not send everybody's calls to the one target
that is idle at the moment: the fullest of n targets is ahead of the mean by log log n instead of log n / log log n
(Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001).

With weights, the two are drawn in proportion to them, and calls in flight count divided by them; equal ones go to the
one that was drawn first, so that idle targets, too, are picked in proportion to their weights.

Pick: O(1) with equal weights, O(log n) otherwise; O(n) when a target that was tried is drawn. update: O(n).
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Generic

from cluster.discovery.balancers.balancer import TargetT
from cluster.discovery.balancers.draws import draw
from runtime import Randomness


class LeastRequest(Generic[TargetT]):
    """Looks at calls in flight from this process only: others' are unknown, and independent."""

    keeps_keys = False

    def __init__(self, random: Randomness) -> None:
        self._random = random
        self._draws: list[float] = []
        self._targets: list[TargetT] = []
        self._ends: list[int] | None = None
        """Sums of weights up to each target; None: all weigh the same."""

    def update(self, targets: Sequence[TargetT], usable: Sequence[TargetT]) -> None:
        """See `Balancer`."""
        self._targets = list(usable)
        is_even = all(target.weight == usable[0].weight for target in usable)
        self._ends = None if is_even else list(accumulate(target.weight for target in usable))

    def pick(self, key: bytes | None, tried: Collection[TargetT], in_flight: int) -> TargetT | None:
        """See `Balancer`."""
        targets = self._targets
        if tried:
            targets = [target for target in targets if target not in tried]
            if not targets:
                return None
        count = len(targets)
        if count < 2:
            return targets[0] if targets else None
        if not self._draws:
            self._draws = draw(self._random)
        if self._ends is not None:
            ends = self._ends if targets is self._targets else list(accumulate(target.weight for target in targets))
            return self._pick_weighted(targets, ends)
        # One draw for both: what is left of it below the first's place is random still, and a draw is what costs.
        drawn = self._draws.pop() * count
        first = int(drawn)
        second = int((drawn - first) * (count - 1))
        if second >= first:
            second += 1
        one, other = targets[first], targets[second]
        return one if one.in_flight <= other.in_flight else other

    def _pick_weighted(self, targets: Sequence[TargetT], ends: Sequence[int]) -> TargetT:
        """The less busy of two different ones, each drawn in proportion to its weight."""
        total = ends[-1]
        drawn = self._draws.pop() * total
        first = bisect_right(ends, drawn)
        one = targets[first]
        weight = one.weight
        start = ends[first] - weight
        # The share of the draw within the first's stretch is random in [0, 1): it draws among the others.
        drawn = (drawn - start) / weight * (total - weight)
        if drawn >= start:
            drawn += weight
        second = bisect_right(ends, drawn)
        if second == first or second == len(targets):
            # Rounding at the edge of a stretch.
            second = first - 1 if first else 1
        other = targets[second]
        return one if one.in_flight * other.weight <= other.in_flight * weight else other
