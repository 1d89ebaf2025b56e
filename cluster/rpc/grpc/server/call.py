"""One call on the server: what servicers know as their context.

The life of a call: headers come (`start`), messages come (`on_data`), a task runs the servicer (`_run`), and exactly
one `_finish` sends the status, unless the peer has reset the stream before (`on_stream_ended`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, NoReturn, cast

import grpc
import grpc.aio

from cluster.rpc.grpc import framing
from cluster.rpc.grpc.framing import MESSAGE_OVERHEAD_BYTES, PREFIX, Assembler, CallFault
from cluster.rpc.grpc.metadata import MetadataLike, Pairs, as_metadata, as_pairs, write_metadata
from cluster.rpc.grpc.outbox import Outbox
from cluster.rpc.grpc.server.method import Method, RequestHead
from cluster.rpc.grpc.status import NUMBERS, OK, encode_message
from cluster.rpc.grpc.transport import CALL_BYTES
from cluster.rpc.http2 import ErrorCode, Field, Stream, encode_headers
from cluster.rpc.trace_context import CURRENT_TRACE

if TYPE_CHECKING:
    from cluster.rpc.grpc.server.connection import ServerConnection

log = logging.getLogger(__name__)

QUEUE_HIGH_BYTES = 64 * 1024
"""A writer waits while more than this is queued on its stream."""
READ_AHEAD_BYTES = 64 * 1024
"""Complete messages that wait for their reader, beyond which the peer's window is not opened again."""
WRITES_PER_TURN_MAX = 64
"""Messages that a call writes before it lets others run."""

_HEAD_FIELDS: list[Field] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
HEAD = encode_headers(_HEAD_FIELDS)
TAIL_OK = encode_headers([(b"grpc-status", b"0")])

_pack_prefix = PREFIX.pack


