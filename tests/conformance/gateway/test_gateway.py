"""The JSON gateway answers as etcd's does: status, content type and every field of the body.

Method: a table of requests is played, in order, against etcd and against Orrery. What must differ is masked (ids of
clusters and members, terms, times left), and revisions are counted from where the play began. Sentences about JSON
that cannot be read are those of each one's JSON reader; that there is an error, and which code, is compared.
"""

import http.client
import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.clusters import Cluster

REVISIONS = {"revision", "create_revision", "mod_revision", "compact_revision", "hash_revision"}
MASKED = {"cluster_id", "member_id", "raft_term", "TTL"}
SECONDS_MAX = 15.0

A, B, NONE = "Z2F0ZXdheS9h", "Z2F0ZXdheS9i", "Z2F0ZXdheS96"  # gateway/a, gateway/b, gateway/z
LEASE = "7587"
END = "Z2F0ZXdheTA="  # gateway0
ONE, TWO = "MQ==", "Mg=="


@dataclass(frozen=True)
class Step:
    """One request. In its body, "+N" stands for the revision N after the beginning."""

    name: str
    path: str
    body: object = None
    method: str = "POST"
    lines: int = 0
    """Lines to read of an answer that does not end by itself; 0 to read it whole."""
    headers: tuple[tuple[str, str], ...] = ()
    is_unreadable: bool = False
    """Whether the error's sentence is that of a JSON reader."""


def malformed(name: str, path: str, body: str) -> Step:
    return Step(name, path, body, is_unreadable=True)


