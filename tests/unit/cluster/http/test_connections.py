"""The set of connections that a port shared with another protocol keeps."""

import asyncio

from cluster.http import HttpConnections, Limits, Request, Response
from runtime.real import StreamNet, SystemClock


async def test_it_counts_refuses_above_the_limit_and_lets_requests_finish_when_it_closes() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> Response:
        begun.set()
        await go_on.wait()
        return Response(200, b"done")

    connections = HttpConnections(wait, SystemClock(), Limits(connections_max=1))
    listener = await StreamNet().listen(connections.accept, "127.0.0.1", 0)
    port = int(listener.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(10):
        await begun.wait()
        assert len(connections) == 1

        second, second_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            assert await second.read() == b""
        except ConnectionResetError:
            pass
        second_writer.close()

        closing = asyncio.create_task(connections.close(10.0))
        await asyncio.sleep(0)
        go_on.set()
        assert (await reader.read()).endswith(b"done")
        await closing
    assert len(connections) == 0
    writer.close()
    listener.close()


async def test_closing_cuts_off_who_takes_too_long() -> None:
    begun = asyncio.Event()

    async def hang(request: Request) -> Response:
        begun.set()
        await asyncio.Event().wait()
        return Response()

    connections = HttpConnections(hang, SystemClock())
    listener = await StreamNet().listen(connections.accept, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", int(listener.sockets[0].getsockname()[1]))
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(10):
        await begun.wait()
        await connections.close(0.01)
    assert len(connections) == 0
    writer.close()
    listener.close()
