"""What a servicer knows of a call, and a caller of its end: on loopback connections, by our channel or by raw bytes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.rpc.grpc import Server, ServerOptions
from cluster.rpc.http2 import Limits, encode_headers, frames
from runtime.real import StreamNet
from tests.unit.cluster.rpc.grpc.server.serving import (
    HOST,
    REQUEST,
    Context,
    Handlers,
    Raw,
    connect,
    echo,
    serve,
    unary,
)

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
