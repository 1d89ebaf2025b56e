"""What `Connection.receive` reports, in the order in which it happened."""

from cluster.rpc.http2.errors import ErrorCode
from cluster.rpc.http2.headers import HeaderBlock
from cluster.rpc.http2.stream import Stream


class Event:
    """Something the peer did. Slotted classes rather than dataclasses: two of these are made for every call."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({values})"


class HeadersReceived(Event):
    """A request (server), a final response (client), or trailers. Informational responses are not reported."""

    __slots__ = ("block", "ended", "stream", "trailers")

    def __init__(self, stream: Stream, block: HeaderBlock, ended: bool, trailers: bool) -> None:
        self.stream = stream
        self.block = block
        self.ended = ended
        """The peer sends nothing more on this stream."""
        self.trailers = trailers


class DataReceived(Event):
    """Bytes on a stream. Unless `ended`, `credit` must go back through `Connection.consume` once they are used."""

    __slots__ = ("credit", "data", "ended", "stream")

    def __init__(self, stream: Stream, data: bytes, credit: int, ended: bool) -> None:
        self.stream = stream
        self.data = data
        self.credit = credit
        """Bytes of window, padding included. 0 when `ended`: nothing more may be sent anyway."""
        self.ended = ended


class ReplyReceived(Event):
    """A whole response that came in one piece: headers, one DATA frame, trailers. The stream is closed.

    What three events would have said, when nothing about them is unusual: half of a client's work for a small call.
    """

    __slots__ = ("data", "head", "stream", "trailers")

    def __init__(self, stream: Stream, head: HeaderBlock, data: bytes, trailers: HeaderBlock) -> None:
        self.stream = stream
        self.head = head
        self.data = data
        """Needs no credit: the stream has ended."""
        self.trailers = trailers


class StreamEnded(Event):
    """A stream is over before its time: reset by the peer, by us for the peer's fault, or refused by GOAWAY."""

    __slots__ = ("code", "reason", "remote", "stream", "unprocessed")

    def __init__(self, stream: Stream, code: int, reason: str, *, remote: bool, unprocessed: bool = False) -> None:
        self.stream = stream
        self.code = code
        self.reason = reason
        self.remote = remote
        """The peer reset it. Otherwise we did."""
        self.unprocessed = unprocessed
        """The peer certainly did nothing for this stream: definite, safe to retry."""


class StreamDrained(Event):
    """What was queued on a stream has fallen to its low mark: its writer may go on."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        self.stream = stream


class SettingsReceived(Event):
    """The peer's settings have changed, and are acknowledged."""

    __slots__ = ()


class PingAcknowledged(Event):
    """The peer answered our ping."""

    __slots__ = ("opaque",)

    def __init__(self, opaque: bytes) -> None:
        self.opaque = opaque


class PingReceived(Event):
    """The peer pinged, and is answered. Reported for keepalive's sake."""

    __slots__ = ()


class GoAwayReceived(Event):
    """The peer takes no new streams. Those above `last_stream_id` have ended before this event."""

    __slots__ = ("code", "debug", "last_stream_id")

    def __init__(self, last_stream_id: int, code: int, debug: bytes) -> None:
        self.last_stream_id = last_stream_id
        self.code = code
        self.debug = debug


class ConnectionFailed(Event):
    """The peer broke the protocol: GOAWAY is in the output, and nothing more is read. Close after flushing."""

    __slots__ = ("code", "reason")

    def __init__(self, code: ErrorCode, reason: str) -> None:
        self.code = code
        self.reason = reason
