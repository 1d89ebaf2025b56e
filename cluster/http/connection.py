"""One HTTP/1.1 connection as an asyncio protocol.

It does not know how it came to be: a listener makes one per accepted connection, and a port that carries several
protocols hands one a transport (`transport.set_protocol`, `connection_made`) and the bytes read so far
(`data_received`) once the first of them have shown that they are HTTP/1.1.

Requests of a connection are answered one after another, in order (RFC 9112, 9.3.2). While one is being answered, what
follows is read ahead up to a limit and then left in the kernel, so a peer that does not read its answers is not read.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

from cluster.http.address import join_address
from cluster.http.limits import Limits
from cluster.http.message import Handler, HttpError, Request, Response
from cluster.http.parser import RequestParser
from cluster.http.writer import CONTINUE, LAST_CHUNK, encode_chunk, encode_head, has_no_body, http_date
from runtime import Clock

log = logging.getLogger(__name__)

_READ_AHEAD = 1
"""Requests waiting behind the one being answered at which reading stops. What one read brought is parsed whole."""

LINGER_S = 2.0
"""Seconds that a peer which broke a rule gets to read why before the connection is closed."""


class HttpConnection(asyncio.Protocol):
    """Serves one peer with `handler`."""

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        limits: Limits | None = None,
        on_closed: Callable[["HttpConnection"], None] | None = None,
    ) -> None:
        self._handler = handler
        self._clock = clock
        self._limits = limits or Limits()
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parser: RequestParser | None = None
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._fault: HttpError | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timed_receiving = False
        self._streaming = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing = False

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the idle clock."""
        # Not isinstance: uvloop's transports are asyncio's by their methods only.
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        peer = transport.get_extra_info("peername")
        name = join_address(str(peer[0]), int(peer[1])) if isinstance(peer, tuple) and len(peer) >= 2 else ""
        self._parser = RequestParser(self._limits, self._requested, self._continue, name)
        if self._closing:  # the server stopped between accepting and here
            transport.abort()
            return
        self._restart_timer(receiving=False)

    def data_received(self, data: bytes) -> None:
        """Parses, and starts answering."""
        if self._parser is None or self._fault is not None or self._closing:
            return
        try:
            self._parser.feed(data)
        except HttpError as fault:
            self._fault = fault
        self._advance()

    def eof_received(self) -> bool:
        """A peer that has sent all it wants still gets its answers, if they come soon.

        Without any pending, the connection closes. So does one that sends a stream: a peer that leaves looks like this,
        and a stream with nothing to say would never notice that nobody listens.
        """
        if self._task is None or self._task.done() or self._streaming:
            return False
        self._closing = True
        assert self._loop is not None
        self._stop_timer()
        self._timed_receiving = False
        self._timer = self._loop.call_later(self._limits.half_closed_s_max, self.abort)
        return True

    def pause_writing(self) -> None:
        """The peer is slow to read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Cancels the handler that still works for this peer."""
        self._stop_timer()
        self._closing = True
        self._waiting.clear()
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self._writable.set()
        if self._on_closed is not None:
            self._on_closed(self)

    # What the server calls.

    def close_when_idle(self) -> None:
        """Lets the request being answered finish, and closes; an idle connection closes at once."""
        self._closing = True
        if (self._task is None or self._task.done()) and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes now, whatever is under way."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # Receiving.

    def _continue(self) -> None:
        if self._transport is not None and (self._task is None or self._task.done()):
            self._transport.write(CONTINUE)

    def _requested(self, request: Request, lives_on: bool) -> None:
        if len(self._waiting) < self._limits.pipelined_max:
            self._waiting.append((request, lives_on))
        elif self._fault is None:
            self._fault = HttpError(503, "too many requests sent without waiting for their answers")

    def _advance(self) -> None:
        """Decides what comes next: answering, waiting, or the end."""
        assert self._loop is not None
        assert self._parser is not None
        if self._task is None or self._task.done():
            if self._waiting or self._fault is not None:
                self._stop_timer()
                self._task = self._loop.create_task(self._answer_all())
            else:
                self._restart_timer(receiving=self._parser.receiving)
        if self._transport is not None and len(self._waiting) > _READ_AHEAD:
            self._transport.pause_reading()

    def _restart_timer(self, *, receiving: bool) -> None:
        assert self._loop is not None
        if self._timer is not None and self._timed_receiving and receiving:
            return  # more bytes do not buy a request more time
        self._stop_timer()
        self._timed_receiving = receiving
        seconds = self._limits.receive_s_max if receiving else self._limits.idle_s_max
        self._timer = self._loop.call_later(seconds, self._time_is_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self._timed_receiving and self._fault is None:
            self._fault = HttpError(408, "the request took too long to arrive")
            self._advance()
        elif self._transport is not None:
            self._transport.close()

    # Answering.

    async def _answer_all(self) -> None:
        """Answers what waits, in order, then the fault if there was one."""
        transport = self._transport
        assert transport is not None
        try:
            while self._waiting:
                request, lives_on = self._waiting.popleft()
                if len(self._waiting) <= _READ_AHEAD and not transport.is_closing():
                    transport.resume_reading()
                last = not lives_on or (self._closing and not self._waiting)
                if not await self._answer(request, close=last) or last:
                    transport.close()
                    return
            if self._fault is not None:
                body = f"{self._fault.message}\n".encode()
                self._send_whole(Response(self._fault.status, body), close=True, head_only=False)
                self._linger()
            elif self._closing:
                transport.close()
            else:
                # This task is not done yet as asyncio counts, but nothing is awaited any more.
                self._task = None
                self._advance()
        except (TimeoutError, ConnectionError):
            transport.abort()  # the peer takes nothing any more

    def _linger(self) -> None:
        """Closes our side only, and drops what still comes for a moment.

        Closing both at once while the peer still sends would reset the connection, and the reset may overtake the
        answer that says what was wrong (RFC 9112, 9.6).
        """
        assert self._transport is not None
        assert self._loop is not None
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._timed_receiving = False
        self._timer = self._loop.call_later(LINGER_S, self._time_is_up)

    async def _answer(self, request: Request, *, close: bool) -> bool:
        """Answers one request; returns whether the connection can carry another."""
        response = await self._respond(request)
        head_only = request.method == "HEAD"
        if isinstance(response.body, bytes):
            self._send_whole(response, close=close, head_only=head_only)
            await self._drain()
            return True
        return await self._send_stream(request, response, response.body, close=close, head_only=head_only)

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except HttpError as error:
            return Response(error.status, f"{error.message}\n".encode())
        except Exception:
            log.exception("a handler failed: %s %s", request.method, request.path)
            return Response(500, b"internal error\n")

    def _send_whole(self, response: Response, *, close: bool, head_only: bool) -> None:
        assert self._transport is not None
        body = response.body
        assert isinstance(body, bytes)
        try:
            head = encode_head(response, self._date(), length=len(body), chunked=False, close=close)
        except ValueError:
            log.exception("a handler made a response that cannot be sent")
            body = b"internal error\n"
            head = encode_head(Response(500), self._date(), length=len(body), chunked=False, close=close)
            response = Response(500)
        self._transport.write(head if head_only or has_no_body(response.status) else head + body)

    async def _send_stream(
        self, request: Request, response: Response, parts: AsyncIterator[bytes], *, close: bool, head_only: bool
    ) -> bool:
        """Sends parts as they come. One that fails midway ends the connection: that is how a peer can tell."""
        self._streaming = True
        try:
            return await self._send_parts(request, response, parts, close=close, head_only=head_only)
        finally:
            self._streaming = False
            # Left to the garbage collector, what makes the parts would work on for a while.
            end = getattr(parts, "aclose", None)
            if end is not None:
                await end()

    async def _send_parts(
        self, request: Request, response: Response, parts: AsyncIterator[bytes], *, close: bool, head_only: bool
    ) -> bool:
        assert self._transport is not None
        chunked = request.version == "1.1"  # to 1.0, the end of the connection is the end of the body
        self._transport.write(
            encode_head(response, self._date(), length=None, chunked=chunked, close=close or not chunked)
        )
        if head_only or has_no_body(response.status):
            return chunked
        try:
            async for part in parts:
                if part:
                    self._transport.write(encode_chunk(part) if chunked else part)
                    await self._drain()
        except (TimeoutError, ConnectionError):
            raise
        except Exception:
            log.exception("a handler failed while it sent: %s %s", request.method, request.path)
            self._transport.abort()
            return False
        if chunked:
            self._transport.write(LAST_CHUNK)
        return chunked

    async def _drain(self) -> None:
        if not self._writable.is_set():
            async with asyncio.timeout(self._limits.write_s_max):
                await self._writable.wait()

    def _date(self) -> str:
        return http_date(self._clock.wall_s())
