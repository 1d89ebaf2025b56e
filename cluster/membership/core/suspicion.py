"""How long a suspected member has to refute (SWIM, section 4.2; Lifeguard, section IV.B).

A suspicion begins long, since whoever suspects may be the slow one. Each independent suspicion by another member
shortens it, logarithmically, down to the minimum: that others find the same, and are heard, speaks for both.
"""

import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class Suspicion:
    """One member that did not answer, at one of its incarnations."""

    incarnation: int
    started_tick: int
    ticks_min: int
    ticks_max: int
    wanted: int
    """Confirmations that bring it down to the minimum; 0: it is there from the start."""
    origins: set[str] = field(default_factory=set)
    """Who suspects, the first one included."""

    @property
    def confirmations(self) -> int:
        """Independent suspicions beside the first."""
        return max(0, len(self.origins) - 1)

    def confirm(self, origin: str) -> bool:
        """Counts a suspicion. Returns whether it is an independent one that shortens the time."""
        if origin in self.origins or self.confirmations >= self.wanted:
            return False
        self.origins.add(origin)
        return True

    @property
    def deadline_tick(self) -> int:
        """When the member has failed, unless it refutes."""
        if not self.wanted:
            return self.started_tick + self.ticks_min
        share = math.log(self.confirmations + 1) / math.log(self.wanted + 1)
        ticks = self.ticks_max - share * (self.ticks_max - self.ticks_min)
        return self.started_tick + max(self.ticks_min, math.ceil(ticks))


def shortest_ticks(factor: int, members: int, interval_ticks: int) -> int:
    """The minimum: long enough for a refutation to travel, which takes a logarithm of the number of members."""
    return math.ceil(factor * max(1.0, math.log10(max(1, members))) * interval_ticks)
