import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.real import StreamNet
from services.registry.checks.judging import OUTPUT_BYTES_MAX
from services.registry.checks.probes import GuardedNet, Result
from services.registry.checks.probes.http import judge_status, probe_http
from services.registry.checks.probes.tls import TlsContexts
from services.registry.domain import CheckDefinition, CheckKind, Health
from tests.unit.cluster.http.strangers import answering, certificate, serving


async def probe(target: str, tls: TlsContexts | None = None, timeout_s: float = 5.0, **fields: object) -> Result:
    definition = CheckDefinition("c", "c", CheckKind.HTTP, target=target, **fields)  # type: ignore[arg-type]
    return await probe_http(GuardedNet(StreamNet()), tls or TlsContexts(), definition, timeout_s)


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (200, Health.PASSING),
        (204, Health.PASSING),
        (299, Health.PASSING),
        (429, Health.WARNING),
        (101, Health.CRITICAL),
        (302, Health.CRITICAL),
        (404, Health.CRITICAL),
        (500, Health.CRITICAL),
        (599, Health.CRITICAL),
    ],
)
def test_what_a_status_means(status: int, health: Health) -> None:
    assert judge_status(status) is health


async def test_the_output_is_the_status_and_the_body_s_beginning() -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall \xe2\x82\xac \xff")) as port:
        result = await probe(f"http://127.0.0.1:{port}/health")
    assert result == (Health.PASSING, f"HTTP GET http://127.0.0.1:{port}/health: 200 OK Output: all € \ufffd")


async def test_method_headers_and_body_are_sent() -> None:
    seen: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(4))
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")

    async with serving(behave) as port:
        result = await probe(
            f"http://127.0.0.1:{port}/", method="POST", headers=(("Authorization", "Bearer x"),), body="€!"
        )
    assert result.health is Health.WARNING
    assert seen[0].startswith(b"POST / HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer x\r\n" in seen[0]
    assert seen[1] == "€!".encode()


async def test_a_redirect_is_not_followed() -> None:
    followed = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        followed.set()

    async with serving(behave) as inner:
        location = f"http://127.0.0.1:{inner}/".encode()
        reply = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
        async with serving(answering(reply)) as port:
            result = await probe(f"http://127.0.0.1:{port}/")
    assert result.health is Health.CRITICAL
    assert "302 Found" in result.output
    assert not followed.is_set()


async def test_an_endless_body_passes_by_its_status_and_is_cut() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await writer.drain()

    async with serving(behave) as port:
        result = await probe(f"http://127.0.0.1:{port}/")
    assert result.health is Health.PASSING
    assert result.output.endswith("x" * 100)
    assert len(result.output) < OUTPUT_BYTES_MAX + 200


@pytest.mark.parametrize("reply", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"])
async def test_bad_answers_are_failures(reply: bytes) -> None:
    async with serving(answering(reply)) as port:
        result = await probe(f"http://127.0.0.1:{port}/")
    assert result.health is Health.CRITICAL


async def test_one_that_hangs_is_a_failure_in_time() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read()
            await reader.read()

    async with serving(behave) as port:
        async with asyncio.timeout(3):
            result = await probe(f"http://127.0.0.1:{port}/", timeout_s=0.2)
    assert result.health is Health.CRITICAL
    assert "within 0.2 s" in result.output


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("ftp://127.0.0.1/", {}),
        ("http://127.0.0.1:1/\r\nX: y", {}),
        ("http://127.0.0.1:1/", {"headers": (("X", "y\r\nZ: w"),)}),
        ("http://127.0.0.1:1/", {"method": "GET / HTTP/1.1\r\nX:"}),
        ("http://127.0.0.1:1/", {"body": "\ud800"}),
        ("http://169.254.169.254/latest/meta-data/", {}),
        ("http://[::ffff:169.254.169.254]/", {}),
        ("http://127.0.0.1:1/", {}),
    ],
)
async def test_what_cannot_be_asked_is_a_failure_that_says_so(target: str, fields: dict[str, object]) -> None:
    result = await probe(target, **fields)  # type: ignore[arg-type]
    assert result.health is Health.CRITICAL
    assert len(result.output) > len(target) + 10


OK = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_tls_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    server, path = certificate(tmp_path, name="right", address="127.0.0.1")
    async with serving(OK, server) as port:
        url = f"https://127.0.0.1:{port}/"
        assert (await probe(url)).health is Health.CRITICAL
        assert (await probe(url, TlsContexts(str(path)))).health is Health.PASSING
        assert (await probe(url, skip_tls_verification=True)).health is Health.PASSING
        missing = await probe(url, TlsContexts(str(tmp_path / "missing.pem")))
        assert missing.health is Health.CRITICAL


def test_contexts_are_made_once() -> None:
    contexts = TlsContexts()
    assert contexts.get(verify=True, protocol="h2") is contexts.get(verify=True, protocol="h2")
    assert contexts.get(verify=True, protocol="h2").verify_mode is ssl.CERT_REQUIRED
    assert contexts.get(verify=False, protocol="h2").verify_mode is ssl.CERT_NONE
