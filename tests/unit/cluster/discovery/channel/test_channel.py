"""Generated stubs on a balanced channel, over real connections, with either engine beneath."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.discovery import BalancedOptions, LeastRequest, RoundRobin, StaticSource, balanced_channel
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb
from cluster.pb.orrery.rpctest.v1.rpctest_pb2_grpc import (
    TestServiceServicer as Servicer,
)
from cluster.pb.orrery.rpctest.v1.rpctest_pb2_grpc import (
    TestServiceStub as Stub,
)
from cluster.pb.orrery.rpctest.v1.rpctest_pb2_grpc import (
    add_TestServiceServicer_to_server as add,
)
from cluster.rpc import RpcOptions, Server, create_server, listen
from runtime.real import StreamNet, SystemClock, SystemRandomness

NET, RANDOM, CLOCK = StreamNet(), SystemRandomness(), SystemClock()


class Named(Servicer):
    def __init__(self, name: bytes) -> None:
        self.name = name

    async def EmptyCall(self, request: Any, context: Any) -> pb.Empty:
        return pb.Empty()

    async def UnimplementedCall(self, request: Any, context: Any) -> pb.Empty:
        return pb.Empty()

    async def UnaryCall(self, request: Any, context: Any) -> pb.SimpleResponse:
        return pb.SimpleResponse(payload=pb.Payload(body=self.name))

    async def StreamingOutputCall(self, request: Any, context: Any) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        for _ in range(3):
            yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=self.name))

    async def StreamingInputCall(self, request_iterator: Any, context: Any) -> pb.StreamingInputCallResponse:
        sizes = [len(request.payload.body) async for request in request_iterator]
        return pb.StreamingInputCallResponse(aggregated_payload_size=sum(sizes))

    async def FullDuplexCall(
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        async for request in request_iterator:
            yield pb.StreamingOutputCallResponse(payload=request.payload)


async def serve(count: int) -> tuple[list[Server], list[str]]:
    servers, addresses = [], []
    for number in range(count):
        server = create_server(net=NET)
        servicer: Any = Named(b"%d" % number)
        add(servicer, server)
        addresses.append(f"127.0.0.1:{await listen(server, '127.0.0.1:0')}")
        await server.start()
        servers.append(server)
    return servers, addresses


@pytest.mark.parametrize("engine", ["orrery", "grpcio"])
async def test_all_kinds_of_call_by_generated_stubs(engine: Any) -> None:
    servers, addresses = await serve(3)
    options = BalancedOptions(rpc=RpcOptions(engine=engine))
    source = StaticSource(addresses)
    async with (
        asyncio.timeout(30),
        balanced_channel(source, RoundRobin(RANDOM), options, net=NET, random=RANDOM, clock=CLOCK) as channel,
    ):
        stub: Any = Stub(channel)
        pool = channel.pool
        assert isinstance(await stub.EmptyCall(pb.Empty(), timeout=10), pb.Empty)
        while len(pool.choice.usable) < 3:
            await asyncio.sleep(0.01)
        bodies = [(await stub.UnaryCall(pb.SimpleRequest())).payload.body for _ in range(9)]
        assert sorted(bodies) == [b"0"] * 3 + [b"1"] * 3 + [b"2"] * 3
        told = [each.payload.body async for each in stub.StreamingOutputCall(pb.StreamingOutputCallRequest())]
        assert len(told) == 3
        requests = [pb.StreamingInputCallRequest(payload=pb.Payload(body=b"x" * 5))] * 4
        assert (await stub.StreamingInputCall(iter(requests))).aggregated_payload_size == 20
        chat = stub.FullDuplexCall()
        await chat.write(pb.StreamingOutputCallRequest(payload=pb.Payload(body=b"hello")))
        assert (await chat.read()).payload.body == b"hello"
        assert pool.in_flight == 1
        await chat.done_writing()
        assert await chat.read() is grpc.aio.EOF
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/no/such")(b"")
        while pool.in_flight:
            await asyncio.sleep(0.001)
        # One goes, and then another is not in the set any more.
        await servers[0].stop(None)
        while len(pool.choice.usable) > 2:
            await asyncio.sleep(0.01)
        assert {(await stub.UnaryCall(pb.SimpleRequest())).payload.body for _ in range(6)} == {b"1", b"2"}
        source.replace(addresses[1:2])
        assert {(await stub.UnaryCall(pb.SimpleRequest())).payload.body for _ in range(6)} == {b"1"}
    for server in servers:
        await server.stop(None)


async def test_many_calls_at_once() -> None:
    servers, addresses = await serve(3)
    async with (
        asyncio.timeout(30),
        balanced_channel(StaticSource(addresses), LeastRequest(RANDOM), net=NET, random=RANDOM, clock=CLOCK) as channel,
    ):
        stub: Any = Stub(channel)
        answers = await asyncio.gather(*(stub.UnaryCall(pb.SimpleRequest()) for _ in range(600)))
        assert len(answers) == 600
        picks = [target.picks for target in channel.pool.targets.values()]
        assert sum(picks) == 600
        assert channel.pool.in_flight == 0
    for server in servers:
        await server.stop(None)
