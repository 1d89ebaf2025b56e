"""How long the engine's commits took: the histogram that etcd's dashboards read beside that of the log's syncs."""

from bisect import bisect_left
from itertools import accumulate

BOUNDS_S = tuple(0.001 * 2**power for power in range(14))
"""etcd's buckets: from 1 ms to 8.2 s."""


class CommitTimes:
    """Counts by bucket. Is read when somebody asks for metrics, so it needs none itself."""

    def __init__(self) -> None:
        self.sum_s = 0.0
        self._counts = [0] * (len(BOUNDS_S) + 1)

    def observe(self, seconds: float) -> None:
        """Takes one measurement."""
        self.sum_s += seconds
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1

    def cumulative(self) -> list[int]:
        """How many took no longer than each of BOUNDS_S, and how many there were at all."""
        return list(accumulate(self._counts))
