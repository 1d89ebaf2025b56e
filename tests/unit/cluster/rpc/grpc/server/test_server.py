"""The server as a whole: how it stops, its limits, and who may look into its calls; on real loopback connections."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.rpc.grpc import Channel, Server, ServerOptions
from cluster.rpc.http2 import Allowance, Limits, frames
from runtime.real import StreamNet, SystemRandomness
from tests.unit.cluster.rpc.grpc.server.serving import (
    FAST,
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

# ---- stopping, limits, floods


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
        call: Any = channel.unary_unary("/t.T/Echo")
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
