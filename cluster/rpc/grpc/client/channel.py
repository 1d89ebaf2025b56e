"""A channel: one connection at a time to the first of its addresses that answers, and the calls on it.

States are gRPC's: IDLE until something is asked of it, CONNECTING, READY, TRANSIENT_FAILURE between failed attempts,
SHUTDOWN. One task, `_connect`, moves between them; it ends when the channel is READY, IDLE or SHUTDOWN.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
import grpc.aio

from cluster.rpc.grpc.address import parse_target
from cluster.rpc.grpc.client.call import ClientCall
from cluster.rpc.grpc.client.connection import ClientConnection
from cluster.rpc.grpc.client.interception import Intercepted, chosen
from cluster.rpc.grpc.client.multicallable import (
    MethodStub,
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from cluster.rpc.grpc.client.options import ChannelOptions
from runtime import Net, Randomness

Connectivity = grpc.ChannelConnectivity
Plain = TypeVar("Plain", bound=Callable[..., Any])


class Channel(grpc.aio.Channel):
    """A gRPC channel on `runtime.Net`. Generated stubs take it as they take grpc.aio's."""

    def __init__(
        self,
        target: str,
        net: Net,
        random: Randomness,
        options: ChannelOptions | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        compression: grpc.Compression | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> None:
        """Raises ValueError when `target` names no address. Connects when first used."""
        self.loop = asyncio.get_running_loop()
        self.options = options or ChannelOptions()
        self.compression = compression
        self._addresses = parse_target(target)
        self._net = net
        self._random = random
        self._interceptors = interceptors
        self._tls = tls
        self._server_hostname = server_hostname
        self._state = Connectivity.IDLE
        self._state_waiters: list[asyncio.Future[None]] = []
        self._connection: ClientConnection | None = None
        self._leaving: dict[ClientConnection, None] = {}
        self._waiting: deque[tuple[ClientCall, bool]] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._last_failure = "the channel has not connected yet"

    # ---- calls

    def submit(self, call: ClientCall, *, wait_for_ready: bool = False) -> None:
        """Sends a call as soon as there is a stream for it."""
        if call.done():
            return
        connection = self._connection
        if connection is not None and not self._waiting and connection.http2.can_open:
            self._attach(call, connection)
            return
        if self._state is Connectivity.SHUTDOWN:
            call.fail_unsent(grpc.StatusCode.CANCELLED, "Channel closed!")
            return
        if self._state is Connectivity.TRANSIENT_FAILURE and not wait_for_ready:
            call.fail_unsent(grpc.StatusCode.UNAVAILABLE, self._last_failure)
            return
        if len(self._waiting) >= self.options.calls_waiting_max:
            self._drop_ended()
            if len(self._waiting) >= self.options.calls_waiting_max:
                call.fail_unsent(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls wait for a connection")
                return
        self._waiting.append((call, wait_for_ready))
        if connection is not None:
            connection.waiters = True
        else:
            self._ensure_connecting()

    def _attach(self, call: ClientCall, connection: ClientConnection) -> None:
        try:
            call.attach(connection)
        except ValueError as error:
            call.fail_unsent(grpc.StatusCode.INTERNAL, str(error))

    def _drop_ended(self) -> None:
        self._waiting = deque(item for item in self._waiting if not item[0].done())

    def _on_free(self, connection: ClientConnection) -> None:
        """Starts calls that wait for a stream, as many as the server allows."""
        if connection is not self._connection:
            return
        waiting = self._waiting
        while waiting and connection.http2.can_open:
            call, _ = waiting.popleft()
            if not call.done():
                self._attach(call, connection)
        connection.waiters = bool(waiting)
        if connection.http2.exhausted:
            self._on_leaving(connection, "all streams of the connection are used")
            connection.close_when_idle()

    # ---- connecting

    def _ensure_connecting(self) -> None:
        if self._connecting is None and self._connection is None and self._state is not Connectivity.SHUTDOWN:
            self._connecting = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        """Tries every address, pauses, and tries again, while somebody wants the connection."""
        options = self.options
        backoff_s = options.backoff_s_min
        try:
            while self._state is not Connectivity.SHUTDOWN:
                self._move(Connectivity.CONNECTING)
                connection = await self._try_addresses()
                if connection is not None and (
                    connection.lost or connection.http2.failed or connection.http2.going_away
                ):
                    # It ended in the moment in which it was ready: `_on_leaving` came before it was ours, and nobody
                    # would ever tell again. Found by `orrery sim run --seed 855`.
                    self._last_failure = "the connection ended as soon as it was made"
                    connection.abort()
                    connection = None
                if connection is not None:
                    self._connection = connection
                    self._move(Connectivity.READY)
                    self._on_free(connection)
                    return
                self._move(Connectivity.TRANSIENT_FAILURE)
                self._fail_impatient()
                jitter = 1.0 + options.backoff_jitter * (2.0 * self._random.random() - 1.0)
                await asyncio.sleep(backoff_s * jitter)
                backoff_s = min(backoff_s * options.backoff_factor, options.backoff_s_max)
        finally:
            self._connecting = None

    async def _try_addresses(self) -> ClientConnection | None:
        for host, port in self._addresses:
            try:
                # Not wait_for: before Python 3.12 it loses a cancellation that meets the end of what it waits for.
                async with asyncio.timeout(self.options.connect_s_max):
                    return await self._open(host, port)
            except TimeoutError:
                self._last_failure = f"failed to connect to {host}:{port}: no answer in time"
            except (OSError, ssl.SSLError, ValueError) as error:
                # ValueError, UnicodeError among them: a name that no resolver takes, `kv..1` or one of 300 characters.
                # It must not end the task that connects, or calls would wait for it until their deadlines.
                self._last_failure = f"failed to connect to all addresses; last error: {host}:{port}: {error}"
        return None

    async def _open(self, host: str, port: int) -> ClientConnection:
        name = f"[{host}]" if ":" in host else host
        protocols: list[ClientConnection] = []

        def make() -> ClientConnection:
            protocol = ClientConnection(
                self.loop,
                self.options,
                authority=f"{self._server_hostname or name}:{port}".encode(),
                scheme=b"https" if self._tls is not None else b"http",
                on_free=self._on_free,
                on_leaving=self._on_leaving,
            )
            protocols.append(protocol)
            return protocol

        hostname = (self._server_hostname or host) if self._tls is not None else None
        try:
            _, protocol = await self._net.connect(make, host, port, tls=self._tls, server_hostname=hostname)
            connection = cast(ClientConnection, protocol)
            await connection.ready
        except BaseException:
            for protocol in protocols:
                protocol.abort()
            raise
        return connection

    def _on_leaving(self, connection: ClientConnection, reason: str) -> None:
        """A connection takes no more calls. What runs on it may finish."""
        if not connection.lost and connection.http2.streams:
            self._leaving[connection] = None
        if connection is not self._connection:
            self._leaving.pop(connection, None)
            return
        self._connection = None
        self._last_failure = reason
        if self._state is Connectivity.SHUTDOWN:
            return
        self._move(Connectivity.IDLE)
        if self._waiting:
            self._ensure_connecting()

    def _fail_impatient(self) -> None:
        """After a failed attempt, calls that did not ask to wait fail. They were never sent."""
        waiting, self._waiting = self._waiting, deque()
        for call, patient in waiting:
            if patient and not call.done():
                self._waiting.append((call, patient))
            else:
                call.fail_unsent(grpc.StatusCode.UNAVAILABLE, self._last_failure)

    # ---- state

    def _move(self, state: grpc.ChannelConnectivity) -> None:
        if state is self._state or self._state is Connectivity.SHUTDOWN:
            return
        self._state = state
        waiters, self._state_waiters = self._state_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The channel's state; with `try_to_connect`, an idle one starts to connect."""
        if try_to_connect and self._state is Connectivity.IDLE:
            self._ensure_connecting()
        return self._state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns once the state is another than `last_observed_state`."""
        while self._state is last_observed_state:
            waiter = self.loop.create_future()
            self._state_waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._state_waiters:
                    self._state_waiters.remove(waiter)

    async def channel_ready(self) -> None:
        """Connects, and returns once the channel is READY. Raises UsageError when it is closed."""
        while (state := self.get_state(try_to_connect=True)) is not Connectivity.READY:
            if state is Connectivity.SHUTDOWN:
                raise grpc.aio.UsageError("Channel is closed.")
            await self.wait_for_state_change(state)

    async def close(self, grace: float | None = None) -> None:
        """Ends the channel: running calls may take `grace` seconds, then they are cancelled."""
        await self._shut(grace, grpc.StatusCode.CANCELLED, "Channel closed!")

    async def leave(self, grace: float | None, details: str) -> None:
        """Ends the channel because its server is not wanted any more, and not its callers.

        As `close`, but calls that run on after `grace` seconds fail as UNAVAILABLE, as if the connection were lost:
        their callers may ask another server, while a call that is cancelled raises CancelledError in them.
        """
        await self._shut(grace, grpc.StatusCode.UNAVAILABLE, details)

    async def _shut(self, grace: float | None, code: grpc.StatusCode, details: str) -> None:
        if self._state is Connectivity.SHUTDOWN:
            return
        self._move(Connectivity.SHUTDOWN)
        connecting = self._connecting
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        waiting, self._waiting = self._waiting, deque()
        for call, _ in waiting:
            call.fail_unsent(code, details)
        connections = [*self._leaving, *([self._connection] if self._connection is not None else [])]
        self._connection = None
        calls = [
            cast(ClientCall, stream.owner)
            for connection in connections
            for stream in connection.http2.streams.values()
            if stream.owner is not None
        ]
        try:
            if grace and calls:
                ends = [self.loop.create_task(call.wait_for_end()) for call in calls]
                try:
                    await asyncio.wait(ends, timeout=grace)
                finally:
                    for end in ends:
                        end.cancel()
        finally:
            for call in calls:
                if code is grpc.StatusCode.CANCELLED:
                    call.cancel()
                else:
                    call.abandon(code, details)
            for connection in connections:
                connection.flush()
                connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

    # ---- for stubs

    def _stub(
        self,
        method: str,
        request_serializer: Callable[[object], bytes] | None,
        response_deserializer: Callable[[bytes], object] | None,
    ) -> MethodStub:
        return MethodStub(self, method, request_serializer, response_deserializer)

    def _intercepted(self, method: str, plain: Plain, kind: type[grpc.aio.ClientInterceptor]) -> Plain:
        hooks = chosen(self._interceptors, kind) if self._interceptors else None
        # It is called as the plain one is, and what it returns is asked what the plain one's call is asked.
        return cast(Plain, Intercepted(self, method, plain, hooks)) if hooks else plain

    def unary_unary(  # type: ignore[override]  # message types are the stubs' business
        self,
        method: str,
        request_serializer: Callable[[object], bytes] | None = None,
        response_deserializer: Callable[[bytes], object] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnaryMultiCallable:
        """A callable for a method with one message each way."""
        plain = UnaryUnaryMultiCallable(self, self._stub(method, request_serializer, response_deserializer))
        return self._intercepted(method, plain, grpc.aio.UnaryUnaryClientInterceptor)

    def unary_stream(  # type: ignore[override]  # message types are the stubs' business
        self,
        method: str,
        request_serializer: Callable[[object], bytes] | None = None,
        response_deserializer: Callable[[bytes], object] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryStreamMultiCallable:
        """A callable for a method that answers with a stream."""
        plain = UnaryStreamMultiCallable(self, self._stub(method, request_serializer, response_deserializer))
        return self._intercepted(method, plain, grpc.aio.UnaryStreamClientInterceptor)

    def stream_unary(  # type: ignore[override]  # message types are the stubs' business
        self,
        method: str,
        request_serializer: Callable[[object], bytes] | None = None,
        response_deserializer: Callable[[bytes], object] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamUnaryMultiCallable:
        """A callable for a method that takes a stream."""
        plain = StreamUnaryMultiCallable(self, self._stub(method, request_serializer, response_deserializer))
        return self._intercepted(method, plain, grpc.aio.StreamUnaryClientInterceptor)

    def stream_stream(  # type: ignore[override]  # message types are the stubs' business
        self,
        method: str,
        request_serializer: Callable[[object], bytes] | None = None,
        response_deserializer: Callable[[bytes], object] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamStreamMultiCallable:
        """A callable for a method that streams both ways."""
        plain = StreamStreamMultiCallable(self, self._stub(method, request_serializer, response_deserializer))
        return self._intercepted(method, plain, grpc.aio.StreamStreamClientInterceptor)
