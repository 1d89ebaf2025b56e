"""The server's behaviour on real loopback connections, called by our channel or by raw bytes."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
import pytest

from cluster.rpc.grpc import Channel, ChannelOptions, Server, ServerOptions
from cluster.rpc.http2 import Allowance, Limits, encode_headers, frames
from runtime.real import StreamNet, SystemRandomness

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Unary: TypeAlias = Callable[[bytes, Context], Awaitable[bytes]]

HOST = "127.0.0.1"
FAST = ServerOptions(linger_s_max=0.1)
REQUEST = encode_headers(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/t.T/Wait"),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
)


class Handlers(grpc.GenericRpcHandler):
    """Methods by name, of any kind."""

    def __init__(self, **methods: "grpc.RpcMethodHandler[Any, Any]") -> None:
        self.methods = methods

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        service, _, name = handler_call_details.method.removeprefix("/").partition("/")
        return self.methods.get(name) if service == "t.T" else None


def unary(behavior: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    return grpc.unary_unary_rpc_method_handler(behavior)


async def echo(request: bytes, context: Context) -> bytes:
    return request


async def serve(server: Server, **methods: "grpc.RpcMethodHandler[Any, Any]") -> int:
    server.add_generic_rpc_handlers([Handlers(**methods)])
    return await server.listen(HOST, 0)


def connect(port: int, options: ChannelOptions | None = None) -> Channel:
    return Channel(f"{HOST}:{port}", StreamNet(), SystemRandomness(), options)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(StreamNet(), FAST)
    yield server
    await server.stop(None)


class Raw:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, *, handshake: bool = True) -> "Raw":
        raw = cls(*await asyncio.open_connection(HOST, port))
        if handshake:
            raw.writer.write(frames.PREFACE + frames.settings_frame({}))
        return raw

    async def until_closed(self) -> bytes:
        data = b""
        async with asyncio.timeout(10):
            try:
                while chunk := await self.reader.read(65_536):
                    data += chunk
            except ConnectionError:
                pass
        self.writer.close()
        return data


# ---- status, metadata, deadlines


async def test_abort_and_what_it_carries(server: Server) -> None:
    async def fail(request: bytes, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "none such: ü", (("k", "v"), ("d-bin", b"\0")))

    port = await serve(server, Fail=unary(fail))
    async with connect(port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Fail")(b"")
    error = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "none such: ü")
    assert tuple(error.trailing_metadata()) == (("k", "v"), ("d-bin", b"\0"))


async def test_a_method_registered_later_is_found_by_connections_that_asked_before(server: Server) -> None:
    port = await server.listen(HOST, 0)
    async with connect(port) as channel:
        call = channel.unary_unary("/t.T/Echo")
        for _ in range(3):  # the third request repeats its header block, so what was read of it is remembered
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        server.add_generic_rpc_handlers([Handlers(Echo=unary(echo))])
        assert await call(b"now") == b"now"


async def test_an_exception_is_unknown_and_named(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: bytes, context: Context) -> bytes:
        raise ValueError("why")

    port = await serve(server, Fail=unary(fail))
    async with connect(port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Fail")(b"")
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert caught.value.details() == "Unexpected <class 'ValueError'>: why"
    assert "/t.T/Fail failed" in caplog.text


async def test_a_plain_function_serves_too(server: Server) -> None:
    port = await serve(server, Up=unary(lambda request, context: request.upper()))
    async with connect(port) as channel:
        assert await channel.unary_unary("/t.T/Up")(b"a") == b"A"


async def test_a_deadline_cancels_the_servicer_and_is_told(server: Server) -> None:
    cancelled = asyncio.Event()
    remaining: list[float] = []

    async def wait(request: bytes, context: Context) -> bytes:
        remaining.append(context.time_remaining())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return b""

    port = await serve(server, Wait=unary(wait))
    raw = await Raw.open(port)
    block = REQUEST + encode_headers([(b"grpc-timeout", b"50m")])
    raw.writer.write(frames.headers_frames(1, block, 0, 16_384) + frames.frame_header(5, 0, 1, 1) + b"\0" * 5)
    async with asyncio.timeout(5):
        data = b""
        while b"grpc-status\x014" not in data:
            data += await raw.reader.read(1000)
        await cancelled.wait()
    assert 0 < remaining[0] <= 0.051
    raw.writer.close()


async def test_a_cancelled_call_cancels_the_servicer_and_calls_back(server: Server) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()
    over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def wait(request: bytes, context: Context) -> bytes:
        callback: Any = lambda context: over.set_result(context.cancelled())  # noqa: E731
        context.add_done_callback(callback)
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return b""

    port = await serve(server, Wait=unary(wait), Echo=unary(echo))
    async with connect(port) as channel, asyncio.timeout(5):
        call = channel.unary_unary("/t.T/Wait")(b"")
        await started.wait()
        call.cancel()
        await cancelled.wait()
        assert await over
        assert await channel.unary_unary("/t.T/Echo")(b"still here") == b"still here"
    assert server.calls == 0


# ---- workers: a servicer must not notice that tasks are reused


async def test_calls_that_wait_do_not_hold_up_others(server: Server) -> None:
    gate = asyncio.Event()

    async def wait(request: bytes, context: Context) -> bytes:
        await gate.wait()
        return request

    port = await serve(server, Wait=unary(wait), Echo=unary(echo))
    async with connect(port) as channel, asyncio.timeout(5):
        waiting = [channel.unary_unary("/t.T/Wait")(b"%d" % number) for number in range(100)]
        assert await channel.unary_unary("/t.T/Echo")(b"x") == b"x"
        gate.set()
        assert [await call for call in waiting] == [b"%d" % number for number in range(100)]


async def test_context_variables_do_not_leak_from_call_to_call(server: Server) -> None:
    variable: contextvars.ContextVar[bytes] = contextvars.ContextVar("variable", default=b"unset")

    async def look(request: bytes, context: Context) -> bytes:
        seen = variable.get()
        variable.set(request)
        return seen

    port = await serve(server, Look=unary(look))
    async with connect(port) as channel:
        assert [await channel.unary_unary("/t.T/Look")(b"%d" % number) for number in range(5)] == [b"unset"] * 5


async def test_a_late_cancellation_does_not_strike_the_next_call(server: Server) -> None:
    """Fails when a worker goes on after its task was asked to cancel: the next call's first wait would raise."""

    async def cancels_itself(request: bytes, context: Context) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return b"done"

    async def waits(request: bytes, context: Context) -> bytes:
        await asyncio.sleep(0)
        return b"waited"

    port = await serve(server, Cancels=unary(cancels_itself), Waits=unary(waits))
    async with connect(port) as channel, asyncio.timeout(5):
        for _ in range(3):
            calls = [channel.unary_unary(f"/t.T/{name}")(b"") for name in ("Cancels", "Waits", "Waits")]
            assert [await call for call in calls] == [b"done", b"waited", b"waited"]


