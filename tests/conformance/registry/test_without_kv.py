"""While kv is away the registry tells what it knows, and that it is old; when kv is back it is as before.

Goal: services find each other while kv is down, and nobody takes what is old for new.

Method: all members of kv are killed at once under a running cluster, and started again on what they left.
"""

import json
import urllib.error
import urllib.request
from functools import partial
from typing import Any

from tests.conformance.clusters import NODES, OrreryCluster, wait_for

AWAY_S_MAX = 30.0
BACK_S_MAX = 60.0


def ask(address: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read().decode()


def knows_leader(address: str, wanted: str) -> bool:
    return ask(address, "GET", "/v1/health/service/without-kv")[1]["x-consul-knownleader"] == wanted


def knows(address: str, instance: str) -> bool:
    entries: list[dict[str, Any]] = json.loads(ask(address, "GET", "/v1/health/service/without-kv")[2])
    return instance in [entry["Service"]["ID"] for entry in entries]


def test_the_registry_answers_while_kv_is_away(served: OrreryCluster) -> None:
    addresses = served.registry_addresses
    first = {"Name": "without-kv", "ID": "a", "Port": 1}
    assert ask(addresses[0], "PUT", "/v1/agent/service/register", first)[0] == 200
    for address in addresses:
        wait_for("every process knows it", partial(knows, address, "a"), AWAY_S_MAX)
    served.kill(*NODES)
    try:
        for address in addresses:
            wait_for("it says so", partial(knows_leader, address, "false"), AWAY_S_MAX)
            status, headers, body = ask(address, "GET", "/v1/health/service/without-kv?passing")
            assert (status, len(json.loads(body))) == (200, 1)
            assert int(headers["x-consul-lastcontact"]) > 0
            assert ask(address, "GET", "/v1/health/service/without-kv?consistent")[::2] == (500, "No cluster leader")
            assert ask(address, "GET", "/v1/status/leader")[2] == '""'
        status, _, text = ask(addresses[0], "PUT", "/v1/agent/service/register", {"Name": "without-kv", "ID": "b"})
        assert status == 500, text
    finally:
        served.start(*NODES)
    for address in addresses:
        wait_for("it is as before", partial(knows_leader, address, "true"), BACK_S_MAX)
        assert knows(address, "a")
    second = {"Name": "without-kv", "ID": "c", "Port": 1}
    wait_for(
        "writes succeed again",
        lambda: ask(addresses[1], "PUT", "/v1/agent/service/register", second)[0] == 200,
        BACK_S_MAX,
    )
    wait_for("every process knows it", lambda: all(knows(address, "c") for address in addresses), BACK_S_MAX)
