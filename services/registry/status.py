"""What the checks of this process tell of themselves."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CheckCounts:
    """See `StatusResponse`."""

    owned: int = 0
    """Checks that this process runs."""
    is_preserving: bool = False
    """Too many failed at once: their flips to critical are held back."""
    held_back: int = 0


class CountsChecks(Protocol):
    """Whoever runs the checks."""

    def counts(self) -> CheckCounts:
        """As of now."""
        ...


class NoChecks:
    """Nobody does."""

    def counts(self) -> CheckCounts:
        """None."""
        return CheckCounts()
