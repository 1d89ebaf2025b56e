"""The client against real servers on the loopback interface, most of them bad ones."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from cluster.http.client import FetchFailed, fetch, make_request
from cluster.http.reply import Reply, ReplyLimits
from cluster.http.url import parse_url
from runtime.real import StreamNet
from tests.unit.cluster.http.strangers import answering, certificate, serving

LIMITS = ReplyLimits(header_bytes_max=4_000, headers_max=20, body_bytes_max=100)


async def get(port: int, *, scheme: str = "http", within_s: float = 5.0, tls: ssl.SSLContext | None = None) -> Reply:
    request = make_request(parse_url(f"{scheme}://127.0.0.1:{port}/health?x=1"))
    return await fetch(StreamNet(), request, within_s=within_s, limits=LIMITS, tls=tls)


async def test_a_request_is_what_was_asked_for() -> None:
    seen: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(5))
        writer.write(b"HTTP/1.1 201 Made\r\nX-A: b\r\nContent-Length: 4\r\n\r\nmade")

    async with serving(behave) as port:
        url = parse_url(f"http://127.0.0.1:{port}/a?b")
        request = make_request(url, "PUT", [("X-Token", " t "), ("host", "other")], b"hello")
        reply = await fetch(StreamNet(), request, within_s=5, limits=LIMITS)
    assert (reply.status, reply.body, reply.headers.get("x-a")) == (201, b"made", "b")
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "PUT /a?b HTTP/1.1"
    assert set(lines[1:-2]) == {
        "host: other",
        "User-Agent: orrery/1",
        "Accept: */*",
        "X-Token: t",
        "Content-Length: 5",
        "Connection: close",
    }
    assert seen[1] == b"hello"


@pytest.mark.parametrize(
    ("method", "headers", "match"),
    [
        ("GE T", (), "method"),
        ("", (), "method"),
        ("GET\r\nX: y", (), "method"),
        ("CONNECT", (), "method"),
        ("GET", (("X\r\nY", "z"),), "name"),
        ("GET", (("X ", "z"),), "name"),
        ("GET", (("X", "z\r\nY: w"),), "control"),
        ("GET", (("X", "z\x00"),), "control"),
        ("GET", (("X", "€"),), "Latin-1"),
        ("GET", (("Content-Length", "7"),), "itself"),
        ("GET", (("transfer-encoding", "chunked"),), "itself"),
        ("GET", (("X", "y"),) * 65, "more than"),
        ("GET", (("X", "y" * 20_000),), "more than"),
    ],
)
def test_what_cannot_be_sent_is_refused(method: str, headers: tuple[tuple[str, str], ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_request(parse_url("http://a"), method, headers)


async def test_a_redirect_is_handed_back() -> None:
    async with serving(
        answering(b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    ) as port:
        assert (await get(port)).status == 302


async def test_an_endless_body_is_read_up_to_the_limit() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with serving(behave) as port:
        reply = await get(port)
    assert reply.is_cut
    assert reply.body == b"x" * 100


async def test_an_endless_header_is_not_read_on() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(b"x" * 1_000)
            await writer.drain()

    async with serving(behave) as port:
        with pytest.raises(FetchFailed, match="too large"):
            await get(port)


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (b"", "without a reply"),
        (b"HTTP/1.1 20", "within the header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "within the body"),
        (b"220 mail.example ESMTP\r\n", "malformed"),
        (b"\x16\x03\x01garbage" * 20, "malformed"),
    ],
)
async def test_cut_answers_and_garbage(reply: bytes, match: str) -> None:
    async with serving(answering(reply)) as port:
        with pytest.raises(FetchFailed, match=match):
            await get(port)


@pytest.mark.parametrize(
    ("first", "match"),
    [
        (b"", "no reply within"),
        (b"HTTP/1.1 200 OK\r\n", "no end of the header within"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "status 200, and no end of the body within"),
    ],
)
async def test_one_that_hangs_is_left_in_time(first: bytes, match: str) -> None:
    left = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        with suppress(OSError):
            await reader.read()
        left.set()

    async with serving(behave) as port:
        with pytest.raises(FetchFailed, match=match):
            await get(port, within_s=0.2)
        async with asyncio.timeout(5):
            await left.wait()


async def test_nobody_there() -> None:
    async with serving(answering(b"")) as port:
        pass
    with pytest.raises(FetchFailed, match="connection failed"):
        await get(port)
    request = make_request(parse_url(f"http://{'a' * 80}.invalid/"))
    with pytest.raises(FetchFailed, match="connection failed"):
        await fetch(StreamNet(), request, within_s=5, limits=LIMITS)


OK = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_https_with_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    server, path = certificate(tmp_path, name="right", address="127.0.0.1")
    async with serving(OK, server) as port:
        reply = await get(port, scheme="https", tls=ssl.create_default_context(cafile=str(path)))
    assert reply.body == b"ok"


async def test_https_with_wrong_certificates(tmp_path: Path) -> None:
    server, path = certificate(tmp_path, name="wrong", address=None)
    async with serving(OK, server) as port:
        with pytest.raises(FetchFailed, match=r"TLS failed.*self-signed"):
            await get(port, scheme="https", tls=ssl.create_default_context())
        with pytest.raises(FetchFailed, match=r"TLS failed.*127\.0\.0\.1"):
            await get(port, scheme="https", tls=ssl.create_default_context(cafile=str(path)))
        with pytest.raises(FetchFailed, match="not set up"):
            await get(port, scheme="https")


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_both_loops_end_the_same(loop_factory: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    """Their transports, and their TLS, end in different ways."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()

    async def whole() -> None:
        server, path = certificate(tmp_path, name="right", address="127.0.0.1")
        trusting = ssl.create_default_context(cafile=str(path))
        for scheme, own in (("http", None), ("https", server)):
            async with serving(OK, own) as port:
                assert (await get(port, scheme=scheme, tls=trusting)).body == b"ok"
            async with serving(endless, own) as port:
                assert (await get(port, scheme=scheme, tls=trusting)).is_cut
            async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\nab"), own) as port:
                assert (await get(port, scheme=scheme, tls=trusting)).body == b"ab"
            async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), own) as port:
                with pytest.raises(FetchFailed, match="within the body"):
                    await get(port, scheme=scheme, tls=trusting)
            async with serving(silent, own) as port:
                with pytest.raises(FetchFailed, match="no reply within"):
                    await get(port, scheme=scheme, tls=trusting, within_s=0.3)
        async with serving(OK, server) as port:
            with pytest.raises(FetchFailed, match="TLS failed"):
                await get(port, scheme="https", tls=ssl.create_default_context())

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(whole())


async def test_https_to_one_that_speaks_no_tls() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with serving(behave) as port:
        with pytest.raises(FetchFailed, match="TLS failed"):
            await get(port, scheme="https", tls=ssl.create_default_context())