async def test_timeouts_and_task_groups_work_in_servicers(server: Server) -> None:
    async def behave(request: bytes, context: Context) -> bytes:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
            return bytes(task.result() for task in tasks)
        return b""

    port = await serve(server, Behave=unary(behave))
    async with connect(port) as channel:
        assert [await channel.unary_unary("/t.T/Behave")(b"") for _ in range(3)] == [b"\0\1\2"] * 3


# ---- backpressure


async def test_a_writer_waits_for_a_client_that_does_not_read(server: Server) -> None:
    written = 0

    async def pour(request: bytes, context: Context) -> AsyncIterator[bytes]:
        nonlocal written
        for _ in range(10_000):
            yield b"x" * 10_000
            written += 1

    port = await serve(server, Wait=grpc.unary_stream_rpc_method_handler(pour))
    raw = await Raw.open(port)
    raw.writer.write(frames.headers_frames(1, REQUEST, 0, 16_384) + frames.frame_header(5, 0, 1, 1) + b"\0" * 5)
    raw.writer.write(frames.window_update_frame(1, 1 << 30) + frames.window_update_frame(0, 1 << 30))
    before = -1
    async with asyncio.timeout(10):
        while written != before or written == 0:
            before = written
            await asyncio.sleep(0.2)
    assert written < 2_000, "ten thousand messages would be 100 MB in memory"
    raw.writer.transport.abort()


async def test_empty_messages_do_not_wait_without_limit(server: Server) -> None:
    gate = asyncio.Event()

    async def slow(requests: AsyncIterator[bytes], context: Context) -> bytes:
        await gate.wait()
        return b"%d" % len([request async for request in requests])

    port = await serve(server, Slow=grpc.stream_unary_rpc_method_handler(slow))
    sent = 0

    async def requests() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(300_000):
            yield b""
            sent += 1

    async with connect(port) as channel, asyncio.timeout(20):
        call = channel.stream_unary("/t.T/Slow")(requests())
        before = -1
        while sent != before or sent == 0:
            before = sent
            await asyncio.sleep(0.1)
        # The stream's window, what the client queues, and what waits in transports: not the whole stream.
        assert sent < 200_000
        call.cancel()


async def test_a_unary_call_with_a_second_message_ends_at_once(server: Server) -> None:
    port = await serve(server, Wait=unary(echo))
    raw = await Raw.open(port)
    two = frames.frame_header(10, 0, 0, 1) + b"\0" * 10
    raw.writer.write(frames.headers_frames(1, REQUEST, 0, 16_384) + two)
    async with asyncio.timeout(5):
        data = b""
        while b"grpc-status\x0212" not in data:
            data += await raw.reader.read(1000)
    raw.writer.close()


