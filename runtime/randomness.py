"""The door to randomness."""

from typing import Protocol


class Randomness(Protocol):
    """Draws numbers that nobody outside can predict in production, and that a seed decides in the simulator."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high), both ends as in `range`. Raises ValueError when the range is empty."""
        ...

    def bytes(self, length: int) -> bytes:
        """`length` random bytes, fit for keys and credentials in production."""
        ...
