import pytest

from cluster.http import HttpError
from services.registry.api.http import HttpHead
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
