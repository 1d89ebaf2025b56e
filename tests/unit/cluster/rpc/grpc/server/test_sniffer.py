"""One port for two protocols: the first bytes decide."""

import asyncio
from typing import cast

from cluster.rpc.grpc import Server, ServerOptions
from runtime.real import StreamNet
from tests.unit.cluster.rpc.grpc.server.serving import FAST, Raw, connect, echo, serve, unary


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
