"""Requests of a stream that are handed to the transport on the spot."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
import pytest

from cluster.rpc.grpc import Channel, ChannelOptions, Server, ServerOptions
from cluster.rpc.grpc.client.kinds import StreamUnaryCall
from runtime.real import StreamNet, SystemRandomness

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
OPTIONS = ChannelOptions(linger_s_max=0.1, send_bytes_max=1 << 20)


class Gather(grpc.GenericRpcHandler):
    """`/t.T/Gather` answers with all requests, joined; it begins to read when its gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()

    async def gather(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        await self.gate.wait()
        return b" ".join([request async for request in requests])

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        behavior: Any = self.gather
        return grpc.stream_unary_rpc_method_handler(behavior)


@pytest.fixture
async def served() -> AsyncIterator[tuple[Channel, Gather]]:
    server = Server(StreamNet(), ServerOptions(linger_s_max=0.1))
    handler = Gather()
    server.add_generic_rpc_handlers([handler])
    port = await server.listen("127.0.0.1", 0)
    channel = Channel(f"127.0.0.1:{port}", StreamNet(), SystemRandomness(), OPTIONS)
    try:
        yield channel, handler
    finally:
        await channel.close()
        await server.stop(None)


def gather(channel: Channel, requests: AsyncIterator[bytes] | None = None) -> StreamUnaryCall:
    return channel.stream_unary("/t.T/Gather")(requests)


async def test_it_keeps_its_place_among_those_that_are_written(served: tuple[Channel, Gather]) -> None:
    call = gather(served[0])
    assert not call.write_now(b"there is no stream yet")
    await call.wait_for_connection()
    await call.write(b"1")
    assert call.write_now(b"2")
    assert call.write_now(b"3")
    await call.write(b"4")
    assert not call.write_now(bytes(OPTIONS.send_bytes_max + 1))
    assert call.write_now(b"5")
    await call.done_writing()
    assert not call.write_now(b"too late")
    assert await call == b"1 2 3 4 5"
    assert not call.write_now(b"over")


async def test_it_may_stand_between_those_of_an_iterator(served: tuple[Channel, Gather]) -> None:
    more = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        yield b"1"
        await more.wait()
        yield b"3"

    call = gather(served[0], requests())
    await call.wait_for_connection()
    while not call._writes:
        await asyncio.sleep(0)
    assert call.write_now(b"2")
    more.set()
    assert await call == b"1 2 3"


async def test_it_does_not_pile_up_before_a_peer_that_does_not_read(served: tuple[Channel, Gather]) -> None:
    channel, handler = served
    handler.gate.clear()
    call = gather(channel)
    await call.wait_for_connection()
    request = bytes(100_000)
    taken = 0
    while call.write_now(request):
        taken += 1
        assert taken < 1000, "somebody must say no"
        await asyncio.sleep(0)
    handler.gate.set()
    await call.done_writing()
    assert len(cast(bytes, await call)) == taken * (len(request) + 1) - 1
