import re
import socket
from typing import Any

import grpc
import pytest

from cluster.rpc import RpcOptions, bind, create_channel, create_server, listen
from cluster.rpc.grpc import Server as OwnServer
from runtime.real import StreamNet, SystemRandomness


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    first, second = create_server(), create_server()
    port = bind(first, "127.0.0.1:0")
    await first.start()
    try:
        with pytest.raises(OSError, match=re.escape(f"cannot listen on 127.0.0.1:{port}")):
            bind(second, f"127.0.0.1:{port}")
    finally:
        await first.stop(None)
        await second.stop(None)


async def test_a_channel_finds_a_server_that_starts_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with create_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary("/test.Nothing/Method")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        server = create_server()
        bind(server, f"127.0.0.1:{port}")
        await server.start()
        try:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", wait_for_ready=True, timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        finally:
            await server.stop(None)


@pytest.mark.parametrize("serving", ["orrery", "grpcio"])
@pytest.mark.parametrize("calling", ["orrery", "grpcio"])
async def test_the_engine_is_chosen_by_configuration(serving: Any, calling: Any) -> None:
    net, random = StreamNet(), SystemRandomness()
    server = create_server(RpcOptions(engine=serving), net=net)
    assert isinstance(server, OwnServer) == (serving == "orrery")
    port = await listen(server, "127.0.0.1:0")
    await server.start()
    async with create_channel(f"127.0.0.1:{port}", RpcOptions(engine=calling), net=net, random=random) as channel:
        call: Any = channel.unary_unary("/test.Nothing/Method")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await server.stop(None)


async def test_a_taken_port_is_an_error_with_our_engine() -> None:
    net = StreamNet()
    first, second = create_server(net=net), create_server(net=net)
    port = await listen(first, "127.0.0.1:0")
    with pytest.raises(OSError, match=str(port)):
        await listen(second, f"127.0.0.1:{port}")
    await first.stop(None)
    await second.stop(None)
