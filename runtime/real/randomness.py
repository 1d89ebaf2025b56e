"""The kernel's randomness."""

import os
import random


class SystemRandomness:
    """Draws from the kernel's generator; see `runtime.Randomness`.

    A userspace generator would be faster, but a forked process would repeat its parent's numbers, and a draw costs
    less than a microsecond as it is.
    """

    __slots__ = ("_source",)

    def __init__(self) -> None:
        self._source = random.SystemRandom()

    def random(self) -> float:
        """A float in [0, 1)."""
        return self._source.random()

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high). Raises ValueError when the range is empty."""
        return self._source.randrange(low, high)

    def bytes(self, length: int) -> bytes:
        """`length` bytes fit for keys."""
        return os.urandom(length)
