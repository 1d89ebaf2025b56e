"""One call on the client: what stubs return.

The life of a call: it waits for a connection (`state` WAITING), gets a stream (`attach`), and ends exactly once in
`_end`, with the peer's status or with one of our own. What a caller awaits are futures that `_end` resolves.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.rpc.grpc import framing
from cluster.rpc.grpc.client.head import ResponseHead, ResponseTrailers
from cluster.rpc.grpc.framing import PREFIX, Assembler, CallFault
from cluster.rpc.grpc.metadata import Pairs, as_metadata, write_timeout
from cluster.rpc.grpc.status import OK, CallFailed, status_of_reset
from cluster.rpc.http2 import ErrorCode, Stream, encode_headers
from cluster.rpc.http2.events import StreamEnded

if TYPE_CHECKING:
    from cluster.rpc.grpc.client.channel import Channel
    from cluster.rpc.grpc.client.connection import ClientConnection
    from cluster.rpc.grpc.client.multicallable import MethodStub

TRANSPARENT_RETRIES_MAX = 2
"""How often a call that no server has touched is sent anew."""

LOCALLY_CANCELLED = "Locally cancelled by application!"
DEADLINE_EXCEEDED = "Deadline Exceeded"

_pack_prefix = PREFIX.pack


class ClientCall:
    """What all four kinds share. Attributes that most calls never set live on the class."""

    _stream: Stream | None = None
    _connection: "ClientConnection | None" = None
    _ended = False
    _code: grpc.StatusCode | None = None
    _details = ""
    _initial: Pairs = ()
    _trailing: Pairs = ()
    _definite = False
    _cancelled = False
    _timer: asyncio.TimerHandle | None = None
    _deadline_s: float | None = None
    _head: ResponseHead | None = None
    _head_waiter: "asyncio.Future[None] | None" = None
    _end_waiter: "asyncio.Future[None] | None" = None
    _attach_waiter: "asyncio.Future[None] | None" = None
    _drain: "asyncio.Future[None] | None" = None
    _callbacks: "list[Callable[[ClientCall], None]] | None" = None
    _assembler: Assembler | None = None
    _credit = 0
    _retries = 0
    _waited = False
    """Whether any of the futures above was ever made."""
    _encoding = framing.IDENTITY
    is_plain = True
    """Whether its messages travel uncompressed."""

    def __init__(self, channel: "Channel", method: "MethodStub", timeout: float | None, metadata: Pairs) -> None:
        self._channel = channel
        self._method = method
        self._metadata = metadata
        if timeout is not None:
            loop = channel.loop
            self._deadline_s = loop.time() + timeout
            self._timer = loop.call_at(self._deadline_s, self._expire)

    # ---- sending

    def header_block(self, authority: bytes, scheme: bytes) -> bytes:
        """The request's header block. Raises ValueError for metadata that cannot be sent."""
        block = self._method.header_block(authority, scheme, self._metadata, self._encoding)
        if self._deadline_s is not None:
            timeout_s = self._deadline_s - self._channel.loop.time()
            # Rounded up to a millisecond: equal blocks are decoded from a cache at the peer, and our own timer keeps
            # the exact deadline.
            block += encode_headers([(b"grpc-timeout", write_timeout(_coarse(timeout_s)))])
        return block

    def attach(self, connection: "ClientConnection") -> None:
        """Opens the stream. Raises ValueError for metadata that cannot be sent."""
        if self._metadata or self._deadline_s is not None or not self.is_plain:
            block = self.header_block(connection.authority, connection.scheme)
        else:
            # Most calls between our own processes: the same block for each call of a method on a connection.
            plain = connection.plain_blocks.get(self._method)
            if plain is None:
                plain = self.header_block(connection.authority, connection.scheme)
                connection.plain_blocks[self._method] = plain
            block = plain
        self._stream = stream = self._open(connection, block)
        stream.owner = self
        self._connection = connection
        waiter = self._attach_waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _open(self, connection: "ClientConnection", block: bytes) -> Stream:
        """Opens the stream, and sends what is ready to be sent."""
        stream = connection.http2.open(block)
        connection.schedule_flush(0)
        return stream

    def set_encoding(self, encoding: bytes) -> None:
        """Compresses requests from now on."""
        self._encoding = encoding
        self.is_plain = encoding is framing.IDENTITY

    def frame(self, body: bytes) -> bytes:
        """A message with its prefix, compressed if the call is. Raises CallFault when it is too long."""
        self.check_length(body)
        if self._encoding is not framing.IDENTITY:
            body = framing.compress(body, self._encoding)
            return _pack_prefix(1, len(body)) + body
        return _pack_prefix(0, len(body)) + body

    def check_length(self, body: bytes) -> None:
        """Raises CallFault when the message is longer than the channel sends."""
        limit = self._channel.options.send_bytes_max
        if len(body) > limit:
            raise CallFault(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"Sent message larger than max ({len(body)} vs. {limit})"
            )

    # ---- from the connection

    def on_headers(self, head: ResponseHead) -> None:
        """The response's headers."""
        if self._ended:
            return
        self._head = head
        self._initial = head.metadata
        if head.code is not OK:
            self._give_up(head.code, head.details, ErrorCode.CANCEL)
            return
        if self._head_waiter is not None and not self._head_waiter.done():
            self._head_waiter.set_result(None)

    def on_data(self, data: bytes, credit: int, ended: bool) -> None:
        """A piece of the response stream."""
        if self._ended:
            if credit and self._connection is not None and self._stream is not None:
                self._connection.http2.consume(self._stream, credit)
            return
        self._credit += credit
        assembler = self._assembler
        if assembler is None:
            head = self._head
            assembler = self._assembler = Assembler(
                head.encoding if head is not None else framing.IDENTITY, self._channel.options.receive_bytes_max
            )
        try:
            messages = assembler.feed(data)
            self._on_messages(messages)
        except CallFault as fault:
            self._give_up(fault.code, fault.details, ErrorCode.CANCEL)
            return
        if ended:
            self._end(grpc.StatusCode.UNKNOWN, "the response ends without a status", ())

    def _on_messages(self, messages: list[bytes]) -> None:
        raise NotImplementedError

    def _give_credit(self) -> None:
        credit = self._credit
        if credit and self._connection is not None and self._stream is not None:
            self._credit = 0
            self._connection.http2.consume(self._stream, credit)
            self._connection.schedule_flush(0)

    def on_trailers(self, trailers: ResponseTrailers) -> None:
        """The status."""
        if self._assembler is not None and not self._assembler.empty and trailers.code is OK:
            self._end(grpc.StatusCode.INTERNAL, "the response ends within a message", trailers.metadata)
            return
        self._end(trailers.code, trailers.details, trailers.metadata)

    def on_reply(self, head: ResponseHead, data: bytes, trailers: ResponseTrailers) -> None:
        """A whole response in one piece; its stream is closed."""
        self.on_headers(head)
        self.on_data(data, 0, False)
        self.on_trailers(trailers)

    def on_stream_ended(self, event: StreamEnded) -> None:
        """The stream was reset, or refused."""
        if self._ended:
            return
        if event.unprocessed and self._retries < TRANSPARENT_RETRIES_MAX and self._can_resend():
            self._retries += 1
            self._stream = self._connection = None
            self._channel.submit(self)
            return
        if event.unprocessed:
            self._definite = True
            self._end(grpc.StatusCode.UNAVAILABLE, event.reason, ())
            return
        code = status_of_reset(event.code)
        self._end(code, f"stream {event.reason} ({_error_name(event.code)})", ())

    def on_connection_lost(self, details: str) -> None:
        """Nobody will answer: whether the call had an effect is unknown."""
        self._end(grpc.StatusCode.UNAVAILABLE, details, ())

    def on_drained(self) -> None:
        """There is room to write again."""
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    def _can_resend(self) -> bool:
        return False

    # ---- ending

    def fail_unsent(self, code: grpc.StatusCode, details: str) -> None:
        """Ends a call that never got a stream: it certainly had no effect."""
        self._definite = True
        self._end(code, details, ())

    def abandon(self, code: grpc.StatusCode, details: str) -> None:
        """Ends a call for a reason that is neither its caller's nor its server's."""
        self._definite = self._stream is None
        self._give_up(code, details, ErrorCode.CANCEL)

    def _expire(self) -> None:
        self._timer = None
        self._definite = self._stream is None
        self._give_up(grpc.StatusCode.DEADLINE_EXCEEDED, DEADLINE_EXCEEDED, ErrorCode.CANCEL)

    def _give_up(self, code: grpc.StatusCode, details: str, reset: ErrorCode) -> None:
        if self._ended:
            return
        connection, stream = self._connection, self._stream
        if connection is not None and stream is not None:
            connection.http2.reset(stream, reset)
            connection.stream_closed()
            connection.schedule_flush(0)
        self._end(code, details, ())

    def _end(self, code: grpc.StatusCode, details: str, trailing: Pairs) -> None:
        if self._ended:
            return
        self._ended = True
        self._code = code
        self._details = details
        self._trailing = trailing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._credit:
            self._give_credit()
        if self._stream is not None:
            # Call and stream would keep each other alive until the garbage collector comes by.
            self._stream.owner = None
        if self._waited:
            for waiter in (self._head_waiter, self._end_waiter, self._drain, self._attach_waiter):
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
        self._on_ended()
        if self._callbacks is not None:
            for callback in self._callbacks:
                self._channel.loop.call_soon(callback, self)

    def _on_ended(self) -> None:
        """Resolves what the kind of call awaits."""

    def error(self) -> CallFailed:
        """The exception for a call that ended with another status than OK."""
        assert self._code is not None
        return CallFailed(
            self._code,
            as_metadata(self._initial),
            as_metadata(self._trailing),
            self._details,
            definite=self._definite,
        )

    async def wait_for_end(self) -> None:
        """Returns once the call has ended, however."""
        await self._until_ended()

    async def _until_ended(self) -> None:
        if not self._ended:
            if self._end_waiter is None:
                self._end_waiter = self._channel.loop.create_future()
                self._waited = True
            # Several may wait: none may cancel the future of the others.
            await asyncio.shield(self._end_waiter)

    # ---- grpc.aio.Call

    def cancel(self) -> bool:
        """Gives up the call and tells the server. Returns whether it was still running."""
        if self._ended:
            return False
        self._cancelled = True
        self._definite = self._stream is None
        self._give_up(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED, ErrorCode.CANCEL)
        return True

    def cancelled(self) -> bool:
        """Whether the call ended as CANCELLED."""
        return self._code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._ended

    def time_remaining(self) -> float | None:
        """Seconds to the deadline, None without one."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - self._channel.loop.time())

    def add_done_callback(self, callback: "Callable[[ClientCall], None]") -> None:
        """Calls back once the call has ended."""
        if self._ended:
            callback(self)
            return
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """The response's metadata, once its headers have come."""
        if self._head is None and not self._ended:
            if self._head_waiter is None:
                self._head_waiter = self._channel.loop.create_future()
                self._waited = True
            await asyncio.shield(self._head_waiter)
        return as_metadata(self._initial)

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """The metadata that came with the status."""
        await self._until_ended()
        return as_metadata(self._trailing)

    async def code(self) -> grpc.StatusCode:
        """The status."""
        await self._until_ended()
        assert self._code is not None
        return self._code

    async def details(self) -> str:
        """The status message."""
        await self._until_ended()
        return self._details

    async def debug_error_string(self) -> str:
        """The status and its message in one line."""
        await self._until_ended()
        assert self._code is not None
        return f"{self._code.name}: {self._details}"

    async def wait_for_connection(self) -> None:
        """Returns once the call has a stream. Raises AioRpcError when it ended before."""
        if self._stream is None and not self._ended:
            if self._attach_waiter is None:
                self._attach_waiter = self._channel.loop.create_future()
                self._waited = True
            await asyncio.shield(self._attach_waiter)
        if self._ended and self._code is not OK:
            raise self.error()

    def _raise_status(self) -> None:
        """Raises what grpc.aio raises for a call that has ended badly."""
        if self._code is OK:
            return
        if self._cancelled:
            raise asyncio.CancelledError
        raise self.error()


def _coarse(timeout_s: float) -> float:
    return -(-timeout_s * 1000.0 // 1.0) / 1000.0 if timeout_s < 1000.0 else timeout_s


def _error_name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"error {code}"
