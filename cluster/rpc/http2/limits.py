"""What one connection may cost us, and how often a peer may make us work for nothing.

Floods that these stop: concurrent streams; rapid reset (CVE-2023-44487); CONTINUATION without end (CVE-2024-27316);
SETTINGS, PING, PRIORITY, empty DATA and tiny WINDOW_UPDATE floods (CVE-2019-9511 to 9518); HPACK bombs; replies to
control frames that the peer never reads. Memory for one connection is bounded by
`streams_max * (stream_window_bytes + what the application keeps)`, and received bytes that nobody has consumed by
`unconsumed_bytes_max` plus one connection window.
"""

from dataclasses import dataclass

from cluster.rpc.http2.errors import ErrorCode, RemoteFault


@dataclass(frozen=True, slots=True)
class Allowance:
    """A token bucket's size and refill."""

    burst: int
    """Tokens at the start, and at most."""
    rate_per_s: float
    """Tokens that come back each second."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Named limits of one connection, for either role."""

    streams_max: int = 1000
    """Streams that the peer may have open at once. More are refused (REFUSED_STREAM: safe to retry)."""
    stream_window_bytes: int = 256 * 1024
    """What the peer may send on one stream ahead of our consumption. At least 65,535, which peers assume until they
    have read our settings."""
    connection_window_bytes: int = 4 * 1024 * 1024
    """What the peer may have in flight on all streams together. At least 65,535."""
    unconsumed_bytes_max: int = 64 * 1024 * 1024
    """Received bytes that the application has not consumed, beyond which the connection's window stays shut."""
    frame_bytes_max: int = 16_384
    """Largest frame payload that we take (SETTINGS_MAX_FRAME_SIZE), 16,384 or more. The protocol's smallest keeps
    one stream's bulk from holding up the others."""
    header_list_bytes_max: int = 64 * 1024
    """Largest decoded header list, counted as RFC 9113 section 10.5.1 does. Larger ones lose their stream."""
    header_block_bytes_max: int = 128 * 1024
    """Largest encoded header block, over all its CONTINUATION frames. Larger ones lose the connection."""
    continuations_max: int = 32
    """CONTINUATION frames of one header block."""
    header_cache_bytes_max: int = 64 * 1024
    """Memory for decoded header blocks that came before."""
    control_replies_max: int = 1000
    """Replies to control frames kept while the peer does not read."""
    idle_work: Allowance = Allowance(burst=10_000, rate_per_s=1_000.0)
    """Frames that carry nothing: SETTINGS, PING, PRIORITY, empty DATA, WINDOW_UPDATE, unknown types."""
    resets: Allowance = Allowance(burst=1_000, rate_per_s=200.0)
    """Streams that the peer opened and then reset, or that we reset because of what it sent."""

    def __post_init__(self) -> None:
        if min(self.stream_window_bytes, self.connection_window_bytes) < 65_535:
            raise ValueError("windows below 65,535 bytes cannot be enforced before the peer has read our settings")
        if not 16_384 <= self.frame_bytes_max <= 16_777_215:
            raise ValueError("frame_bytes_max must lie in 16,384 .. 16,777,215 (RFC 9113 section 6.5.2)")


TOKENS_PER_USEFUL = 4
"""Measured with grpcio's client: 1.9 frames that carry nothing for each small answer."""


class Guard:
    """Charges a peer for frames that make work and carry nothing. Pure: the time comes with each charge.

    Useful traffic buys tokens back, TOKENS_PER_USEFUL for each frame: grpcio gives the window of every message back
    twice, once for the stream and once for the connection, and grpc-go answers data with a PING to learn the bandwidth.
    So an honest busy peer may send thousands of such frames a second, and an idle one may not.
    """

    __slots__ = ("_allowance", "_last_s", "_last_useful", "_name", "_tokens")

    def __init__(self, allowance: Allowance, name: str) -> None:
        self._allowance = allowance
        self._name = name
        self._tokens = float(allowance.burst)
        self._last_s: float | None = None
        self._last_useful = 0

    def charge(self, now_s: float, useful: int = 0) -> None:
        """Takes one token. `useful` is a count of useful frames so far. Raises RemoteFault when none is left."""
        earned = float(useful - self._last_useful) * TOKENS_PER_USEFUL
        self._last_useful = useful
        if self._last_s is not None:
            earned += max(0.0, now_s - self._last_s) * self._allowance.rate_per_s
        self._last_s = now_s
        self._tokens = min(self._tokens + earned, float(self._allowance.burst)) - 1.0
        if self._tokens < 0.0:
            raise RemoteFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {self._name}")
