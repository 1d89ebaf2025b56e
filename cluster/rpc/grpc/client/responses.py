"""The two ways in which a call answers: with one message, or with a stream of them."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.rpc.grpc.client.call import ClientCall
from cluster.rpc.grpc.client.head import ResponseHead, ResponseTrailers
from cluster.rpc.grpc.framing import MESSAGE_OVERHEAD_BYTES, PREFIX_BYTES, CallFault
from cluster.rpc.grpc.metadata import Pairs
from cluster.rpc.grpc.status import OK
from cluster.rpc.http2 import ErrorCode

if TYPE_CHECKING:
    from cluster.rpc.grpc.client.channel import Channel
    from cluster.rpc.grpc.client.multicallable import MethodStub

log = logging.getLogger(__name__)

READ_AHEAD_BYTES = 64 * 1024
"""Complete messages that wait for their reader, beyond which the peer's window is not opened again."""


class UnaryResponse(ClientCall):
    """A call that answers with one message."""

    _body: bytes | None = None
    _bodies = 0

    def __init__(self, channel: "Channel", method: "MethodStub", timeout: float | None, metadata: Pairs) -> None:
        super().__init__(channel, method, timeout, metadata)
        self._result: asyncio.Future[object] = channel.loop.create_future()

    def on_data(self, data: bytes, credit: int, ended: bool) -> None:
        """The usual response is one message in one frame; anything else goes the long way."""
        if (
            self._assembler is None
            and not self._ended
            and not ended
            and data[:1] == b"\0"
            and int.from_bytes(data[1:5], "big") == len(data) - 5
            and self._bodies == 0
            and len(data) - 5 <= self._channel.options.receive_bytes_max
        ):
            self._body = data[5:]
            self._bodies = 1
            # The stream is about to end, so its window needs no credit, and its end settles the connection's.
            return
        super().on_data(data, credit, ended)

    def on_reply(self, head: ResponseHead, data: bytes, trailers: ResponseTrailers) -> None:
        """Nearly every response of nearly every unary call: one uncompressed message, and OK."""
        if (
            head.code is OK
            and trailers.code is OK
            and not self._ended
            and data[0] == 0
            and int.from_bytes(data[1:5], "big") == len(data) - PREFIX_BYTES
            and len(data) - PREFIX_BYTES <= self._channel.options.receive_bytes_max
        ):
            self._head = head
            self._initial = head.metadata
            self._body = data[PREFIX_BYTES:]
            self._bodies = 1
            if self._waited or self._callbacks is not None or self._timer is not None:
                self._end(OK, trailers.details, trailers.metadata)
                return
            # `_end`, without what nobody asked for.
            self._ended = True
            self._code = OK
            self._details = trailers.details
            self._trailing = trailers.metadata
            if self._stream is not None:
                self._stream.owner = None
            self._on_ended()
        else:
            super().on_reply(head, data, trailers)

    def _on_messages(self, messages: list[bytes]) -> None:
        if messages:
            self._body = messages[-1]
            self._bodies += len(messages)
            if self._bodies > 1:
                raise CallFault(grpc.StatusCode.INTERNAL, "more than one message in the response of a unary call")
        self._give_credit()

    def _on_ended(self) -> None:
        result = self._result
        if result.done():
            return
        if self._code is OK:
            if self._body is None:
                self._code = grpc.StatusCode.INTERNAL
                self._details = "a unary call without a response"
            else:
                try:
                    result.set_result(self._method.deserialize(self._body))
                    return
                except Exception as error:
                    log.exception("%s: the response does not deserialize", self._method.path)
                    self._code = grpc.StatusCode.INTERNAL
                    self._details = f"Failed to deserialize response: {error}"
        # Resolved rather than failed: nobody may be waiting, and that is no error.
        result.set_result(None)

    def __await__(self) -> Generator[object, None, object]:
        """The response. Raises AioRpcError, or CancelledError when this side cancelled."""
        if not self._ended:
            try:
                yield from self._result
            except asyncio.CancelledError:
                self.cancel()
                raise
        if self._code is not OK:
            self._raise_status()
        return self._result.result()


class StreamResponse(ClientCall):
    """A call that answers with a stream of messages."""

    def __init__(self, channel: "Channel", method: "MethodStub", timeout: float | None, metadata: Pairs) -> None:
        super().__init__(channel, method, timeout, metadata)
        self._messages: deque[bytes] = deque()
        self._message_bytes = 0
        self._reader: asyncio.Future[None] | None = None

    def _on_messages(self, messages: list[bytes]) -> None:
        if messages:
            self._messages.extend(messages)
            self._message_bytes += sum(map(len, messages)) + MESSAGE_OVERHEAD_BYTES * len(messages)
            self._wake_reader()
        if self._message_bytes <= READ_AHEAD_BYTES:
            self._give_credit()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _on_ended(self) -> None:
        if self._cancelled or self._code is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._messages.clear()
        self._wake_reader()

    async def read(self) -> object:
        """The next response, or `grpc.aio.EOF`. Raises AioRpcError, or CancelledError when this side cancelled."""
        while not self._messages:
            if self._ended:
                self._raise_status()
                return grpc.aio.EOF
            self._reader = self._channel.loop.create_future()
            try:
                await self._reader
            except asyncio.CancelledError:
                self.cancel()
                raise
            finally:
                self._reader = None
        return self._take()

    def _take(self) -> object:
        """The next of the complete messages. Raises AioRpcError when it does not deserialize."""
        message = self._messages.popleft()
        self._message_bytes -= len(message) + MESSAGE_OVERHEAD_BYTES
        if self._credit and self._message_bytes <= READ_AHEAD_BYTES:
            self._give_credit()
        try:
            return self._method.deserialize(message)
        except Exception as error:
            self._give_up(grpc.StatusCode.INTERNAL, f"Failed to deserialize response: {error}", ErrorCode.CANCEL)
            raise self.error() from error

    async def __aiter__(self) -> AsyncIterator[object]:
        """Responses until the stream ends well. Raises as `read` does."""
        messages = self._messages
        while True:
            while messages:
                yield self._take()
            response = await self.read()
            if response is grpc.aio.EOF:
                return
            yield response
