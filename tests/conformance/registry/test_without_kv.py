"""While kv is away the registry tells what it knows, and that it is old; when kv is back it is as before.

Goal: services find each other while kv is down, and nobody takes what is old for new.

Method: all members of kv are killed at once under a running cluster, and started again on what they left.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.conformance.clusters import NODES, OrreryCluster, wait_for

AWAY_S_MAX = 30.0
BACK_S_MAX = 60.0


def ask(address: str, method: str, path: str, body: object = None) -> tuple[int, Mapping[str, str], str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers, refused.read().decode()


def knows_leader(address: str) -> str:
    return str(ask(address, "GET", "/v1/health/service/without-kv")[1]["X-Consul-KnownLeader"])


def ids(address: str) -> list[str]:
    entries: list[dict[str, Any]] = json.loads(ask(address, "GET", "/v1/health/service/without-kv")[2])
    return [entry["Service"]["ID"] for entry in entries]


def test_the_registry_answers_while_kv_is_away(served: OrreryCluster) -> None:
    addresses = served.registry_addresses
    first = {"Name": "without-kv", "ID": "a", "Port": 1}
    assert ask(addresses[0], "PUT", "/v1/agent/service/register", first)[0] == 200
    for address in addresses:
        wait_for("every process knows it", lambda address=address: ids(address) == ["a"], AWAY_S_MAX)  # type: ignore[misc]
    served.kill(*NODES)
    try:
        for address in addresses:
            wait_for("it says so", lambda address=address: knows_leader(address) == "false", AWAY_S_MAX)  # type: ignore[misc]
            status, headers, body = ask(address, "GET", "/v1/health/service/without-kv?passing")
            assert (status, len(json.loads(body))) == (200, 1)
            assert int(headers["X-Consul-LastContact"]) > 0
            assert ask(address, "GET", "/v1/health/service/without-kv?consistent")[::2] == (500, "No cluster leader")
            assert ask(address, "GET", "/v1/status/leader")[2] == '""'
        status, _, text = ask(addresses[0], "PUT", "/v1/agent/service/register", {"Name": "without-kv", "ID": "b"})
        assert status == 500, text
    finally:
        served.start(*NODES)
    for address in addresses:
        wait_for("it is as before", lambda address=address: knows_leader(address) == "true", BACK_S_MAX)  # type: ignore[misc]
        assert "a" in ids(address)
    second = {"Name": "without-kv", "ID": "c", "Port": 1}
    wait_for(
        "writes succeed again",
        lambda: ask(addresses[1], "PUT", "/v1/agent/service/register", second)[0] == 200,
        BACK_S_MAX,
    )
    wait_for("every process knows it", lambda: all("c" in ids(address) for address in addresses), BACK_S_MAX)
