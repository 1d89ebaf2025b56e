"""What a member thinks of its own health (Lifeguard, section IV.A).

Invariant: 0 <= score <= health_max. A member that misses answers from several others at once is probably slow itself;
it then gives the others more time, instead of accusing them.
"""


class LocalHealth:
    """A saturating counter: 0 is well."""

    __slots__ = ("_max", "score")

    def __init__(self, score_max: int) -> None:
        self._max = score_max
        self.score = 0

    @property
    def multiplier(self) -> int:
        """By how much probes are slowed down and waited for: 1 when well."""
        return self.score + 1

    def worse(self, by: int) -> None:
        """Something speaks against this member itself: unanswered helpers, a suspicion to refute."""
        self.score = min(self._max, self.score + by)

    def better(self) -> None:
        """A probe was answered in time."""
        if self.score:
            self.score -= 1
