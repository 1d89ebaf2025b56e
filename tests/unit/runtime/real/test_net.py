"""The stream network: small frames are not delayed, on either loop."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing
from typing import cast

import pytest
import uvloop

from runtime.real import StreamNet


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, but are no instances of it.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_bytes_flow_without_delay(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        net = StreamNet()
        arrived: asyncio.Future[Recorder] = asyncio.get_running_loop().create_future()

        def accept() -> Recorder:
            recorder = Recorder()
            arrived.set_result(recorder)
            return recorder

        server = await net.listen(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, client = await net.connect(Recorder, "127.0.0.1", port)
        assert isinstance(client, Recorder)
        transport.write(b"hello")
        accepted = await arrived
        assert await accepted.received == b"hello"
        for end in (transport, accepted.transport):
            assert end is not None
            assert end.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.close()
        await client.lost
        await accepted.lost
        server.close()

    with closing(loop_factory()) as loop:
        loop.run_until_complete(scenario())


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Future[tuple[bytes, tuple[str, int]]] = asyncio.get_running_loop().create_future()
        self.failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.set_result((data, addr))

    def error_received(self, exc: Exception) -> None:
        if not self.failed.done():
            self.failed.set_result(exc)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_datagrams_flow_and_a_connected_endpoint_hears_that_nobody_listens(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scenario() -> None:
        net = StreamNet()
        server, serving = await net.datagram(Datagrams, "127.0.0.1", 0)
        assert isinstance(serving, Datagrams)
        address = server.get_extra_info("sockname")
        client, asking = await net.datagram(Datagrams, "127.0.0.1", 0, remote=address)
        assert isinstance(asking, Datagrams)
        client.sendto(b"ask")
        assert await serving.received == (b"ask", client.get_extra_info("sockname"))
        server.close()
        while not asking.failed.done():
            client.sendto(b"anyone?")
            await asyncio.sleep(0.01)
        assert isinstance(asking.failed.result(), ConnectionRefusedError)
        client.close()
        await asyncio.sleep(0)

    with closing(loop_factory()) as loop:
        loop.run_until_complete(scenario())