STEPS = [
    Step("delete what an earlier run left", "/v3/kv/deleterange", {"key": A, "range_end": END}),
    Step("put", "/v3/kv/put", {"key": A, "value": ONE}),
    Step("put again, with prev_kv", "/v3/kv/put", {"key": A, "value": TWO, "prev_kv": True}),
    Step("camel case is taken", "/v3/kv/put", {"key": A, "value": ONE, "prevKv": True}),
    Step("put without key", "/v3/kv/put", {"value": ONE}),
    Step("ignore_value with a value", "/v3/kv/put", {"key": A, "value": ONE, "ignore_value": True}),
    Step("ignore_value of no key", "/v3/kv/put", {"key": NONE, "ignore_value": True}),
    Step("put with no such lease", "/v3/kv/put", {"key": A, "lease": "12345"}),
    Step("an empty value", "/v3/kv/put", {"key": B}),
    Step("range", "/v3/kv/range", {"key": A}),
    Step("range of no key", "/v3/kv/range", {"key": NONE}),
    Step("range of a prefix", "/v3/kv/range", {"key": A, "range_end": END}),
    Step("limit and order", "/v3/kv/range", {"key": A, "range_end": END, "limit": 1, "sort_order": "DESCEND"}),
    Step("enums by number", "/v3/kv/range", {"key": A, "range_end": END, "sort_order": 2, "sort_target": 0}),
    Step("numbers as strings", "/v3/kv/range", {"key": A, "range_end": END, "limit": "1"}),
    Step("keys only", "/v3/kv/range", {"key": A, "range_end": END, "keys_only": True}),
    Step("count only", "/v3/kv/range", {"key": A, "range_end": END, "count_only": True}),
    Step("an older revision", "/v3/kv/range", {"key": A, "revision": "+2"}),
    Step("serializable", "/v3/kv/range", {"key": A, "serializable": True}),
    Step("a future revision", "/v3/kv/range", {"key": A, "revision": "+1000"}),
    Step("unknown fields are ignored", "/v3/kv/range", {"key": A, "bogus": {"a": [1]}}),
    Step("null is nothing", "/v3/kv/range", {"key": A, "limit": None}),
    Step("no body", "/v3/kv/range"),
    Step("null as the body", "/v3/kv/range", "null"),
    Step("a value behind the body", "/v3/kv/range", '{"key":"' + A + '"} trailing'),
    Step("3.3's path", "/v3beta/kv/range", {"key": A}),
    Step("the query is no part of it", f"/v3/kv/range?key={A}", {}),
    Step("another content type", "/v3/kv/range", {"key": A}, headers=(("Content-Type", "text/plain"),)),
    Step("metadata", "/v3/kv/range", {"key": A}, headers=(("Grpc-Metadata-hasleader", "true"),)),
    malformed("half an object", "/v3/kv/range", '{"key":"' + A + '",'),
    malformed("an array", "/v3/kv/range", "[]"),
    malformed("no JSON", "/v3/kv/range", "key"),
    malformed("a form", "/v3/kv/range", "key=a"),
    malformed("an unknown name of an enum", "/v3/kv/range", '{"key":"' + A + '","sort_order":"SIDEWAYS"}'),
    malformed("letters as a number", "/v3/kv/range", '{"key":"' + A + '","limit":"abc"}'),
    malformed("half a number", "/v3/kv/range", '{"key":"' + A + '","limit":1.5}'),
    malformed("a number too large", "/v3/kv/range", '{"key":"' + A + '","limit":9223372036854775808}'),
    malformed("a number as bytes", "/v3/kv/range", '{"key":7}'),
    malformed("not base64", "/v3/kv/range", '{"key":"!!!!"}'),
    malformed("a string as a truth", "/v3/kv/range", '{"key":"' + A + '","serializable":"yes"}'),
    Step(
        "txn that succeeds",
        "/v3/kv/txn",
        {
            "compare": [{"key": A, "target": "VALUE", "value": ONE, "result": "EQUAL"}],
            "success": [{"requestRange": {"key": A}}, {"request_put": {"key": A, "value": TWO, "prev_kv": True}}],
        },
    ),
    Step(
        "txn that fails",
        "/v3/kv/txn",
        {
            "compare": [{"key": A, "target": "VERSION", "version": "0"}],
            "failure": [{"request_delete_range": {"key": B, "prev_kv": True}}],
        },
    ),
    Step("txn of nothing", "/v3/kv/txn", {}),
    Step(
        "nested txn",
        "/v3/kv/txn",
        {
            "compare": [{"key": A, "target": "MOD", "mod_revision": "1", "result": "GREATER"}],
            "success": [{"request_txn": {"success": [{"request_range": {"key": A, "count_only": True}}]}}],
        },
    ),
    Step(
        "one key twice",
        "/v3/kv/txn",
        {"success": [{"request_put": {"key": A}}, {"request_put": {"key": A}}]},
    ),
    Step("grant", "/v3/lease/grant", {"TTL": "600", "ID": "7587"}),
    Step("grant again", "/v3/lease/grant", {"TTL": 600, "ID": 7587}),
    Step("put with a lease", "/v3/kv/put", {"key": B, "value": ONE, "lease": "7587"}),
    Step("time to live", "/v3/lease/timetolive", {"ID": "7587", "keys": True}),
    Step("time to live of none", "/v3/kv/lease/timetolive", {"ID": "1"}),
    Step("leases", "/v3/lease/leases", {}),
    Step("leases, elsewhere", "/v3/kv/lease/leases"),
    Step("keep alive", "/v3/lease/keepalive", {"ID": "7587"}),
    Step("keep alive, twice", "/v3/lease/keepalive", '{"ID":"7587"}\n{"ID":7587}'),
    Step("keep alive of none", "/v3/lease/keepalive", {"ID": "7588"}),
    Step("keep alive with a bad end", "/v3/lease/keepalive", '{"ID":"7587"} xx'),
    malformed("keep alive of nonsense", "/v3/lease/keepalive", "xx"),
    Step("revoke", "/v3/kv/lease/revoke", {"ID": "7587"}),
    Step("revoke again", "/v3/lease/revoke", {"ID": "7587"}),
    Step("too large a TTL", "/v3/lease/grant", {"TTL": "9000000001"}),
    Step("the key went with its lease", "/v3/kv/range", {"key": B}),
    Step("watch the past", "/v3/watch", {"create_request": {"key": A, "start_revision": "+1"}}, lines=2),
    Step(
        "watch with prev_kv and filters",
        "/v3/watch",
        {"createRequest": {"key": B, "start_revision": "+1", "prev_kv": True, "filters": ["NOPUT"]}},
        lines=2,
    ),
    Step("watch with an id", "/v3/watch", {"create_request": {"key": A, "watch_id": "5"}}, lines=1),
    malformed("watch of half an object", "/v3/watch", '{"create_request":{"key":"' + A + '"}'),
    malformed("watch of an unknown filter", "/v3/watch", '{"create_request":{"filters":["X"]}}'),
    Step("compact", "/v3/kv/compaction", {"revision": "+3"}),
    Step("compact again", "/v3/kv/compaction", {"revision": "+2"}),
    Step("a compacted revision", "/v3/kv/range", {"key": A, "revision": "+2"}),
    Step("watch what is compacted", "/v3/watch", {"create_request": {"key": A, "start_revision": "+1"}}, lines=2),
    Step("delete", "/v3/kv/deleterange", {"key": A, "prev_kv": True}),
    Step("delete nothing", "/v3/kv/deleterange", {"key": A}),
    Step("a wrong method", "/v3/kv/range", method="GET"),
    Step("another wrong method", "/v3/kv/range", {}, method="PUT"),
    Step("no such path", "/v3/none", {}),
    Step("nearly a path", "/v3/kv/range/", {}),
    Step("an older gateway", "/v3alpha/kv/range", {"key": A}),
    Step("version by POST", "/version", {}),
    Step("health", "/health", method="GET"),
    Step("health by POST", "/health", {}),
    Step("nothing", "/nothing", method="GET"),
    Step("options", "/v3/kv/range", method="OPTIONS"),
]


