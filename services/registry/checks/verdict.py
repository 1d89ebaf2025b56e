"""What this process has found out about a check."""

from typing import NamedTuple

from services.registry.domain import Health


class Verdict(NamedTuple):
    """What is to be said of it, if it is not said yet."""

    health: Health
    output: str
    by_itself: bool = False
    """It was said by whom it is about, such as a node that says goodbye: believed whatever else fails."""
