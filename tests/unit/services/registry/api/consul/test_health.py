"""Shapes and selections of `/v1/health/`, as Consul's clients decode them."""

import pytest

from services.registry.api.consul.shapes import encode
from services.registry.catalogue import Key, KeyKind, Update
from services.registry.domain import NODE_CHECK_ID, CheckDefinition, CheckKind, CheckState, Health, Instance, Node
from tests.unit.services.registry.api.asking import Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def test_the_shape_of_an_entry(registry: Registry) -> None:
    await registry.register(
        "web",
        ID="web-1",
        Address="10.1.2.3",
        Port=8080,
        Tags=["v1", "eu"],
        Meta={"zone": "a"},
        Weights={"Passing": 10, "Warning": 1},
        Check={"TTL": "10s", "Status": "passing", "Notes": "it beats"},
    )
    (entry,) = await registry.health("web")
    index = entry["Service"]["ModifyIndex"]
    assert index > 1
    assert entry["Node"] == {
        "ID": "",
        "Node": "orrery",
        "Address": "127.0.0.1",
        "Datacenter": "dc1",
        "TaggedAddresses": {"lan": "127.0.0.1", "wan": "127.0.0.1"},
        "Meta": {},
        "CreateIndex": index,
        "ModifyIndex": index,
    }
    place = {"Address": "10.1.2.3", "Port": 8080}
    assert entry["Service"] == {
        "ID": "web-1",
        "Service": "web",
        "Tags": ["v1", "eu"],
        "Address": "10.1.2.3",
        "TaggedAddresses": {"lan_ipv4": place, "wan_ipv4": place},
        "Meta": {"zone": "a"},
        "Port": 8080,
        "Weights": {"Passing": 10, "Warning": 1},
        "EnableTagOverride": False,
        "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
        "Connect": {},
        "PeerName": "",
        "CreateIndex": index,
        "ModifyIndex": index,
    }
    (check,) = entry["Checks"]
    assert check == {
        "Node": "orrery",
        "CheckID": "service:web-1",
        "Name": "Service 'web' check",
        "Status": "passing",
        "Notes": "it beats",
        "Output": "",
        "ServiceID": "web-1",
        "ServiceName": "web",
        "ServiceTags": ["v1", "eu"],
        "Type": "ttl",
        "Interval": "",
        "Timeout": "",
        "ExposedPort": 0,
        "Definition": {},
        "CreateIndex": index,
        "ModifyIndex": index,
    }


async def test_selections(registry: Registry) -> None:
    await registry.register("web", ID="a", Tags=["V1", "eu"], Meta={"z": "1"}, Check={"TTL": "1m", "Status": "passing"})
    await registry.register("web", ID="b", Tags=["v1"], Check={"TTL": "1m", "Status": "warning"})
    await registry.register("web", ID="c", Check={"TTL": "1m"})
    await registry.register("web", ID="d")
    assert await registry.ids("web") == ["a", "b", "c", "d"]
    assert await registry.ids("web", "?passing") == ["a", "d"]
    assert await registry.ids("web", "?passing=false") == ["a", "b", "c", "d"]
    assert await registry.ids("web", "?tag=v1") == ["a", "b"]
    assert await registry.ids("web", "?tag=v1&tag=EU") == ["a"]
    assert await registry.ids("web", "?near=_agent&stale&dc=dc1") == ["a", "b", "c", "d"]
    assert await registry.ids("web", "?filter=Service.Meta.z%20==%201") == ["a"]
    assert await registry.ids("web", "?filter=Service.Tags%20is%20empty&passing") == ["d"]
    assert await registry.ids("none") == []
    assert await registry.ids("web", "?node-meta=rack:1") == []


async def test_the_checks_of_the_node_count(registry: Registry) -> None:
    await registry.registrar.register(Instance("n1", "web-1", "web"), (), node=Node("n1", "10.0.0.1", {"rack": "1"}))
    await registry.registrar.add_check(
        "n1",
        CheckDefinition(NODE_CHECK_ID, "Serf Health Status", CheckKind.NODE),
        CheckState(Health.CRITICAL, "Agent not live or unreachable"),
    )
    (entry,) = await registry.health("web", "?node-meta=rack:1")
    assert [(check["CheckID"], check["Type"], check["ServiceName"]) for check in entry["Checks"]] == [
        ("serfHealth", "", "")
    ]
    assert entry["Service"]["Address"] == ""
    assert await registry.ids("web", "?passing") == []
    (check,) = (await registry.get("/v1/health/state/critical")).json
    assert check["Output"] == "Agent not live or unreachable"
    (check,) = (await registry.get("/v1/health/state/any?node-meta=rack:1")).json
    assert check["Node"] == "n1"
    assert (await registry.get("/v1/health/state/any?node-meta=rack:2")).json == []
    assert (await registry.get("/v1/health/checks/web")).json == []