@dataclass(frozen=True)
class Answer:
    """What is compared."""

    status: int
    content_type: str
    body: object


def play(cluster: Cluster) -> dict[str, Answer]:
    """All steps, by way of the first member."""
    base = int(send(cluster, Step("", "/v3/kv/range", {"key": NONE}), 0)[2]["header"]["revision"])
    deleted = send(cluster, STEPS[0], base)[2]
    base = int(deleted["header"]["revision"])
    answers = {}
    for step in STEPS[1:]:
        status, content_type, body = send(cluster, step, base)
        if step.is_unreadable:
            body = {"code": body["code"]} if isinstance(body, dict) else body
        answers[step.name] = Answer(status, content_type, masked(body, base))
    return answers


def send(cluster: Cluster, step: Step, base: int) -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection(cluster.client_addresses[0], timeout=SECONDS_MAX)
    try:
        text = (
            step.body
            if isinstance(step.body, str)
            else ""
            if step.body is None
            else json.dumps(counted(step.body, base))
        )
        connection.request(step.method, step.path, text.encode(), dict(step.headers))
        response = connection.getresponse()
        content_type = response.headers.get("content-type", "")
        if step.lines:
            return response.status, content_type, [json.loads(response.readline()) for _ in range(step.lines)]
        raw = response.read().decode()
        if "application/json" not in content_type:
            return response.status, content_type if raw else "", raw
        values = [json.loads(line) for line in raw.splitlines()]
        return response.status, content_type, values[0] if len(values) == 1 else values
    finally:
        connection.close()


def counted(body: object, base: int) -> object:
    """The body with its revisions."""
    if isinstance(body, dict):
        return {name: counted(value, base) for name, value in body.items()}
    if isinstance(body, list):
        return [counted(value, base) for value in body]
    if isinstance(body, str) and body.startswith("+"):
        return str(base + int(body))
    return body


def masked(body: object, base: int) -> object:
    """The body without what no two clusters have in common."""
    if isinstance(body, list):
        return [masked(value, base) for value in body]
    if not isinstance(body, dict):
        return body
    if "leases" in body:  # other suites leave theirs to expire
        body = {**body, "leases": [lease for lease in body["leases"] if lease["ID"] == LEASE]}
    return {
        name: int(value) - base
        if name in REVISIONS and isinstance(value, str)
        else "masked"
        if name in MASKED
        else masked(value, base)
        for name, value in body.items()
    }


@pytest.fixture(scope="module")
def by_etcd(etcd: Cluster) -> dict[str, Answer]:
    return play(etcd)


@pytest.fixture(scope="module")
def by_orrery(orrery: Cluster) -> dict[str, Answer]:
    return play(orrery)


@pytest.mark.parametrize("name", [step.name for step in STEPS[1:]])
def test_the_answer_is_etcds(name: str, by_etcd: dict[str, Answer], by_orrery: dict[str, Answer]) -> None:
    assert by_orrery[name] == by_etcd[name]


def test_the_table_is_not_all_errors(by_etcd: dict[str, Answer]) -> None:
    assert sum(answer.status == 200 for answer in by_etcd.values()) > len(STEPS) // 2


def test_a_deadline_ends_a_watch_with_an_error_in_etcds_shape(etcd: Cluster, orrery: Cluster) -> None:
    step = Step("", "/v3/watch", {"create_request": {"key": A}}, headers=(("Grpc-Timeout", "300m"),))
    errors = [send(cluster, step, 0)[2][-1]["error"] for cluster in (etcd, orrery)]
    etcds, ours = errors
    assert {name: ours[name] for name in etcds if name != "message"} == {
        name: value for name, value in etcds.items() if name != "message"
    }


@pytest.mark.parametrize("path", ["/v3/maintenance/status", "/v3/cluster/member/list", "/v3/maintenance/hash"])
def test_what_members_say_of_themselves_has_etcds_fields(path: str, etcd: Cluster, orrery: Cluster) -> None:
    etcds, ours = (send(cluster, Step("", path, {}), 0)[2] for cluster in (etcd, orrery))
    assert set(etcds) <= set(ours)
    assert set(etcds["header"]) <= set(ours["header"])


def test_version_and_metrics(etcd: Cluster, orrery: Cluster) -> None:
    etcds, ours = (send(cluster, Step("", "/version", method="GET"), 0) for cluster in (etcd, orrery))
    assert set(etcds[2]) <= set(ours[2])
    assert etcds[:2] == ours[:2]
    status, content_type, text = send(orrery, Step("", "/metrics", method="GET"), 0)
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert "etcd_server_has_leader 1" in text
