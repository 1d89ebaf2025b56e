"""What the checks of this process tell of themselves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckCounts:
    """See `StatusResponse`."""

    owned: int = 0
    """Checks that this process runs."""
    is_preserving: bool = False
    """Too many failed at once: their flips to critical are held back."""
    held_back: int = 0
