"""The outcome of a ballot."""

from enum import Enum


class VoteResult(Enum):
    """What is known of a ballot from the answers so far."""

    PENDING = "pending"
    LOST = "lost"
    WON = "won"