async def test_a_reader_that_is_slow_keeps_the_clients_window_shut() -> None:
    limits = Limits(stream_window_bytes=65_535, connection_window_bytes=1 << 20)
    server = Server(StreamNet(), ServerOptions(limits=limits, linger_s_max=0.1))
    gate = asyncio.Event()

    async def slow(requests: AsyncIterator[bytes], context: Context) -> bytes:
        await gate.wait()
        return b"%d" % len([request async for request in requests])

    port = await serve(server, Slow=grpc.stream_unary_rpc_method_handler(slow))
    sent = 0

    async def requests() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            yield b"x" * 10_000
            sent += 1

    async with connect(port) as channel, asyncio.timeout(20):
        call = channel.stream_unary("/t.T/Slow")(requests())
        before = -1
        while sent != before or sent == 0:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 100
        gate.set()
        assert await call == b"1000"
    await server.stop(None)


# ---- connections


async def test_stop_lets_running_calls_end_and_takes_no_new_ones(server: Server) -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    async def wait(request: bytes, context: Context) -> bytes:
        started.set()
        await gate.wait()
        return b"ended well"

    port = await serve(server, Wait=unary(wait), Echo=unary(echo))
    async with connect(port) as channel, asyncio.timeout(10):
        running = channel.unary_unary("/t.T/Wait")(b"")
        await started.wait()
        stopping = asyncio.create_task(server.stop(5))
        while channel.get_state() is grpc.ChannelConnectivity.READY:
            await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Echo")(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        gate.set()
        assert await running == b"ended well"
        await stopping
    assert server.connections == 0


async def test_stop_without_grace_ends_calls_as_unavailable(server: Server) -> None:
    started = asyncio.Event()

    async def wait(request: bytes, context: Context) -> bytes:
        started.set()
        await asyncio.Event().wait()
        return b""

    port = await serve(server, Wait=unary(wait))
    async with connect(port) as channel, asyncio.timeout(5):
        call = channel.unary_unary("/t.T/Wait")(b"")
        await started.wait()
        await server.stop(None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_request_that_is_not_grpc_is_told_so(server: Server) -> None:
    port = await serve(server, Echo=unary(echo))
    raw = await Raw.open(port)
    block = encode_headers([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"x")])
    raw.writer.write(frames.headers_frames(1, block, frames.END_STREAM, 16_384))
    async with asyncio.timeout(5):
        data = b""
        while b"Only content-type" not in data:
            data += await raw.reader.read(1000)
    raw.writer.close()


