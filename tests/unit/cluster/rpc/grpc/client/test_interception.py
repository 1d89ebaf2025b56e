"""grpc.aio's client interceptors, run by both engines' channels: the same outcome from the same interceptors."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.rpc import create_channel, create_server, listen
from cluster.rpc.engine import RpcOptions
from runtime.real import StreamNet, SystemRandomness

SERVICE = "t.T"


async def echo(request: bytes, context: Any) -> bytes:
    if request == b"fail":
        await context.abort(grpc.StatusCode.ABORTED, "again")
    metadata: dict[str, str] = dict(context.invocation_metadata())
    return request + metadata.get("added", "").encode()


async def twice(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield await echo(request, context)
    yield await echo(request, context)


async def join(requests: AsyncIterator[bytes], context: Any) -> bytes:
    return b"".join([await echo(request, context) async for request in requests])


async def chat(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield await echo(request, context)


def added(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    metadata = details.metadata or grpc.aio.Metadata()
    metadata.add("added", "+")
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )


class AddsUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(added(client_call_details), request)


class AddsServerStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(added(client_call_details), request)


class AddsClientStream(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(added(client_call_details), request_iterator)


class AddsBoth(grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(added(client_call_details), request_iterator)


class Substitutes(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends another request when the first fails, and answers one by itself."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        if request == b"cached":
            return b"from the cache"
        call = await continuation(client_call_details, request)
        if await call.code() is grpc.StatusCode.ABORTED:
            return await continuation(client_call_details, b"second try")
        return call


@pytest.fixture(params=["orrery", "grpcio"])
async def channel(request: pytest.FixtureRequest) -> AsyncIterator[grpc.aio.Channel]:
    net = StreamNet()
    server = create_server(net=net)
    handlers: dict[str, Any] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Twice": grpc.unary_stream_rpc_method_handler(twice),
        "Join": grpc.stream_unary_rpc_method_handler(join),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = await listen(server, "127.0.0.1:0")
    interceptors = [Substitutes(), AddsUnary(), AddsServerStream(), AddsClientStream(), AddsBoth()]
    async with create_channel(
        f"127.0.0.1:{port}",
        RpcOptions(engine=request.param),
        interceptors=interceptors,
        net=net,
        random=SystemRandomness(),
    ) as channel:
        yield channel
    await server.stop(None)


async def test_unary(channel: Any) -> None:
    call = channel.unary_unary(f"/{SERVICE}/Echo")
    assert await call(b"a") == b"a+"
    assert await call(b"fail") == b"second try+"
    assert await call(b"cached") == b"from the cache"
    running = call(b"a", metadata=(("k", "v"),), timeout=5)
    assert await running.code() is grpc.StatusCode.OK
    assert running.done()
    assert not running.cancelled()


async def test_server_stream(channel: Any) -> None:
    call = channel.unary_stream(f"/{SERVICE}/Twice")
    assert [part async for part in call(b"a")] == [b"a+", b"a+"]
    with pytest.raises(grpc.aio.AioRpcError):
        [part async for part in call(b"fail")]


async def test_client_stream(channel: Any) -> None:
    call = channel.stream_unary(f"/{SERVICE}/Join")

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    assert await call(request_iterator=requests()) == b"a+b+"
    writing = call()
    await writing.write(b"c")
    await writing.write(b"d")
    await writing.done_writing()
    assert await writing == b"c+d+"


async def test_both_ways(channel: Any) -> None:
    chatting = channel.stream_stream(f"/{SERVICE}/Chat")()
    for number in (b"1", b"2"):
        await chatting.write(number)
        assert await chatting.read() == number + b"+"
    await chatting.done_writing()
    assert await chatting.read() is grpc.aio.EOF
    assert await chatting.code() is grpc.StatusCode.OK


async def test_cancel(channel: Any) -> None:
    call = channel.unary_unary(f"/{SERVICE}/Echo")(b"a")
    assert call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled()