class ServerCall(grpc.aio.ServicerContext):  # type: ignore[type-arg]  # the runtime class of older grpcio is not generic
    """A call on the server, and its `ServicerContext`. Attributes that most calls never set live on the class."""

    _code: grpc.StatusCode | None = None
    _details: str | None = None
    _trailing: Pairs = ()
    _initial_sent = False
    _finished = False
    _cancelled = False
    _task: "asyncio.Task[None] | None" = None
    _timer: asyncio.TimerHandle | None = None
    _deadline_s: float | None = None
    _callbacks: "list[Callable[[ServerCall], None]] | None" = None
    _assembler: Assembler | None = None
    _messages: "deque[bytes] | None" = None
    _message_bytes = 0
    _credit = 0
    _requests_ended = False
    _reader: "asyncio.Future[None] | None" = None
    _drain: "asyncio.Future[None] | None" = None
    _encoding = framing.IDENTITY
    _plain_next = False
    _writes = 0
    _outbox: Outbox | None = None
    _message = b""
    observed_s = 0.0
    """For an observer: when the call began."""

    def __init__(self, connection: "ServerConnection", stream: Stream, head: RequestHead, method: Method) -> None:
        self._connection = connection
        self._stream = stream
        self._head = head
        self._method = method
        self.method = method
        """What was called; interceptors may run another in its place."""

    # ---- from the connection

    def start(self) -> None:
        """Begins a call whose headers have come and whose data has not."""
        timeout_s = self._head.timeout_s
        if timeout_s is not None:
            loop = self._connection.loop
            self._deadline_s = loop.time() + timeout_s
            self._timer = loop.call_at(self._deadline_s, self._expire)
        if self._method.streams_requests:
            self._messages = deque()
            self._task = self._connection.loop.create_task(self._run())

    def on_data(self, data: bytes, credit: int, ended: bool) -> None:
        """Takes a piece of the request stream."""
        if self._finished:
            if credit:
                self._connection.http2.consume(self._stream, credit)
            return
        if (
            ended
            and self._assembler is None
            and self._messages is None
            and not self._method.streams_responses
            and data[:1] == b"\0"
            and int.from_bytes(data[1:5], "big") == len(data) - 5
            and len(data) - 5 <= self._connection.options.receive_bytes_max
        ):
            # The usual unary call: one message in one frame.
            self._requests_ended = True
            self._message = data[5:]
            self._connection.workers.submit(self)
            return
        assembler = self._assembler
        if assembler is None:
            assembler = self._assembler = Assembler(self._head.encoding, self._connection.options.receive_bytes_max)
        try:
            messages = assembler.feed(data)
        except CallFault as fault:
            self._fail_early(fault.code, fault.details)
            return
        if ended and not assembler.empty:
            self._fail_early(grpc.StatusCode.INTERNAL, "the request ends within a message")
            return
        self._credit += credit
        if messages:
            if self._messages is None:
                self._messages = deque()
            self._messages.extend(messages)
            self._message_bytes += sum(map(len, messages)) + MESSAGE_OVERHEAD_BYTES * len(messages)
        if not self._method.streams_requests and self._messages is not None and len(self._messages) > 1:
            # At once: a client that never ends its request would be heard for ever.
            self._begin_unary()
            return
        if self._message_bytes <= READ_AHEAD_BYTES or not self._method.streams_requests:
            self._give_credit()
        if ended:
            self._requests_ended = True
        if self._method.streams_requests:
            self._wake_reader()
            return
        if ended:
            self._begin_unary()

    def on_end(self) -> None:
        """The request stream has ended without data in its last frame (or with trailers, which gRPC ignores)."""
        if not self._finished:
            self.on_data(b"", 0, True)

    def _begin_unary(self) -> None:
        messages: Sequence[bytes] = self._messages or ()
        if len(messages) != 1:
            self._fail_early(
                grpc.StatusCode.UNIMPLEMENTED if messages else grpc.StatusCode.INTERNAL,
                f"a unary call with {len(messages)} messages",
            )
            return
        self._message = messages[0]
        self._messages = None
        if self._method.streams_responses:
            self._task = self._connection.loop.create_task(self._run())
        else:
            self._connection.workers.submit(self)

    def on_stream_ended(self) -> None:
        """The stream is over: reset by the peer, or the connection is lost. Nobody hears of the status any more."""
        self._cancelled = True
        self._close()
        if self._task is not None:
            self._task.cancel()

    def on_drained(self) -> None:
        """There is room to write again."""
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    def refuse(self, code: grpc.StatusCode, details: str) -> None:
        """Ends the call before anything ran."""
        self._finish(code, details, ())

    def shut_down(self, details: str) -> None:
        """The server stops and no longer waits for this call."""
        self._fail_early(grpc.StatusCode.UNAVAILABLE, details)

    # ---- running the servicer

    async def run(self, task: "asyncio.Task[None]") -> None:
        """Runs a unary call on a worker's task."""
        if self._finished:
            return
        self._task = task
        try:
            await self._run()
        finally:
            # The worker goes on to other calls, which a late cancellation of this one must not strike.
            self._task = None

    async def _run(self) -> None:
        method = self._method
        if self._head.trace is not None:
            # Changes the task's context, so a worker is not reused after it: only traced calls pay for that.
            CURRENT_TRACE.set(self._head.trace)
        try:
            if self._connection.interceptors:
                method = await self._connection.intercept(method, self._head)
            request: object
            if method.streams_requests:
                self._method = method
                request = self._requests()
            else:
                try:
                    request = method.deserialize(self._message)
                except Exception:
                    log.exception("%s: the request does not deserialize", method.path)
                    self._finish(grpc.StatusCode.INTERNAL, "Exception deserializing request!", ())
                    return
            result = method.behavior(request, self)
            if method.streams_responses:
                await self._stream_responses(method, result)
                return
            if type(result) is CoroutineType or hasattr(result, "__await__"):
                result = await result  # A cast would cost a call.
            self._reply(method, result)
        except asyncio.CancelledError:
            # Cancelled by a reset or a deadline, both of which have closed the call; or by the servicer itself.
            if not self._finished:
                self._finish(grpc.StatusCode.CANCELLED, "the servicer was cancelled", ())
            if self._connection.lost or self._cancelled:
                return
            raise
        except grpc.aio.AbortError:
            # `abort` has sent the status already.
            if not self._finished:
                self._finish(grpc.StatusCode.UNKNOWN, "aborted without a status", ())
        except CallFault as fault:
            self._finish(fault.code, fault.details, self._trailing)
        except Exception as error:
            if not self._finished:
                log.exception("%s failed", method.path)
                code = self._code if self._code is not None and self._code is not OK else grpc.StatusCode.UNKNOWN
                self._finish(code, self._details or f"Unexpected {type(error)}: {error}", self._trailing)

    def _reply(self, method: Method, response: object) -> None:
        if self._finished or self._stream.closed:
            return
        if self._code is not None and self._code is not OK:
            self._finish(self._code, self._details or "", self._trailing)
            return
        try:
            body = method.serialize(response)
        except Exception:
            log.exception("%s: the response does not serialize", method.path)
            self._finish(grpc.StatusCode.INTERNAL, "Failed to serialize response!", self._trailing)
            return
        connection = self._connection
        if (
            self._initial_sent
            or self._trailing
            or self._details
            or self._encoding is not framing.IDENTITY
            or len(body) > connection.options.send_bytes_max
        ):
            self._send_message(body)
            self._finish(OK, self._details or "", self._trailing)
            return
        connection.http2.send_reply(self._stream, HEAD, _pack_prefix(0, len(body)), body, TAIL_OK)
        connection.schedule_flush(len(body) + CALL_BYTES)
        self._close(OK)

    async def _stream_responses(self, method: Method, result: object) -> None:
        if hasattr(result, "__anext__"):
            responses = cast(AsyncIterator[object], result)
            try:
                serialize = method.serialize
                async for response in responses:
                    if self._finished:
                        raise asyncio.CancelledError
                    self._send_message(serialize(response))
                    if self._pauses():
                        await self._pause()
            finally:
                close = getattr(responses, "aclose", None)
                if close is not None:
                    await close()
        elif hasattr(result, "__await__"):
            await cast(Awaitable[None], result)  # It wrote by `context.write`.
        else:
            for response in cast(Iterable[object], result):
                await self.write(response)
        if not self._finished:
            self._finish(self._code or OK, self._details or "", self._trailing)

    # ---- reading

    async def _requests(self) -> AsyncIterator[object]:
        messages = self._messages
        while True:
            while messages:
                yield self._take(messages)
            request = await self.read()
            if request is grpc.aio.EOF:
                return
            yield request

    def _take(self, messages: "deque[bytes]") -> object:
        """The next of the complete messages. Raises CallFault when it does not deserialize."""
        message = messages.popleft()
        self._message_bytes -= len(message) + MESSAGE_OVERHEAD_BYTES
        if self._credit and self._message_bytes <= READ_AHEAD_BYTES:
            self._give_credit()
        try:
            return self._method.deserialize(message)
        except Exception:
            log.exception("%s: a request does not deserialize", self._method.path)
            raise CallFault(grpc.StatusCode.INTERNAL, "Exception deserializing request!") from None

    async def read(self) -> object:
        """The next request, or `grpc.aio.EOF`. Raises CancelledError once the call is over."""
        while True:
            messages = self._messages
            if messages:
                return self._take(messages)
            if self._finished:
                raise asyncio.CancelledError
            if self._requests_ended:
                return grpc.aio.EOF
            self._reader = self._connection.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _give_credit(self) -> None:
        credit = self._credit
        if credit:
            self._credit = 0
            self._connection.http2.consume(self._stream, credit)
            self._connection.schedule_flush(0)

    # ---- writing

    async def write(self, message: object) -> None:
        """Sends one response; returns when there is room for another. Raises CancelledError once the call is over."""
        if self._finished:
            raise asyncio.CancelledError
        self._send_message(self._method.serialize(message))
        if self._pauses():
            await self._pause()

    def _pauses(self) -> bool:
        """Whether the writer must wait now: for room, or because others want to run."""
        self._writes += 1
        return (
            self._writes >= WRITES_PER_TURN_MAX
            or self._connection.http2.blocked
            or self._stream.queued_bytes > QUEUE_HIGH_BYTES
        )

    async def _pause(self) -> None:
        self._writes = 0
        self._connection.flush()
        await asyncio.sleep(0)
        while not self._writable():
            self._drain = self._connection.loop.create_future()
            self._connection.writers[self] = None
            try:
                await self._drain
            finally:
                self._drain = None
                self._connection.writers.pop(self, None)

    def _writable(self) -> bool:
        return self._finished or not (self._connection.http2.blocked or self._stream.queued_bytes > QUEUE_HIGH_BYTES)

    def _send_message(self, body: bytes) -> None:
        limit = self._connection.options.send_bytes_max
        if len(body) > limit:
            raise CallFault(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"Sent message larger than max ({len(body)} vs. {limit})"
            )
        if not self._initial_sent:
            self._send_head(())
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = Outbox(self._connection, self._stream)
        if self._encoding is framing.IDENTITY or self._plain_next:
            self._plain_next = False
            outbox.put(0, body)
        else:
            outbox.put(1, framing.compress(body, self._encoding))

    def _send_head(self, metadata: Pairs) -> None:
        if metadata or self._encoding is not framing.IDENTITY:
            fields = [*_HEAD_FIELDS]
            if self._encoding is not framing.IDENTITY:
                fields.append((b"grpc-encoding", self._encoding))
            block = encode_headers(fields + write_metadata(metadata))
        else:
            block = HEAD
        self._connection.http2.send_headers(self._stream, block)
        self._initial_sent = True

    # ---- ending

    def _finish(self, code: grpc.StatusCode, details: str, trailing: Pairs) -> None:
        """Sends the status and closes the call. Does nothing when it is closed."""
        if self._finished:
            return
        if self._stream.closed:
            self._close()
            return
        if self._outbox is not None:
            self._outbox.empty()
        fields: list[Field] = [] if self._initial_sent else [*_HEAD_FIELDS]
        fields.append((b"grpc-status", b"%d" % NUMBERS[code]))
        if details:
            fields.append((b"grpc-message", encode_message(details)))
        if code is grpc.StatusCode.UNIMPLEMENTED and "grpc-encoding" in details:
            fields.append((b"grpc-accept-encoding", framing.ACCEPTED_ENCODINGS))
        try:
            fields += write_metadata(trailing)
        except ValueError as error:
            log.warning("%s: trailing metadata dropped: %s", self._method.path, error)
        self._connection.http2.send_headers(self._stream, encode_headers(fields), ends=True)
        self._connection.schedule_flush(0)
        self._close(code)

    def _fail_early(self, code: grpc.StatusCode, details: str) -> None:
        self._finish(code, details, ())
        if self._task is not None:
            self._task.cancel()

    def _expire(self) -> None:
        self._timer = None
        self._fail_early(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _close(self, code: grpc.StatusCode | None = None) -> None:
        if self._finished:
            return
        self._finished = True
        # Call and stream would keep each other alive until the garbage collector comes by.
        self._stream.owner = None
        self._code = code if code is not None else grpc.StatusCode.CANCELLED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._messages is not None:
            # What is buffered gives its window back: nobody reads it any more.
            self._messages.clear()
            self._message_bytes = 0
            self._give_credit()
            self._wake_reader()
        if self._drain is not None:
            self.on_drained()
        self._connection.call_ended(self, self._code)
        if self._callbacks is not None:
            for callback in self._callbacks:
                try:
                    callback(self)
                except Exception:
                    log.exception("%s: a done callback failed", self._method.path)

    # ---- grpc.aio.ServicerContext

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: MetadataLike = ()) -> NoReturn:
        """Ends the call with `code`, and the servicer with AbortError."""
        if code is OK:
            # As grpc.aio: aborting with OK is the servicer's mistake, and the peer must not take it for success.
            self._finish(grpc.StatusCode.UNKNOWN, "Cannot abort with StatusCode.OK", ())
            raise grpc.aio.AbortError("Abort with StatusCode.OK is not allowed")
        self._finish(code, details or self._details or "", as_pairs(trailing_metadata) or self._trailing)
        raise grpc.aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the call with `status`."""
        await self.abort(status.code, status.details or "", cast(MetadataLike, status.trailing_metadata or ()))

    async def send_initial_metadata(self, initial_metadata: MetadataLike) -> None:
        """Sends the response's headers now. Raises ValueError for metadata that cannot be sent."""
        if self._finished:
            raise asyncio.CancelledError
        if self._initial_sent:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        self._send_head(as_pairs(initial_metadata))
        self._connection.schedule_flush(0)

    def set_trailing_metadata(self, trailing_metadata: MetadataLike) -> None:
        """Metadata to go with the status."""
        self._trailing = as_pairs(trailing_metadata)

    def invocation_metadata(self) -> grpc.aio.Metadata | None:
        """The request's metadata."""
        return cast("grpc.aio.Metadata", self._head.metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status to end with when the servicer returns."""
        if not self._finished:
            self._code = code

    def set_details(self, details: str) -> None:
        """The status message to end with when the servicer returns."""
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compresses responses, if the peer accepts that; before the first message only."""
        if self._initial_sent:
            raise RuntimeError("Compression setting must be specified before sending initial metadata")
        encoding = framing.ENCODING_OF[compression]
        if encoding in self._head.accepts:
            self._encoding = encoding

    def disable_next_message_compression(self) -> None:
        """Sends the next message as it is."""
        self._plain_next = True

    def peer(self) -> str:
        """The peer's address, as grpc writes it."""
        return self._connection.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """The names in the peer's certificate, or None without one."""
        return self._connection.identities or None

    def peer_identity_key(self) -> str | None:
        """Which property `peer_identities` came from."""
        return self._connection.identity_key

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """The transport's security properties."""
        return self._connection.auth_context

    def time_remaining(self) -> float:
        """Seconds to the deadline; None, as grpc.aio has it, when there is none."""
        if self._deadline_s is None:
            return cast(float, None)
        return max(0.0, self._deadline_s - self._connection.loop.time())

    def trailing_metadata(self) -> grpc.aio.Metadata:
        """What `set_trailing_metadata` set."""
        return as_metadata(self._trailing)

    def code(self) -> grpc.StatusCode:
        """The status set or sent; None before."""
        return cast(grpc.StatusCode, self._code)

    def details(self) -> str:
        """The status message set; None before."""
        return cast(str, self._details)

    def cancelled(self) -> bool:
        """Whether the peer gave up the call."""
        return self._cancelled

    def done(self) -> bool:
        """Whether the status is sent or the call was cancelled."""
        return self._finished

    def add_done_callback(self, callback: "Callable[[ServerCall], None]") -> None:
        """Calls back once the call is over."""
        if self._finished:
            callback(self)
            return
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    @property
    def method_path(self) -> str:
        """The full method name, with its leading slash."""
        return self._head.path

    def reset(self, code: ErrorCode) -> None:
        """Drops the call without a status."""
        self._connection.http2.reset(self._stream, code)
        self.on_stream_ended()