class Http1(asyncio.Protocol):
    """Answers one line."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are none of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"one:" + data)
        self.transport.close()


async def test_one_port_for_both_protocols() -> None:
    server = Server(StreamNet(), FAST, http1=Http1)
    port = await serve(server, Echo=unary(echo))
    raw = await Raw.open(port, handshake=False)
    for piece in (b"P", b"U", b"T / HTTP/1.1\r\n"):
        raw.writer.write(piece)
        await asyncio.sleep(0.01)
    assert (await raw.until_closed()).startswith(b"one:PU")
    async with connect(port) as channel:
        assert await channel.unary_unary("/t.T/Echo")(b"two") == b"two"
    await server.stop(None)


async def test_without_http1_such_connections_are_closed(server: Server) -> None:
    port = await serve(server, Echo=unary(echo))
    raw = await Raw.open(port, handshake=False)
    raw.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await raw.until_closed() == b""


async def test_a_connection_that_says_nothing_is_closed() -> None:
    server = Server(StreamNet(), ServerOptions(handshake_s_max=0.05))
    port = await serve(server, Echo=unary(echo))
    raw = await Raw.open(port, handshake=False)
    assert await raw.until_closed() == b""
    await server.stop(None)


async def test_connections_above_the_limit_are_closed() -> None:
    server = Server(StreamNet(), ServerOptions(connections_max=1, linger_s_max=0.1))
    port = await serve(server, Echo=unary(echo))
    async with connect(port) as channel:
        assert await channel.unary_unary("/t.T/Echo")(b"x") == b"x"
        raw = await Raw.open(port)
        assert await raw.until_closed() == b""
    await server.stop(None)


async def test_a_silent_client_is_pinged_and_given_up() -> None:
    server = Server(StreamNet(), ServerOptions(keepalive_s=0.05, keepalive_timeout_s=0.05))
    port = await serve(server, Echo=unary(echo))
    raw = await Raw.open(port)
    data = await raw.until_closed()
    assert frames.frame_header(8, frames.PING, 0, 0) in data
    assert b"keepalive timeout" in data
    await server.stop(None)


async def test_rapid_reset_ends_the_connection_and_starts_no_servicer() -> None:
    server = Server(StreamNet(), ServerOptions(limits=Limits(resets=Allowance(100, 0.0)), linger_s_max=0.1))
    started = 0

    async def count(request: bytes, context: Context) -> bytes:
        nonlocal started
        started += 1
        return b""

    port = await serve(server, Wait=unary(count))
    raw = await Raw.open(port)
    for number in range(1, 1_001, 2):
        raw.writer.write(
            frames.headers_frames(number, REQUEST, 0, 16_384)
            + frames.frame_header(5, 0, 1, number) + b"\0" * 5
            + frames.reset_frame(number, 8)
        )  # fmt: skip
    data = await raw.until_closed()
    assert b"too many reset streams" in data
    assert started <= 100
    assert server.connections == 0
    await server.stop(None)


async def test_calls_above_the_servers_limit_are_refused() -> None:
    server = Server(StreamNet(), FAST, calls_max=1)
    started, gate = asyncio.Event(), asyncio.Event()

    async def wait(request: bytes, context: Context) -> bytes:
        started.set()
        await gate.wait()
        return b"first"

    port = await serve(server, Wait=unary(wait))
    async with connect(port) as channel, asyncio.timeout(5):
        first = channel.unary_unary("/t.T/Wait")(b"")
        await started.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Wait")(b"")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        gate.set()
        assert await first == b"first"
        assert await channel.unary_unary("/t.T/Wait")(b"") == b"first"
    await server.stop(None)


async def test_a_busy_client_of_grpcio_is_no_flood() -> None:
    """It sends two window updates for each answer: about as many frames that carry nothing as frames that do."""
    strict = Limits(idle_work=Allowance(burst=300, rate_per_s=0.0))
    server = Server(StreamNet(), ServerOptions(limits=strict, linger_s_max=0.1))
    port = await serve(server, Echo=unary(echo))
    async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        call = channel.unary_unary("/t.T/Echo")
        for _ in range(20):
            assert await asyncio.gather(*(call(b"x" * 32) for _ in range(50))) == [b"x" * 32] * 50
    await server.stop(None)


# ---- interception


class Doubling(grpc.aio.ServerInterceptor):
    """Answers twice what the servicer answers, and refuses one method."""

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if handler_call_details.method == "/t.T/Forbidden":

            async def refuse(request: bytes, context: Context) -> bytes:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

            return unary(refuse)
        handler = await continuation(handler_call_details)

        async def twice(request: bytes, context: Context) -> bytes:
            answer: bytes = await handler.unary_unary(request, context)
            return answer * 2

        return unary(twice)


async def test_interceptors_of_grpc_aio(server: Server) -> None:
    server = Server(StreamNet(), FAST, interceptors=[Doubling()])
    port = await serve(server, Echo=unary(echo), Forbidden=unary(echo))
    async with connect(port) as channel:
        assert await channel.unary_unary("/t.T/Echo")(b"ab") == b"abab"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Forbidden")(b"")
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await server.stop(None)


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def call_started(self, call: Any) -> None:
        self.events.append((call.method_path, "started"))

    def call_ended(self, call: Any, code: grpc.StatusCode) -> None:
        self.events.append((call.method_path, code.name))


async def test_observers_hear_of_every_call() -> None:
    seen = Seen()
    server = Server(StreamNet(), FAST, observers=[seen])
    port = await serve(server, Echo=unary(echo))
    async with connect(port) as channel:
        await channel.unary_unary("/t.T/Echo")(b"ab")
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/t.T/Nope")(b"")
    await server.stop(None)
    assert seen.events == [
        ("/t.T/Echo", "started"),
        ("/t.T/Echo", "OK"),
        ("/t.T/Nope", "started"),
        ("/t.T/Nope", "UNIMPLEMENTED"),
    ]


# ---- TLS


async def test_mutual_tls_names_the_peer_and_refuses_strangers(certificates: Any) -> None:
    server = Server(StreamNet(), FAST)

    async def who(request: bytes, context: Context) -> bytes:
        return b",".join(context.peer_identities() or [])

    server.add_generic_rpc_handlers([Handlers(Who=unary(who))])
    port = await server.listen(HOST, 0, tls=certificates.server_context(mutual=True))
    target = f"{HOST}:{port}"
    net, random = StreamNet(), SystemRandomness()
    known = certificates.client_context(mutual=True)
    async with Channel(target, net, random, tls=known, server_hostname="localhost") as channel:
        assert await channel.unary_unary("/t.T/Who")(b"") == b"localhost,client"
    stranger = certificates.client_context()
    async with Channel(target, net, random, tls=stranger, server_hostname="localhost") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Who")(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await server.stop(None)
