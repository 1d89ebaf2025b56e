"""A server on loopback with methods by name, and clients of it: our channel, and one that says what it likes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest

from cluster.rpc.grpc import Channel, ChannelOptions, Server, ServerOptions
from cluster.rpc.http2 import encode_headers, frames
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
