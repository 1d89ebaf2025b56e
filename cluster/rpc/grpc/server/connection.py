"""One client's connection at the server."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import grpc
import grpc.aio

from cluster.rpc.grpc.framing import CallFault
from cluster.rpc.grpc.metadata import Pairs
from cluster.rpc.grpc.server.call import ServerCall
from cluster.rpc.grpc.server.method import CallDetails, Handler, Method, RequestHead
from cluster.rpc.grpc.server.plain import PlainAnswer
from cluster.rpc.grpc.server.workers import Workers
from cluster.rpc.grpc.status import OK
from cluster.rpc.grpc.transport import Http2Protocol
from cluster.rpc.http2 import ErrorCode, Limits, Stream
from cluster.rpc.http2.events import (
    DataReceived,
    Event,
    HeadersReceived,
    PingAcknowledged,
    PingReceived,
    StreamDrained,
    StreamEnded,
)
from cluster.rpc.http2.frames import STREAM_ID_MAX

PING_STRIKES_MAX = 2
"""Pings in a row that may come too early: gRPC's default."""
DRAIN_PING = b"orrery\x00d"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server treats its connections."""

    limits: Limits = field(default_factory=Limits)
    receive_bytes_max: int = 4 * 1024 * 1024
    """Largest request message."""
    send_bytes_max: int = 2**31 - 1
    """Largest response message."""
    keepalive_s: float = 60.0
    """Silence after which the server pings a client. 0: never."""
    keepalive_timeout_s: float = 20.0
    """How long that ping may go unanswered."""
    ping_interval_s_min: float = 0.0
    """Clients that ping more often than this with nothing in between are told to go, after PING_STRIKES_MAX of them.
    0: as often as `Limits.idle_work` allows."""
    handshake_s_max: float = 20.0
    """How long a connection may take to say what it speaks, TLS included."""
    connections_max: int = 10_000
    """Connections at once; further ones are closed at accept."""
    linger_s_max: float = 1.0
    """How long a closing connection may take to take what was written."""


class Observer(Protocol):
    """Hears of every call: the one place for metrics, access logs, and refusing before a servicer runs."""

    def call_started(self, call: ServerCall) -> None:
        """The call's headers have come. May end it by `call.refuse`, after a look at its metadata or peer."""
        ...

    def call_ended(self, call: ServerCall, code: grpc.StatusCode) -> None:
        """The call is over, with the status sent, or CANCELLED when nobody heard it."""
        ...


@dataclass(slots=True)
class Totals:
    """Calls since the start."""

    started: int = 0
    succeeded: int = 0
    failed: int = 0


@dataclass(slots=True)
class Serving:
    """What all connections of a server share."""

    find: Callable[[str, Pairs], Method | None]
    interceptors: Sequence[grpc.aio.ServerInterceptor]
    observers: Sequence[Observer]
    options: ServerOptions
    connections: "dict[ServerConnection, None]"
    calls_max: int | None = None
    calls: int = 0
    totals: Totals = field(default_factory=Totals)
    """Of connections that are gone."""
    connections_accepted: int = 0
    workers: Workers = field(default_factory=Workers)
    when_gone: "asyncio.Future[None] | None" = None
    """Resolved when the last connection is gone."""


