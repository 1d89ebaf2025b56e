"""The HTTP head over a whole member but consensus and disk, asked without a connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from cluster.http import Headers, HttpError, Request, Response
from cluster.pb.etcd.etcdserverpb import rpc_pb2
from cluster.rpc.in_process import InProcessCalls
from cluster.rpc.transcoding.encoding import descriptor_of
from runtime.real import SystemClock, SystemRandomness
from services.kv.api.calls import RequestLimits
from services.kv.api.http import HttpHead, HttpSettings, http_limits
from services.kv.local_node import LocalNode
from services.kv.node import NodeSettings

A = "YQ=="


@pytest.fixture
async def node() -> AsyncIterator[LocalNode]:
    settings = NodeSettings(limits=RequestLimits(request_timeout_s=0.05))
    async with LocalNode.start(clock=SystemClock(), random=SystemRandomness(), settings=settings) as local:
        yield local


@pytest.fixture
def http(node: LocalNode) -> HttpHead:
    return head(node)


def head(node: LocalNode, *allowed_origins: str) -> HttpHead:
    registry = CollectorRegistry()
    Counter("asked", "A metric.", registry=registry).inc()
    rpcs = InProcessCalls()
    node.node.add_client_heads(rpcs)
    return HttpHead(node.node.calls, rpcs, registry, HttpSettings("3.6.0", allowed_origins))


async def ask(http: HttpHead, method: str, target: str, body: object = None, *fields: tuple[str, str]) -> Response:
    raw = b"" if body is None else json.dumps(body).encode()
    return await http(Request(method, target, Headers(fields), raw, "1.1", "127.0.0.1:9"))


async def post(http: HttpHead, path: str, body: object = None) -> Any:
    response = await ask(http, "POST", path, body)
    assert response.content_type == "application/json"
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body)


def text(response: Response) -> tuple[int, str]:
    assert isinstance(response.body, bytes)
    return response.status, response.body.decode()


async def test_keys_go_in_and_come_out(http: HttpHead, node: LocalNode) -> None:
    status, put = await post(http, "/v3/kv/put", {"key": A, "value": "MQ=="})
    assert (status, put["header"]["revision"]) == (200, "2")
    assert put["header"]["member_id"] == str(node.node.identity.member.id)
    for path in ("/v3/kv/range", "/v3beta/kv/range"):
        _, found = await post(http, path, {"key": A})
        assert found["kvs"] == [
            {"key": A, "value": "MQ==", "create_revision": "2", "mod_revision": "2", "version": "1"}
        ]
        assert found["count"] == "1"


async def test_refusals_are_etcds(http: HttpHead, node: LocalNode) -> None:
    message = "etcdserver: key is not provided"
    assert await post(http, "/v3/kv/put", {}) == (400, {"error": message, "message": message, "code": 3})
    status, error = await post(http, "/v3/lease/revoke", {"ID": "7"})
    assert (status, error["message"]) == (404, "etcdserver: requested lease not found")
    node.replica.hold()
    status, error = await post(http, "/v3/kv/range", {"key": A})
    assert (status, error["message"], error["code"]) == (503, "etcdserver: request timed out", 14)


async def test_a_watch_is_a_stream_of_lines_and_ends_with_the_member(http: HttpHead, node: LocalNode) -> None:
    await post(http, "/v3/kv/put", {"key": A, "value": "MQ=="})
    response = await ask(http, "POST", "/v3/watch", {"create_request": {"key": A, "start_revision": "2"}})
    assert not isinstance(response.body, bytes)
    lines = b""
    parts: AsyncIterator[bytes] = response.body
    async with asyncio.timeout(10):
        while lines.count(b"\n") < 2:
            lines += await anext(parts)
        created, event = (json.loads(line)["result"] for line in lines.splitlines())
        assert created["created"] is True
        assert event["events"][0]["kv"]["value"] == "MQ=="
        node.node.stop_streams()
        (last,) = [part async for part in parts]
    assert json.loads(last)["error"]["message"] == "etcdserver: server stopped"


async def test_version(http: HttpHead) -> None:
    response = await ask(http, "GET", "/version")
    assert response.content_type == "application/json"
    assert json.loads(text(response)[1]) == {"etcdserver": "3.6.0", "etcdcluster": "3.6.0", "storage": "3.6.0"}


async def test_metrics(http: HttpHead) -> None:
    response = await ask(http, "GET", "/metrics")
    assert "asked_total 1.0" in text(response)[1]
    assert response.content_type.startswith("text/plain; version=0.0.4")


async def test_health_needs_a_quorum_unless_asked_for_this_member_alone(http: HttpHead, node: LocalNode) -> None:
    assert text(await ask(http, "GET", "/health")) == (200, '{"health":"true"}')
    assert text(await ask(http, "GET", "/readyz")) == (200, "ok\n")
    assert text(await ask(http, "GET", "/readyz/linearizable_read?verbose")) == (200, "[+]linearizable_read ok\nok\n")

    node.replica.hold()
    status, body = text(await ask(http, "GET", "/health"))
    assert (status, json.loads(body)) == (
        503,
        {"health": "false", "reason": "RANGE ERROR:etcdserver: request timed out"},
    )
    status, body = text(await ask(http, "GET", "/readyz"))
    assert (status, "[-]linearizable_read failed: etcdserver: request timed out\n" in body) == (503, True)
    assert text(await ask(http, "GET", "/readyz?exclude=linearizable_read")) == (200, "ok\n")

    node.replica.set_leader(0)
    await asyncio.sleep(0)
    status, body = text(await ask(http, "GET", "/health"))
    assert (status, json.loads(body)["reason"]) == (503, "RAFT NO LEADER")
    assert text(await ask(http, "GET", "/health?serializable=true")) == (200, '{"health":"true"}')
    assert text(await ask(http, "GET", "/livez")) == (200, "ok\n")


@pytest.mark.parametrize(
    ("method", "target", "status", "body"),
    [
        ("GET", "/", 404, "404 page not found\n"),
        ("GET", "/v2/keys", 404, "404 page not found\n"),
        ("GET", "/v3alpha/kv/range", 404, "404 page not found\n"),
        ("POST", "/v3/none", 404, "Not Found\n"),
        ("POST", "/v3/kv/range/", 404, "Not Found\n"),
        ("GET", "/v3/kv/range", 405, "Method Not Allowed\n"),
        ("POST", "/health", 405, "Method Not Allowed\n"),
        ("HEAD", "/version", 405, "Method Not Allowed\n"),
    ],
)
async def test_what_is_not_there(http: HttpHead, method: str, target: str, status: int, body: str) -> None:
    assert text(await ask(http, method, target)) == (status, body)


async def test_too_many_query_parameters_are_refused(http: HttpHead) -> None:
    with pytest.raises(HttpError, match="query parameters"):
        await ask(http, "GET", "/health?" + "&".join("a=b" for _ in range(100)))


async def test_web_pages_may_not_talk_to_a_member_unless_they_are_listed(node: LocalNode) -> None:
    page = ("origin", "https://console.example")
    with pytest.raises(HttpError) as caught:
        await ask(head(node), "POST", "/v3/kv/put", {"key": A}, page)
    assert caught.value.status == 403
    assert node.machine.store.revision == 1

    for allowed in ("https://console.example", "*"):
        for method, target in (("GET", "/version"), ("OPTIONS", "/v3/kv/put")):
            response = await ask(head(node, allowed), method, target, None, page)
            assert response.status == 200
            assert ("access-control-allow-origin", "https://console.example") in response.headers


def test_the_largest_request_fits_as_json() -> None:
    value = 1536 * 1024
    assert http_limits(value).body_bytes_max >= len(json.dumps({"key": A, "value": "x" * (-(-value // 3) * 4)}))


def _field_names() -> set[str]:
    kinds: list[type[Message]] = [
        rpc_pb2.TxnRequest,
        rpc_pb2.RangeRequest,
        rpc_pb2.PutRequest,
        rpc_pb2.Compare,
        rpc_pb2.RequestOp,
    ]
    return {field.name for kind in kinds for field in descriptor_of(kind()).fields}


field_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", A, "YQ", "!", "1", "NONE", "KEY", "EQUAL"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(sorted(_field_names())), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_no_body_is_the_servers_fault() -> None:
    """Whatever is posted is done or refused; nothing is an internal error."""
    with asyncio.Runner() as runner:
        member = LocalNode.start(clock=SystemClock(), random=SystemRandomness())
        http = head(runner.run(member.__aenter__()))

        @settings(max_examples=150, deadline=None)
        @given(
            st.sampled_from(["range", "put", "deleterange", "txn", "lease/leases"]),
            st.dictionaries(st.sampled_from(sorted(_field_names())), field_values, max_size=4),
        )
        def play(path: str, body: dict[str, object]) -> None:
            status, answer = runner.run(post(http, f"/v3/kv/{path}", body))
            assert status in (200, 400), answer

        try:
            play()
        finally:
            runner.run(member.__aexit__(None, None, None))
