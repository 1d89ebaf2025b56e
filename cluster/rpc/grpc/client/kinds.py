"""The four kinds of call, put together from the ways in which they send and answer."""

import logging
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.rpc.grpc.client.requests import StreamRequest
from cluster.rpc.grpc.client.responses import StreamResponse, UnaryResponse
from cluster.rpc.grpc.metadata import Pairs
from cluster.rpc.grpc.transport import CALL_BYTES
from cluster.rpc.http2 import Stream

if TYPE_CHECKING:
    from cluster.rpc.grpc.client.channel import Channel
    from cluster.rpc.grpc.client.connection import ClientConnection
    from cluster.rpc.grpc.client.multicallable import MethodStub

log = logging.getLogger(__name__)


class UnaryUnaryCall(UnaryResponse, grpc.aio.UnaryUnaryCall):  # type: ignore[misc,type-arg]
    """One message each way."""

    request: bytes = b""
    """Framed; kept, because a call that no server touched is sent anew."""

    def __init__(self, channel: "Channel", method: "MethodStub", timeout: float | None, metadata: Pairs) -> None:
        if timeout is not None:
            super().__init__(channel, method, timeout, metadata)
            return
        # What the two constructors above come to, without calling them: this one is for each unary call.
        self._channel = channel
        self._method = method
        self._metadata = metadata
        self._result = channel.loop.create_future()

    def _open(self, connection: "ClientConnection", block: bytes) -> Stream:
        stream = connection.http2.request(block, self.request)
        connection.schedule_flush(len(self.request) + CALL_BYTES)
        return stream

    def _can_resend(self) -> bool:
        return True


class UnaryStreamCall(StreamResponse, grpc.aio.UnaryStreamCall):  # type: ignore[type-arg]
    """One message to the server, a stream back."""

    request: bytes = b""
    """Framed; kept, because a call that no server touched is sent anew."""

    def _open(self, connection: "ClientConnection", block: bytes) -> Stream:
        stream = connection.http2.request(block, self.request)
        connection.schedule_flush(len(self.request) + CALL_BYTES)
        return stream

    def _can_resend(self) -> bool:
        return True


class StreamUnaryCall(StreamRequest, UnaryResponse, grpc.aio.StreamUnaryCall):  # type: ignore[misc,type-arg]
    """A stream to the server, one message back."""


class StreamStreamCall(StreamRequest, StreamResponse, grpc.aio.StreamStreamCall):  # type: ignore[type-arg]
    """Streams both ways."""
