import re
import socket
from typing import Any

import grpc
import pytest

from cluster.rpc import bind, create_channel, create_server


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
