"""A budget for retries: when much fails, retries would multiply the load on what is failing already.

A bucket of tokens. Each call puts a part of a token in, each retry takes a whole one out: in the long run there are at
most `ratio` retries for each call, and `reserve` in a burst (Finagle's RetryBudget, without its window of time: a
process that makes few calls has its reserve, and one that makes many needs none).
"""


class RetryBudget:
    """O(1), no clock."""

    __slots__ = ("_ratio", "_reserve", "exhausted", "tokens")

    def __init__(self, ratio: float = 0.2, reserve: float = 20.0) -> None:
        """Raises ValueError unless 0 <= ratio <= 1 and reserve is at least 1."""
        if not 0.0 <= ratio <= 1.0 or reserve < 1.0:
            raise ValueError("a retry budget has a ratio of 0..1 and a reserve of 1 or more")
        self._ratio = ratio
        self._reserve = reserve
        self.tokens = reserve
        self.exhausted = 0
        """Retries that were not made, since the start."""

    def called(self) -> None:
        """A call begins."""
        if self.tokens < self._reserve:
            self.tokens = min(self._reserve, self.tokens + self._ratio)

    def take(self) -> bool:
        """Whether a retry may be made, which it then is."""
        if self.tokens < 1.0:
            self.exhausted += 1
            return False
        self.tokens -= 1.0
        return True