class ServerConnection(Http2Protocol):
    """Reads requests, runs calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop, serving: Serving) -> None:
        options = serving.options
        super().__init__(
            loop,
            options.limits,
            client=False,
            keepalive_s=options.keepalive_s,
            keepalive_timeout_s=options.keepalive_timeout_s,
            linger_s_max=options.linger_s_max,
        )
        self.serving = serving
        self.options = options
        self.interceptors = serving.interceptors
        self.workers = serving.workers
        self._observers = tuple(serving.observers)
        self.writers: dict[ServerCall, None] = {}
        """Calls that wait for room."""
        serving.connections_accepted += 1
        self.number = serving.connections_accepted
        """Counts the server's connections from 1."""
        self.totals = Totals()
        self.peer = "unknown"
        self.local_address: object = None
        self.remote_address: object = None
        self.identities: list[bytes] = []
        self.identity_key: str | None = None
        self.auth_context: dict[str, list[bytes]] = {}
        self._draining = False
        self._sent_at_ping = -1
        """DATA frames sent when the client pinged last; -1: it has not."""
        self._pinged_s = 0.0
        self._ping_strikes = 0

    # ---- Http2Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes note of who is there."""
        self.serving.connections[self] = None
        self.local_address = transport.get_extra_info("sockname")
        self.remote_address = transport.get_extra_info("peername")
        self.peer = _peer_name(self.remote_address)
        if transport.get_extra_info("ssl_object") is not None:
            self._read_certificate(transport)
        super().connection_made(transport)

    def ended(self, error: Exception | None) -> None:
        """Cancels what ran for this client."""
        connections = self.serving.connections
        connections.pop(self, None)
        gone = self.serving.when_gone
        if not connections and gone is not None and not gone.done():
            gone.set_result(None)
        for stream in list(self.http2.streams.values()):
            call = cast("ServerCall | PlainAnswer | None", stream.owner)
            stream.closed = True
            if call is not None:
                call.on_stream_ended()
        self.http2.streams.clear()
        past = self.serving.totals
        past.started += self.totals.started
        past.succeeded += self.totals.succeeded
        past.failed += self.totals.failed

    def writable(self) -> None:
        """Wakes the writers."""
        for call in list(self.writers):
            call.on_drained()
        if self._draining:
            self._close_drained()

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            kind = type(event)
            if kind is HeadersReceived:
                self._on_headers(event)  # type: ignore[arg-type]  # `type() is` is the fast test
            elif kind is DataReceived:
                call = event.stream.owner  # type: ignore[attr-defined]
                if call is not None and not event.stream.closed:  # type: ignore[attr-defined]
                    call.on_data(event.data, event.credit, event.ended)  # type: ignore[attr-defined]
                elif event.credit:  # type: ignore[attr-defined]
                    self.http2.consume(event.stream, event.credit)  # type: ignore[attr-defined]
            elif kind is StreamEnded:
                call = event.stream.owner  # type: ignore[attr-defined]
                if call is not None:
                    call.on_stream_ended()
            elif kind is StreamDrained:
                call = event.stream.owner  # type: ignore[attr-defined]
                if call is not None:
                    call.on_drained()
            elif kind is PingReceived:
                self._judge_ping()
            elif kind is PingAcknowledged and self._draining and event.opaque == DRAIN_PING:  # type: ignore[attr-defined]
                self._refuse_new()
        if self._draining:
            self._close_drained()

    def _judge_ping(self) -> None:
        """Ends a connection whose client pings again and again without need (gRPC's keepalive, "too_many_pings").

        A ping is fine when something was sent since the last one: clients measure the bandwidth so.
        """
        sent, now_s = self.http2.data_frames, self.loop.time()
        if sent != self._sent_at_ping or now_s - self._pinged_s >= self.options.ping_interval_s_min:
            self._ping_strikes = 0
        else:
            self._ping_strikes += 1
            if self._ping_strikes > PING_STRIKES_MAX:
                self.http2.go_away(self.http2.last_remote_id, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
                self.flush()
                self.close()
                return
        self._sent_at_ping, self._pinged_s = sent, now_s

    # ---- calls

    def _on_headers(self, event: HeadersReceived) -> None:
        stream = event.stream
        if stream.closed:
            return  # Reset in the same breath: the servicer need not start.
        if event.trailers:
            owner = cast("ServerCall | PlainAnswer | None", stream.owner)
            if owner is not None:
                owner.on_end()
            return
        block = event.block
        head = block.memo
        if type(head) is not RequestHead:
            head = RequestHead(block, self.serving.find)
            if head.method is not None:
                # What was not found is looked for again: it may be registered by then.
                block.memo = head
        if head.http_status is not None:
            answer = stream.owner = PlainAnswer(self, stream, head.http_status)
            if event.ended:
                answer.on_end()
            return
        method = head.method
        if method is None or head.code is not OK:
            self._refuse(stream, head, head.code, head.details)
            return
        serving = self.serving
        if serving.calls_max is not None and serving.calls >= serving.calls_max:
            self._refuse(stream, head, grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            return
        call = ServerCall(self, stream, head, method)
        serving.calls += 1
        self.totals.started += 1
        stream.owner = call
        for observer in self._observers:
            observer.call_started(call)
        if call.done():
            return
        call.start()
        if event.ended:
            call.on_end()

    def _refuse(self, stream: Stream, head: RequestHead, code: grpc.StatusCode, details: str) -> None:
        """Answers a request before any servicer sees it."""
        call = ServerCall(self, stream, head, head.method or _NO_METHOD)
        self.serving.calls += 1
        self.totals.started += 1
        for observer in self._observers:
            observer.call_started(call)
        call.refuse(code, details)

    def call_ended(self, call: ServerCall, code: grpc.StatusCode) -> None:
        """Bookkeeping at the end of each call."""
        self.serving.calls -= 1
        if code is OK:
            self.totals.succeeded += 1
        else:
            self.totals.failed += 1
        for observer in self._observers:
            observer.call_ended(call, code)
        if self._draining and not self.http2.streams:
            self.loop.call_soon(self._close_drained)

    async def intercept(self, method: Method, head: RequestHead) -> Method:
        """Runs grpc.aio's interceptors, which may replace the handler. Raises CallFault when they leave none."""
        handler = await self._ask(0, method, CallDetails(head.path, head.metadata))
        if handler is None:
            raise CallFault(grpc.StatusCode.UNIMPLEMENTED, f"Method not found: {head.path}")
        if handler is method.handler:
            return method
        # Well-behaved interceptors give the same handler for every call of a method: it is unpacked once.
        if method.replaced is None or method.replaced.handler is not handler:
            method.replaced = Method(head.path, handler)
        return method.replaced

    async def _ask(self, position: int, method: Method, details: grpc.HandlerCallDetails) -> "Handler | None":
        interceptors = self.interceptors
        if position == len(interceptors):
            if details.method == method.path:
                return method.handler
            found = self.serving.find(details.method, details.invocation_metadata)
            return found.handler if found is not None else None

        async def continuation(onwards: grpc.HandlerCallDetails) -> "Handler | None":
            return await self._ask(position + 1, method, onwards)

        return await interceptors[position].intercept_service(continuation, details)

    # ---- draining

    def drain(self) -> None:
        """Tells the client to go elsewhere, and closes when its calls are done (RFC 9113 section 6.8).

        First a GOAWAY that refuses nothing, then, when the client has certainly seen it, the final one.
        """
        if self._draining or self.transport is None:
            return
        self._draining = True
        self.http2.go_away(STREAM_ID_MAX)
        self.http2.ping(DRAIN_PING)
        self.flush()

    def _refuse_new(self) -> None:
        self.http2.refuse_above = self.http2.last_remote_id
        self.http2.go_away(self.http2.last_remote_id)
        self.flush()
        self._close_drained()

    def _close_drained(self) -> None:
        if self.http2.refuse_above != STREAM_ID_MAX and not self.http2.streams:
            self.flush()
            self.close()

    def shut_down(self, details: str) -> None:
        """Ends every call with UNAVAILABLE, and the connection."""
        for stream in list(self.http2.streams.values()):
            call = cast("ServerCall | PlainAnswer | None", stream.owner)
            if call is not None:
                call.shut_down(details)
        self.http2.go_away(self.http2.last_remote_id, ErrorCode.NO_ERROR)
        self.flush()
        self.close()

    def _read_certificate(self, transport: asyncio.BaseTransport) -> None:
        self.auth_context = {"transport_security_type": [b"ssl"]}
        certificate = transport.get_extra_info("peercert")
        if not certificate:
            return
        names = [value.encode() for _, value in certificate.get("subjectAltName", ())]
        common = [
            value.encode() for part in certificate.get("subject", ()) for key, value in part if key == "commonName"
        ]
        if names:
            self.auth_context["x509_subject_alternative_name"] = names
        if common:
            self.auth_context["x509_common_name"] = common
        self.identities = names or common
        self.identity_key = "x509_subject_alternative_name" if names else "x509_common_name" if common else None


_NO_METHOD = Method("", grpc.unary_unary_rpc_method_handler(lambda request, context: request))
"""Stands in for the method of calls that name none."""


def _peer_name(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = str(address[0]), address[1]
        return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return "unknown"
