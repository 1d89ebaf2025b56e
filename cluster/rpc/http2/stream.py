"""The state of one stream (RFC 9113 section 5.1), and what waits to be sent on it."""

from collections import deque


class Queued:
    """Something that could not go out at once: a header block, or data of which `at` bytes are sent."""

    __slots__ = ("at", "ends", "is_headers", "payload")

    def __init__(self, payload: bytes, *, is_headers: bool, ends: bool) -> None:
        self.payload = payload
        self.is_headers = is_headers
        self.ends = ends
        self.at = 0


class Stream:
    """One stream. A stream that is closed on both sides is forgotten by its connection.

    `idle` and `reserved` have no object; `half-closed (local)` is `local_ended`, `half-closed (remote)` is
    `remote_ended`, `closed` is `closed`.
    """

    __slots__ = (
        "closed",
        "end_sent",
        "expected_bytes",
        "id",
        "local_ended",
        "owed",
        "owner",
        "queue",
        "queued_bytes",
        "receive_window",
        "remote_ended",
        "remote_headers",
        "send_window",
        "unconsumed",
    )

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.send_window = send_window
        """May be negative after the peer has lowered its initial window (section 6.9.2)."""
        self.receive_window = receive_window
        self.unconsumed = 0
        """Received and not yet consumed."""
        self.owed = 0
        """Consumed, but the peer was not told yet."""
        self.local_ended = False
        """We sent END_STREAM, or have it queued."""
        self.end_sent = False
        """END_STREAM has gone out."""
        self.remote_ended = False
        self.remote_headers = False
        """The peer's first (final) header list has come, so the next is trailers."""
        self.closed = False
        self.expected_bytes = -1
        """What content-length still promises; -1 when it promised nothing."""
        self.queue: deque[Queued] | None = None
        self.queued_bytes = 0
        """Data that waits for a window or for the transport."""
        self.owner: object | None = None
        """For the layer above: its call."""

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"local_ended={self.local_ended} remote_ended={self.remote_ended}"
        return f"Stream({self.id}, {state}, send_window={self.send_window}, queued={self.queued_bytes})"
