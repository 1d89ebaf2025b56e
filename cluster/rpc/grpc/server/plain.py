"""The answer to HTTP/2 requests that are not gRPC: a status and a line of text."""

from typing import TYPE_CHECKING

from cluster.rpc.http2 import Stream, encode_headers

if TYPE_CHECKING:
    from cluster.rpc.grpc.server.connection import ServerConnection

_TEXTS = {b"405": b"gRPC requests are POST.\n", b"415": b"Only content-type application/grpc is served here.\n"}


class PlainAnswer:
    """Waits for the end of the request and answers it: an earlier answer would have to reset the stream."""

    def __init__(self, connection: "ServerConnection", stream: Stream, status: bytes) -> None:
        self._connection = connection
        self._stream = stream
        self._status = status

    def on_data(self, data: bytes, credit: int, ended: bool) -> None:
        """Throws the body away."""
        if credit:
            self._connection.http2.consume(self._stream, credit)
        if ended:
            self.on_end()

    def on_end(self) -> None:
        """Answers."""
        text = _TEXTS[self._status]
        fields = [
            (b":status", self._status),
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(text)),
        ]
        self._connection.http2.send_headers(self._stream, encode_headers(fields))
        self._connection.http2.send_data(self._stream, text, ends=True)

    def on_stream_ended(self) -> None:
        """Nothing is lost."""

    def on_drained(self) -> None:
        """Nothing more is to be written."""

    def shut_down(self, details: str) -> None:
        """Nothing to say."""
