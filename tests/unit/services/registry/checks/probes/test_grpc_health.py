"""gRPC probes against our own server and against what is none."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from grpc_health.v1 import health_pb2

from cluster.rpc.engine import create_server, listen
from cluster.rpc.standard import Health as HealthService
from runtime.real import StreamNet, SystemRandomness
from services.registry.checks.probes import Probes, Result
from services.registry.domain import CheckDefinition, CheckKind, Health
from tests.unit.cluster.http.strangers import answering, certificate, serving


@asynccontextmanager
async def probing(**options: object) -> AsyncIterator[Probes]:
    probes = Probes(StreamNet(), SystemRandomness(), **options)  # type: ignore[arg-type]
    try:
        yield probes
    finally:
        await probes.close()


@asynccontextmanager
async def healthy(tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[tuple[int, HealthService]]:
    server = create_server(net=StreamNet())
    service = HealthService(["a.B"])
    service.register(server)
    await service.serving(ready=True)
    found = await listen(server, f"127.0.0.1:{port}", tls=tls)
    await server.start()
    try:
        yield found, service
    finally:
        await server.stop(0)


def definition(target: str, **fields: object) -> CheckDefinition:
    return CheckDefinition("c", "c", CheckKind.GRPC, target=target, timeout_ms=3_000, **fields)  # type: ignore[arg-type]


async def test_serving_passes_and_anything_else_fails() -> None:
    async with probing() as probes, healthy() as (port, service):
        assert await probes(definition(f"127.0.0.1:{port}")) == (
            Health.PASSING,
            f"gRPC check 127.0.0.1:{port}: success",
        )
        assert (await probes(definition(f"127.0.0.1:{port}/a.B"))).health is Health.PASSING
        unknown = await probes(definition(f"127.0.0.1:{port}/no.Such"))
        assert unknown.health is Health.CRITICAL
        assert "NOT_FOUND" in unknown.output
        await service.serving(ready=False)
        stopped = await probes(definition(f"127.0.0.1:{port}/a.B"))
        assert stopped == (Health.CRITICAL, f"gRPC check 127.0.0.1:{port}/a.B: NOT_SERVING")
        assert len(probes.channels) == 1


async def test_a_server_that_comes_back_is_found_at_the_next_probe() -> None:
    async with probing() as probes:
        async with healthy() as (port, _):
            assert (await probes(definition(f"127.0.0.1:{port}"))).health is Health.PASSING
        gone = await probes(definition(f"127.0.0.1:{port}"))
        assert gone.health is Health.CRITICAL
        assert "UNAVAILABLE" in gone.output
        assert len(probes.channels) == 0
        async with healthy(port=port):
            assert (await probes(definition(f"127.0.0.1:{port}"))).health is Health.PASSING


async def test_channels_are_kept_up_to_a_limit() -> None:
    async with probing(channels_max=2) as probes, healthy() as (one, _), healthy() as (two, _), healthy() as (three, _):
        for port in (one, two, three, one):
            assert (await probes(definition(f"127.0.0.1:{port}"))).health is Health.PASSING
            assert len(probes.channels) <= 2


async def test_many_probes_of_one_server_share_a_channel_that_breaks_under_them() -> None:
    async with probing() as probes:
        async with healthy() as (port, _):
            targets = [definition(f"127.0.0.1:{port}/{name}") for name in ("a.B", "", "no.Such") * 5]
            results: list[Result] = await asyncio.gather(*map(probes, targets))
            assert sum(result.health is Health.PASSING for result in results) == 10
        results = await asyncio.gather(*map(probes, targets))
        assert all(result.health is Health.CRITICAL for result in results)
        assert len(probes.channels) == 0


async def test_what_is_no_grpc_server() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(1_000):
                pass

    async with probing() as probes:
        async with serving(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
            assert (await probes(definition(f"127.0.0.1:{port}"))).health is Health.CRITICAL
        async with serving(silent) as port:
            short = CheckDefinition("c", "c", CheckKind.GRPC, target=f"127.0.0.1:{port}", timeout_ms=200)
            result = await probes(short)
            assert result == (Health.CRITICAL, f"gRPC check 127.0.0.1:{port}: no answer within 0.2 s")
        for target in ("127.0.0.1:1", "x", "169.254.169.254:80", "a:1,b:2"):
            assert (await probes(definition(target))).health is Health.CRITICAL
        assert len(probes.channels) == 0


async def test_tls_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    server, path = certificate(tmp_path, name="right", address="127.0.0.1")
    server.set_alpn_protocols(["h2"])
    async with healthy(server) as (port, _):
        target = f"127.0.0.1:{port}"
        async with probing(ca_file=str(path)) as probes:
            assert (await probes(definition(target, use_tls=True))).health is Health.PASSING
        async with probing() as probes:
            assert (await probes(definition(target, use_tls=True))).health is Health.CRITICAL
            skipping = definition(target, use_tls=True, skip_tls_verification=True)
            assert (await probes(skipping)).health is Health.PASSING
            assert (await probes(definition(target))).health is Health.CRITICAL


async def test_an_unknown_status_has_a_name_too() -> None:
    async with probing() as probes, healthy() as (port, service):
        await service._servicer.set("", health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        result = await probes(definition(f"127.0.0.1:{port}"))
        assert result.health is Health.CRITICAL
        assert "SERVICE_UNKNOWN" in result.output