async def test_checks_by_service_node_and_state(registry: Registry) -> None:
    await registry.register("web", Tags=["t"], Checks=[{"TTL": "1m"}, {"TTL": "2m", "Status": "passing"}])
    await registry.put("/v1/agent/check/register", {"Name": "disk", "TTL": "1m", "Status": "warning"})

    async def seen(path: str) -> list[tuple[str, str, list[str]]]:
        checks = (await registry.get(path)).json
        return sorted((check["CheckID"], check["Status"], check["ServiceTags"]) for check in checks)

    first = ("service:web:1", "critical", ["t"])
    second = ("service:web:2", "passing", ["t"])
    disk: tuple[str, str, list[str]] = ("disk", "warning", [])
    assert await seen("/v1/health/checks/web") == [first, second]
    assert await seen("/v1/health/node/orrery") == [disk, first, second]
    assert await seen("/v1/health/state/any") == [disk, first, second]
    assert await seen("/v1/health/state/passing") == [second]
    assert await seen("/v1/health/state/warning") == [disk]
    assert await seen("/v1/health/state/nonsense") == []
    assert await seen("/v1/health/node/none") == []
    assert await seen("/v1/health/state/any?filter=Status%20!=%20passing") == [disk, first]
    for path in ("service", "checks", "node", "state"):
        answer = await registry.get(f"/v1/health/{path}/")
        assert (answer.status, answer.text[:7]) == (400, "Missing")


async def test_encoded_once_until_something_changes(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    encodings: list[object] = []

    def counted(value: object) -> bytes:
        encodings.append(value)
        return encode(value)

    monkeypatch.setattr("services.registry.api.consul.reading.encode", counted)
    await registry.register("web", ID="a")
    first = await registry.get("/v1/health/service/web")
    again = await registry.get("/v1/health/service/web")
    assert (first.body, len(encodings)) == (again.body, 1)
    await registry.get("/v1/health/service/web?passing")
    assert len(encodings) == 2
    await registry.register("db")  # something else
    await registry.get("/v1/health/service/web?passing&stale")
    assert len(encodings) == 2
    await registry.register("web", ID="b")
    assert len((await registry.get("/v1/health/service/web")).json) == 2
    assert len(encodings) == 3


async def test_what_was_encoded_is_forgotten_when_kv_is_set_up_anew(registry: Registry) -> None:
    """The same index may then stand for something else."""
    await registry.register("web", ID="before")
    answer = await registry.get("/v1/health/service/web")
    assert [entry["Service"]["ID"] for entry in answer.json] == ["before"]
    targets = (await registry.get("/v1/sd/prometheus")).json
    assert targets[0]["labels"]["__meta_orrery_service_id"] == "before"
    node = Update(Key(KeyKind.NODE, "orrery"), Node("orrery", "127.0.0.1"), answer.index)
    instance = Update(Key(KeyKind.INSTANCE, "orrery", "after"), Instance("orrery", "after", "web"), answer.index)
    registry.catalogue.reset([node, instance], answer.index)
    again = await registry.get("/v1/health/service/web")
    assert again.index == answer.index
    assert [entry["Service"]["ID"] for entry in again.json] == ["after"]
    targets = (await registry.get("/v1/sd/prometheus")).json
    assert targets[0]["labels"]["__meta_orrery_service_id"] == "after"


async def test_what_the_headers_tell_while_kv_is_there_and_while_it_is_away(registry: Registry) -> None:
    await registry.register("web")
    answer = await registry.get("/v1/health/service/web")
    fresh = {key: answer.headers[f"x-consul-{key}"] for key in ("knownleader", "lastcontact", "effective-consistency")}
    assert fresh == {"knownleader": "true", "lastcontact": "0", "effective-consistency": "leader"}
    assert answer.headers["x-consul-default-acl-policy"] == "allow"
    registry.clock.now_s += 60
    for query in ("", "?stale", "?max_stale=2m"):
        answer = await registry.get(f"/v1/health/service/web{query}")
        assert len(answer.json) == 1
        assert answer.headers["x-consul-knownleader"] == "false"
        assert answer.headers["x-consul-lastcontact"] == "60000"
        assert answer.headers["x-consul-effective-consistency"] == "stale"
    for query in ("?consistent", "?max_stale=5s"):
        answer = await registry.get(f"/v1/health/service/web{query}")
        assert (answer.status, answer.text) == (500, "No cluster leader")


async def test_self_preservation_is_told(registry: Registry) -> None:
    assert "x-orrery-flips-held-back" not in (await registry.get("/v1/health/state/any")).headers
    registry.flips_held_back = 12
    assert (await registry.get("/v1/health/state/any")).headers["x-orrery-flips-held-back"] == "12"


async def test_nothing_is_told_before_kv_was_heard() -> None:
    registry = Registry(heard=False)
    for path in ("health/service/web", "catalog/services", "agent/services", "agent/checks", "health/state/any"):
        answer = await registry.get(f"/v1/{path}")
        assert (answer.status, answer.text) == (500, "No cluster leader")
    assert (await registry.get("/v1/status/leader")).json == ""
    assert (await registry.get("/v1/agent/self")).status == 200
