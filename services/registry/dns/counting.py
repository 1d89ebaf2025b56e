"""What the DNS servers count; only ever grows."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

SECONDS_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1)


class Protocol(StrEnum):
    """How a question came."""

    UDP = "udp"
    TCP = "tcp"


class Drop(StrEnum):
    """Why something was not answered."""

    NOT_ALLOWED = "not_allowed"
    """It came from elsewhere than `allow_from`."""
    UNANSWERABLE = "unanswerable"
    """A response, or too short to be anything."""
    NOT_SENT = "not_sent"
    """The kernel refused the answer."""
    CONNECTIONS = "connections"
    """A connection too many."""
    IDLE = "idle"
    """A connection on which nothing happened."""
    FRAME = "frame"
    """A connection whose framing makes no sense."""
    FAILED = "failed"
    """An error of ours, which is in the log."""


@dataclass(slots=True)
class DnsCounters:
    """All of it."""

    udp_answers: Counter[tuple[int, int]] = field(default_factory=Counter)
    """By type and rcode. The type is 0 where the question could not be read, or is of an unknown type."""
    tcp_answers: Counter[tuple[int, int]] = field(default_factory=Counter)
    """The same; apart, since an enumeration in a key takes longer to hash than an answer should to count."""
    truncated: int = 0
    """Answers with TC."""
    stale: int = 0
    """Answers given while kv was away."""
    plans: int = 0
    """Answers that had to be put together; the others were at hand."""
    dropped: Counter[Drop] = field(default_factory=Counter)
    connections: int = 0
    """Open now."""
    bytes_received: int = 0
    bytes_sent: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS_BUCKETS) + 1))
    seconds: float = 0.0
    """From reading a question to having its answer."""

    @property
    def answers(self) -> int:
        """All answers."""
        return self.udp_answers.total() + self.tcp_answers.total()

    def took(self, seconds: float) -> None:
        """One answer was made."""
        self.buckets[bisect_left(SECONDS_BUCKETS, seconds)] += 1
        self.seconds += seconds
