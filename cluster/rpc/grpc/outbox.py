"""Gathers the messages that a streaming call writes in one turn of the event loop into as few DATA frames as fit.

gRPC's framing does not care where a DATA frame ends; a frame a message would cost both sides several times as much as
the message itself.
"""

from typing import TYPE_CHECKING

from cluster.rpc.grpc.framing import PREFIX, PREFIX_BYTES
from cluster.rpc.http2 import Stream

if TYPE_CHECKING:
    from cluster.rpc.grpc.transport import Http2Protocol

GATHER_BYTES = 16 * 1024
"""Gathered messages are handed on once they are this long."""

_pack = PREFIX.pack


class Outbox:
    """What one call has written since its connection was last flushed."""

    __slots__ = ("_parts", "_protocol", "_stream", "size")

    def __init__(self, protocol: "Http2Protocol", stream: Stream) -> None:
        self._protocol = protocol
        self._stream = stream
        self._parts: list[bytes] = []
        self.size = 0
        """Bytes gathered and not handed on yet."""

    def put(self, flag: int, body: bytes) -> None:
        """Adds a message; `flag` 1 says that it is compressed."""
        parts = self._parts
        length = len(body)
        if not parts:
            self._protocol.outboxes.append(self)
        parts.append(_pack(flag, length))
        parts.append(body)
        self.size += length + PREFIX_BYTES
        if self.size >= GATHER_BYTES:
            self.empty()
        self._protocol.schedule_flush(length)

    def empty(self, *, ends: bool = False) -> None:
        """Hands everything to HTTP/2; with `ends`, nothing follows on this stream."""
        if not self._parts and not ends:
            return
        data = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        if not self._stream.closed:
            self._protocol.http2.send_data(self._stream, data, ends=ends)
