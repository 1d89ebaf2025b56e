"""Paths, methods, and what is not served; and that no body whatever makes it fail."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.services.registry.api.asking import Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def test_methods(registry: Registry) -> None:
    answer = await registry.ask("POST", "/v1/agent/service/register")
    assert (answer.status, answer.text, answer.headers["allow"]) == (405, "method POST not allowed", "OPTIONS,PUT")
    answer = await registry.ask("PUT", "/v1/agent/services")
    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS,GET")
    answer = await registry.ask("OPTIONS", "/v1/agent/check/update/x")
    assert (answer.status, answer.headers["allow"]) == (200, "OPTIONS,PUT")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/nonsense", 404),
        ("/v1/agent/", 404),
        ("/v1/kv/a/b", 501),
        ("/v1/kv", 501),
        ("/v1/session/create", 501),
        ("/v1/txn", 501),
        ("/v1/event/list", 501),
        ("/v1/query/x/execute", 501),
        ("/v1/health/connect/web", 501),
        ("/v1/agent/monitor", 501),
        ("/v1/acl/bootstrap", 401),
        ("/v1/agent/token/default", 401),
    ],
)
async def test_what_is_not_served(registry: Registry, path: str, status: int) -> None:
    for method in ("GET", "PUT"):
        answer = await registry.ask(method, path)
        assert answer.status == status
        assert answer.text


async def test_no_key_is_ever_said_to_be_missing(registry: Registry) -> None:
    """404 would mean to a client that the key is not there."""
    answer = await registry.get("/v1/kv/config")
    assert answer.status == 501
    assert "etcd's API" in answer.text


async def test_pretty(registry: Registry) -> None:
    await registry.register("web")
    for path in ("/v1/agent/services", "/v1/health/service/web", "/v1/agent/self", "/v1/catalog/datacenters"):
        plain, pretty = await registry.get(path), await registry.get(f"{path}?pretty")
        assert plain.json == pretty.json
        assert b"\n    " in pretty.body
        assert b"\n" not in plain.body


async def test_tokens_are_taken_and_not_looked_at(registry: Registry) -> None:
    answer = await registry.ask("GET", "/v1/agent/services?token=x", headers=(("x-consul-token", "y"),))
    assert answer.status == 200


TEXTS = st.one_of(
    st.sampled_from(["", "web", "10s", "passing", "10.0.0.1", "ext", "0.0.0.0", "http://a/"]), st.text(max_size=8)
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
NAMES = ("Name", "ID", "name", "Address", "Port", "Tags", "Meta", "Check", "Checks", "Weights", "TTL", "Interval",
         "HTTP", "TCP", "GRPC", "Header", "Status", "Output", "Node", "Service", "ServiceID", "CheckID", "Notes",
         "Definition", "NodeMeta", "Connect", "Proxy", "Passing", "Timeout", "SkipNodeUpdate", "Body",
         "DeregisterCriticalServiceAfter", "FailuresBeforeCritical", "SuccessBeforePassing")  # fmt: skip
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    lambda inner: st.dictionaries(
        st.sampled_from(NAMES), st.one_of(VALUES, inner, st.lists(inner, max_size=2)), max_size=8
    ),
    max_leaves=4,
)
GOOD = st.fixed_dictionaries(
    {"Name": st.just("web"), "Node": st.just("ext"), "Address": st.just("10.0.0.1"), "Status": st.just("passing")},
    optional={"TTL": st.just("10s"), "Check": OBJECTS, "Checks": st.lists(OBJECTS, max_size=2), "Service": OBJECTS,
              "Port": VALUES, "Tags": VALUES, "Meta": VALUES, "Weights": OBJECTS},
)  # fmt: skip
WRITES = ("agent/service/register", "agent/check/register", "agent/check/update/beat", "catalog/register",
          "catalog/deregister")  # fmt: skip


@settings(max_examples=150)
@given(
    st.sampled_from(WRITES),
    st.one_of(GOOD.map(json.dumps).map(str.encode), OBJECTS.map(json.dumps).map(str.encode), st.binary(max_size=40)),
)
def test_no_body_makes_it_fail(call: str, body: bytes) -> None:
    async def main() -> None:
        registry = Registry()
        await registry.register("db", Check={"CheckID": "beat", "TTL": "1m"})
        answer = await registry.ask("PUT", f"/v1/{call}", body)
        # 500 is only for another datacenter, and for kv being away.
        assert answer.status in (200, 400, 404, 413), answer
        for path in ("catalog/nodes", "agent/services", "agent/checks", "health/state/any", "catalog/node/ext"):
            shown = await registry.get(f"/v1/{path}")
            assert shown.status == 200
            json.loads(shown.body)

    asyncio.run(main())


PATHS = ("agent/services", "agent/service/", "agent/checks", "agent/members", "agent/self", "agent/health/service/id/",
         "agent/health/service/name/", "catalog/nodes", "catalog/services", "catalog/service/", "catalog/node/",
         "catalog/node-services/", "health/service/", "health/node/", "health/checks/", "health/state/",
         "status/leader", "agent/check/pass/", "agent/service/deregister/", "agent/service/maintenance/",
         "agent/maintenance")  # fmt: skip
TARGETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "index",
                "wait",
                "filter",
                "tag",
                "passing",
                "node-meta",
                "max_stale",
                "enable",
                "reason",
                "format",
                "pretty",
            ]
        ),
        st.one_of(st.sampled_from(["", "true", "text", "0s", "web"]), TARGETS.map(lambda text: text.replace("#", ""))),
    ).map("=".join),
    max_size=4,
).map("&".join)


@settings(max_examples=300)
@given(st.sampled_from(("GET", "PUT")), st.sampled_from(PATHS), TARGETS, QUERIES)
def test_no_target_makes_it_fail(method: str, path: str, rest: str, query: str) -> None:
    async def main() -> None:
        registry = Registry()
        registry.consul.stop_waiting()
        await registry.register("web", ID="web")
        answer = await registry.ask(method, f"/v1/{path}{rest if path.endswith('/') else ''}?{query}")
        assert answer.status != 500, answer
        for name, value in answer.headers.items():
            assert "\n" not in value, name

    asyncio.run(main())
