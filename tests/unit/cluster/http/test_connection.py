"""The server over real sockets, on both event loops; what it must answer, and what it must never do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.http import HttpError, HttpServer, Limits, Request, Response
from runtime.real import StreamNet, SystemClock

LIMITS = Limits(
    target_bytes_max=200, header_bytes_max=1000, headers_max=10, body_bytes_max=500, receive_s_max=0.3, pipelined_max=20
)


async def handle(request: Request) -> Response:
    if request.path == "/stream":

        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

        return Response(200, parts())
    if request.path == "/raise":
        raise RuntimeError("a fault of the handler")
    if request.path == "/refuse":
        raise HttpError(409, "not now")
    if request.path == "/split":
        return Response(200, b"", headers=(("x", "a\r\nset-cookie: b"),))
    return Response(200, f"{request.method} {request.path}?{request.query} ".encode() + request.body)


async def serve(talk: Callable[[HttpServer], Awaitable[None]], limits: Limits = LIMITS) -> None:
    server = HttpServer(StreamNet(), SystemClock(), "127.0.0.1:0", handle, limits)
    await server.start()
    try:
        await talk(server)
    finally:
        await server.stop(1.0)


async def exchange(server: HttpServer, data: bytes, *, end: bool = True) -> bytes:
    """Sends, and reads until the server closes."""
    host, port = server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    if end:
        writer.write_eof()
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def run(talk: Callable[[HttpServer], Awaitable[None]], uv: bool, limits: Limits = LIMITS) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uv else asyncio.new_event_loop) as runner:
        runner.run(serve(talk, limits))


def answer_of(data: bytes, uv: bool = True, *, end: bool = True) -> bytes:
    answers: list[bytes] = []

    async def talk(server: HttpServer) -> None:
        answers.append(await exchange(server, data, end=end))

    run(talk, uv)
    return answers[0]


H = b"Host: a\r\n"


@pytest.mark.parametrize("uv", [False, True], ids=["asyncio", "uvloop"])
def test_requests_of_one_connection_are_answered_in_order(uv: bool) -> None:
    data = b"GET /a%20b?c=d HTTP/1.1\r\n" + H + b"\r\n"
    data += b"POST /e HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nxyz"
    data += b"POST /f HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    data += b"GET /stream HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n"
    answer = answer_of(data, uv, end=False)
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"GET /a b?c=d ", b"POST /e? xyz", b"POST /f? abc", b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"]
    assert answer.count(b"connection: close") == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + H + H + b"\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + H + b"A: b\r\n" * 12 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + H + b"A: " + b"b" * 2000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + H + b"A: " + b"b" * 2000, 431),
        (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 501\r\n\r\n", 413),
        (
            b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n1f5\r\n" + b"a" * 501 + b"\r\n0\r\n\r\n",
            413,
        ),
        (b"GET / HTTP/1.1\r\n" + H, 408),
        (b"GET /raise HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n", 500),
        (b"GET /split HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n", 500),
        (b"GET /refuse HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n", 409),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nleftover", 200),
    ],
)
def test_each_fault_has_its_status_and_ends_the_connection(data: bytes, status: int) -> None:
    answer = answer_of(data, end=False)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"set-cookie" not in answer


def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    async def talk(server: HttpServer) -> None:
        host, port = server.address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"ok")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()

    run(talk, uv=True)


def test_more_requests_ahead_than_allowed_end_the_connection() -> None:
    answer = answer_of((b"GET / HTTP/1.1\r\n" + H + b"\r\n") * 60, end=False)
    assert 1 <= answer.count(b"200 OK") <= 22
    assert answer.count(b"HTTP/1.1 503 ") == 1


def test_head_has_the_length_and_no_body() -> None:
    answer = answer_of(b"HEAD /abc HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n", end=False)
    assert b"content-length: 11\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_connection_above_the_limit_is_refused() -> None:
    async def talk(server: HttpServer) -> None:
        host, port = server.address.rsplit(":", 1)
        reader, first = await asyncio.open_connection(host, int(port))
        first.write(b"GET / HTTP/1.1\r\n" + H + b"\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")  # the first is inside
        reader, second = await asyncio.open_connection(host, int(port))
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
        assert answer == b""
        second.close()
        first.close()

    run(talk, True, Limits(connections_max=1))


PIECES = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"/", b"?x", b" HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: ", b"3", b"9" * 20),
        *(b"\r\n", b"\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"abc", b"\0", b"\xff", b":"),
        *(b"Upgrade: x\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Expect: 100-continue\r\n"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(PIECES | st.binary(max_size=8), max_size=12).map(b"".join), min_size=1, max_size=20))
def test_whatever_comes_is_answered_or_closed_and_the_server_lives_on(inputs: list[bytes]) -> None:
    async def talk(server: HttpServer) -> None:
        loop = asyncio.get_running_loop()
        faults: list[object] = []
        loop.set_exception_handler(lambda _, context: faults.append(context))
        for data in inputs:
            answer = await exchange(server, data)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
            assert b"500 Internal" not in answer
        good = await exchange(server, b"GET /alive HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n", end=False)
        assert good.endswith(b"GET /alive? ")
        assert not faults

    run(talk, uv=True)


async def test_a_stream_ends_when_its_reader_has_gone_though_it_had_nothing_to_say() -> None:
    ended = asyncio.Event()

    class Parts:
        started = asyncio.Event()

        def __aiter__(self) -> "Parts":
            return self

        async def __anext__(self) -> bytes:
            self.started.set()
            await asyncio.Event().wait()
            raise StopAsyncIteration

        async def aclose(self) -> None:
            ended.set()

    async def handle_forever(request: Request) -> Response:
        return Response(200, Parts())

    server = HttpServer(StreamNet(), SystemClock(), "127.0.0.1:0", handle_forever, LIMITS)
    await server.start()
    host, port = server.address.rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /forever HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(10):
        await Parts.started.wait()
        writer.close()
        await ended.wait()
    await server.stop(1.0)


async def test_a_handler_is_not_left_running_for_a_peer_that_closed_its_side_and_never_came_back() -> None:
    cancelled = asyncio.Event()
    begun = asyncio.Event()

    async def hang(request: Request) -> Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response()

    server = HttpServer(StreamNet(), SystemClock(), "127.0.0.1:0", hang, Limits(half_closed_s_max=0.05))
    await server.start()
    host, port = server.address.rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(10):
        await begun.wait()
        writer.write_eof()
        await cancelled.wait()
    writer.close()
    await server.stop(1.0)
