"""Randomness from a seed."""

import random


class SeededRandomness:
    """Draws from the given generator; see `runtime.Randomness`."""

    __slots__ = ("_source",)

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def random(self) -> float:
        """A float in [0, 1)."""
        return self._source.random()

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high). Raises ValueError when the range is empty."""
        return self._source.randrange(low, high)

    def bytes(self, length: int) -> bytes:
        """`length` bytes that the seed decides."""
        return self._source.randbytes(length)
