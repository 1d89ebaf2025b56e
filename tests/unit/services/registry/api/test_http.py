import asyncio

import pytest

from cluster.http import HttpError, HttpServer, split_address
from runtime.real import StreamNet
from services.registry.api.http import HttpHead, http_limits
from services.registry.api.prometheus import PrometheusDiscovery
from tests.unit.services.registry.api.asking import Registry


async def test_what_is_where() -> None:
    registry = Registry()
    assert (await registry.get("/")).status == 200
    assert (await registry.get("/v1/sd/prometheus")).json == []
    answer = await registry.get("/favicon.ico")
    assert answer.status == 404
    assert "starts with '/v1/'" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_web_pages_are_refused_unless_their_origin_is_listed() -> None:
    registry = Registry()
    origin = (("origin", "http://evil.example"),)
    with pytest.raises(HttpError) as refused:
        await registry.ask("GET", "/v1/agent/services", headers=origin)
    assert refused.value.status == 403
    registry.http = HttpHead(registry.consul, PrometheusDiscovery(registry.catalogue), ["http://evil.example"])
    answer = await registry.ask("GET", "/v1/agent/services", headers=origin)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "http://evil.example")


async def test_a_client_that_closes_its_connection_frees_its_place() -> None:
    registry = Registry()
    server = HttpServer(StreamNet(), registry.clock, "127.0.0.1:0", registry.http, http_limits(10))
    await server.start()
    host, port = split_address(server.address)

    async def until_waiting(count: int) -> None:
        async with asyncio.timeout(10):
            while registry.consul.waiting != count:
                await asyncio.sleep(0.005)

    writers = []
    for _ in range(3):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /v1/catalog/services?index=99&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n")
        writers.append(writer)
    await until_waiting(3)
    writers[0].close()
    await until_waiting(2)
    writers[1].transport.abort()
    await until_waiting(1)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /v1/catalog/services?index=99&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n")
    await until_waiting(2)
    registry.consul.stop_waiting()
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await until_waiting(0)
    writer.close()
    writers[2].close()
    await server.stop()
