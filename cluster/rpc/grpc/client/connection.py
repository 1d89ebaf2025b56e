"""One connection of a channel."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from cluster.rpc.grpc.client.head import ResponseHead, ResponseTrailers
from cluster.rpc.grpc.client.options import ChannelOptions
from cluster.rpc.grpc.transport import Http2Protocol
from cluster.rpc.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    ReplyReceived,
    SettingsReceived,
    StreamDrained,
    StreamEnded,
)

if TYPE_CHECKING:
    from cluster.rpc.grpc.client.call import ClientCall
    from cluster.rpc.grpc.client.multicallable import MethodStub


class ClientConnection(Http2Protocol):
    """Turns events into what calls await. Reports to its channel through three callbacks."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: ChannelOptions,
        *,
        authority: bytes,
        scheme: bytes,
        on_free: Callable[["ClientConnection"], None],
        on_leaving: Callable[["ClientConnection", str], None],
    ) -> None:
        super().__init__(
            loop,
            options.limits,
            client=True,
            keepalive_s=options.keepalive_s,
            keepalive_timeout_s=options.keepalive_timeout_s,
            linger_s_max=options.linger_s_max,
        )
        self.authority = authority
        self.scheme = scheme
        self.ready: asyncio.Future[None] = loop.create_future()
        """Resolved by the server's settings; fails when the connection is lost before."""
        self.plain_blocks: dict[MethodStub, bytes] = {}
        """The header blocks of calls without metadata and deadline, one for each method of the channel's stubs."""
        self.writers: dict[ClientCall, None] = {}
        """Calls that wait for room."""
        self.waiters = False
        """Whether the channel has calls that wait for a free stream here."""
        self._on_free = on_free
        self._on_leaving = on_leaving
        self._left = False
        self._closing = False
        self._reason = "Socket closed"

    def writable(self) -> None:
        """Wakes the writers."""
        for call in list(self.writers):
            call.on_drained()

    def ended(self, error: Exception | None) -> None:
        """Ends every call that was in flight."""
        if error is not None and self._reason == "Socket closed":
            self._reason = f"Connection lost: {error}"
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(self._reason))
            self.ready.exception()  # Looked at here, so that nobody need wait for it.
        self._leave(self._reason)
        streams = list(self.http2.streams.values())
        self.http2.streams.clear()
        for stream in streams:
            stream.closed = True
            call = cast("ClientCall | None", stream.owner)
            if call is not None:
                call.on_connection_lost(self._reason)

    def stream_closed(self) -> None:
        """A stream has ended: one that waits may start, and a connection that is left may close."""
        if self.waiters:
            self._on_free(self)
        if self._left and not self.http2.streams:
            self.flush()
            self.close()

    def close_when_idle(self) -> None:
        """Takes no new calls, and closes when the last has ended."""
        self._left = True
        self.stream_closed()

    def _leave(self, reason: str) -> None:
        if not self._left:
            self._left = True
            self._on_leaving(self, reason)

    def _dispatch(self, events: list[Event]) -> None:
        closed = False
        for event in events:
            kind = type(event)
            if kind is ReplyReceived:
                closed = True
                call = event.stream.owner  # type: ignore[attr-defined]  # `type() is` is the fast test
                if call is not None:
                    head = event.head.memo  # type: ignore[attr-defined]
                    if type(head) is not ResponseHead:
                        head = event.head.memo = ResponseHead(event.head)  # type: ignore[attr-defined]
                    trailers = event.trailers.memo  # type: ignore[attr-defined]
                    if type(trailers) is not ResponseTrailers:
                        trailers = event.trailers.memo = ResponseTrailers(event.trailers)  # type: ignore[attr-defined]
                    call.on_reply(head, event.data, trailers)  # type: ignore[attr-defined]
            elif kind is HeadersReceived:
                self._on_headers(event)  # type: ignore[arg-type]  # `type() is` is the fast test
                closed = closed or event.ended  # type: ignore[attr-defined]
            elif kind is DataReceived:
                call = event.stream.owner  # type: ignore[attr-defined]
                if call is not None:
                    call.on_data(event.data, event.credit, event.ended)  # type: ignore[attr-defined]
                elif event.credit:  # type: ignore[attr-defined]
                    self.http2.consume(event.stream, event.credit)  # type: ignore[attr-defined]
            elif kind is StreamEnded:
                closed = True
                call = event.stream.owner  # type: ignore[attr-defined]
                if call is not None:
                    call.on_stream_ended(event)
            elif kind is StreamDrained:
                call = event.stream.owner  # type: ignore[attr-defined]
                if call is not None:
                    call.on_drained()
            elif kind is SettingsReceived:
                if not self.ready.done():
                    self.ready.set_result(None)
                closed = True  # More streams may be allowed now.
            elif kind is GoAwayReceived:
                debug = event.debug.decode("utf-8", "replace")  # type: ignore[attr-defined]
                self._reason = f"GOAWAY received; Debug Text: {debug}" if debug else "GOAWAY received"
                self._leave(self._reason)
                closed = True
            elif kind is ConnectionFailed:
                self._reason = f"the server broke HTTP/2: {event.reason}"  # type: ignore[attr-defined]
                self._leave(self._reason)
        if closed:
            self.stream_closed()

    def _on_headers(self, event: HeadersReceived) -> None:
        call: ClientCall | None = event.stream.owner  # type: ignore[assignment]  # a cast would cost a call
        if call is None:
            return
        block = event.block
        known = block.memo
        if event.ended:
            if type(known) is not ResponseTrailers:
                known = block.memo = ResponseTrailers(block)
            call.on_trailers(known)
            # The server is done; a request that still streams has nobody to read it.
            if not event.stream.closed:
                self.http2.reset(event.stream, 0x8 if not event.stream.local_ended else 0x0)
            return
        if type(known) is not ResponseHead:
            known = block.memo = ResponseHead(block)
        call.on_headers(known)
