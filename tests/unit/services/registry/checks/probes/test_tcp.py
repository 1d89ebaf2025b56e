import asyncio

from runtime.real import StreamNet
from services.registry.checks.probes import GuardedNet, Result
from services.registry.checks.probes.tcp import probe_tcp
from services.registry.domain import CheckDefinition, CheckKind, Health
from tests.unit.cluster.http.strangers import serving


async def probe(target: str, timeout_s: float = 5.0) -> Result:
    definition = CheckDefinition("c", "c", CheckKind.TCP, target=target)
    return await probe_tcp(GuardedNet(StreamNet()), definition, timeout_s)


async def test_a_connection_that_opens_passes_and_is_closed() -> None:
    ended = asyncio.Event()
    heard: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        ended.set()

    async with serving(behave) as port:
        result = await probe(f"127.0.0.1:{port}")
        async with asyncio.timeout(5):
            await ended.wait()
    assert result == (Health.PASSING, f"TCP connect 127.0.0.1:{port}: Success")
    assert heard == [b""]


async def test_one_that_hangs_up_at_once_still_was_there() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with serving(behave) as port:
        assert (await probe(f"127.0.0.1:{port}")).health is Health.PASSING


async def test_nobody_there() -> None:
    async with serving(lambda reader, writer: asyncio.sleep(0)) as port:
        pass
    for target in (f"127.0.0.1:{port}", "no such host:1", "127.0.0.1", "127.0.0.1:0", "169.254.169.254:80"):
        assert (await probe(target, 2.0)).health is Health.CRITICAL


async def test_one_that_never_answers_is_given_up_in_time() -> None:
    class Black(StreamNet):
        async def connect(self, *args: object, **kwargs: object) -> tuple[asyncio.Transport, asyncio.Protocol]:
            await asyncio.sleep(3_600)
            raise AssertionError

    definition = CheckDefinition("c", "c", CheckKind.TCP, target="10.0.0.1:1")
    result = await probe_tcp(Black(), definition, 0.1)
    assert result == (Health.CRITICAL, "TCP connect 10.0.0.1:1: no connection within 0.1 s")
