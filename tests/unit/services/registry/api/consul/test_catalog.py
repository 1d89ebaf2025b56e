import pytest

from services.registry.domain import CheckKind
from tests.unit.services.registry.api.asking import Registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def write(registry: Registry, call: str, **fields: object) -> None:
    answer = await registry.put(f"/v1/catalog/{call}", fields)
    assert (answer.status, answer.json) == (200, True), answer


async def test_a_node_with_an_instance(registry: Registry) -> None:
    await write(
        registry,
        "register",
        Node="ext",
        Address="10.9.9.9",
        NodeMeta={"rack": "7"},
        Service={"Service": "db", "ID": "db-1", "Port": 5432, "Tags": ["main"], "Meta": {"v": "15"}},
    )
    (found,) = (await registry.get("/v1/catalog/service/db")).json
    index = found["ModifyIndex"]
    assert found == {
        "ID": "",
        "Node": "ext",
        "Address": "10.9.9.9",
        "Datacenter": "dc1",
        "TaggedAddresses": {"lan": "10.9.9.9", "wan": "10.9.9.9"},
        "NodeMeta": {"rack": "7"},
        "ServiceKind": "",
        "ServiceID": "db-1",
        "ServiceName": "db",
        "ServiceTags": ["main"],
        "ServiceAddress": "",
        "ServiceTaggedAddresses": {},
        "ServiceWeights": {"Passing": 1, "Warning": 1},
        "ServiceMeta": {"v": "15"},
        "ServicePort": 5432,
        "ServiceSocketPath": "",
        "ServiceEnableTagOverride": False,
        "ServiceProxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
        "ServiceConnect": {},
        "ServiceLocality": None,
        "CreateIndex": index,
        "ModifyIndex": index,
    }
    (node,) = (await registry.get("/v1/catalog/nodes?node-meta=rack:7")).json
    assert (node["Node"], node["Address"], node["Meta"]) == ("ext", "10.9.9.9", {"rack": "7"})
    assert (await registry.get("/v1/catalog/nodes?node-meta=rack:8")).json == []
    assert (await registry.get("/v1/catalog/nodes?filter=Node==ext")).json == [node]
    by_node = (await registry.get("/v1/catalog/node/ext")).json
    assert by_node["Node"]["Node"] == "ext"
    assert list(by_node["Services"]) == ["db-1"]
    assert by_node["Services"]["db-1"]["Service"] == "db"
    listed = (await registry.get("/v1/catalog/node-services/ext")).json
    assert [service["ID"] for service in listed["Services"]] == ["db-1"]
    assert (await registry.get("/v1/catalog/node/none")).json is None
    assert (await registry.get("/v1/catalog/node-services/none")).json == {"Node": None, "Services": []}


async def test_services_and_their_tags(registry: Registry) -> None:
    await registry.register("web", ID="a", Tags=["x", "v1"], Meta={"z": "1"})
    await registry.register("web", ID="b", Tags=["v2"])
    await registry.register("db")
    assert (await registry.get("/v1/catalog/services")).json == {"db": [], "web": ["v1", "v2", "x"]}
    assert (await registry.get("/v1/catalog/services?filter=ServiceMeta.z==1")).json == {"web": ["v1", "x"]}
    assert (await registry.get("/v1/catalog/services?node-meta=rack:7")).json == {}
    assert [found["ServiceID"] for found in (await registry.get("/v1/catalog/service/web?tag=V2")).json] == ["b"]
    assert (await registry.get("/v1/catalog/service/web?tag=v1&tag=v2")).json == []
    assert (await registry.get("/v1/catalog/service/web?filter=ServiceID==a")).json[0]["ServiceID"] == "a"


async def test_checks_say_what_they_are_told(registry: Registry) -> None:
    service = {"Service": "db"}
    check = {"CheckID": "c", "Name": "C", "ServiceID": "db", "Status": "passing", "Output": "ok"}
    await write(registry, "register", Node="ext", Address="10.9.9.9", Service=service, Check=check)
    assert await registry.ids("db", "?passing") == ["db"]
    node_check = {"Node": "ext", "Name": "alive", "Status": "critical"}
    await write(registry, "register", Node="ext", Address="10.9.9.9", Checks=[node_check], SkipNodeUpdate=True)
    (entry,) = await registry.health("db")
    assert sorted((c["CheckID"], c["Status"], c["Type"], c["Output"]) for c in entry["Checks"]) == [
        ("alive", "critical", "", ""),
        ("c", "passing", "", "ok"),
    ]
    assert await registry.ids("db", "?passing") == []
    await write(registry, "deregister", Node="ext", CheckID="alive")
    assert await registry.ids("db", "?passing") == ["db"]


async def test_a_check_with_a_definition_is_probed(registry: Registry) -> None:
    definition = {"HTTP": "http://10.9.9.9/", "Interval": "30s", "Timeout": "5s"}
    check = {"CheckID": "page", "Name": "page", "ServiceID": "db", "Status": "passing", "Definition": definition}
    await write(registry, "register", Node="ext", Address="10.9.9.9", Service={"Service": "db"}, Check=check)
    kept = registry.catalogue.check("ext", "page")
    assert kept is not None
    assert (kept.definition.kind, kept.definition.interval_ms) == (CheckKind.HTTP, 30_000)
    assert kept.state.health.value == "passing"


async def test_a_node_is_left_as_it_is_when_asked(registry: Registry) -> None:
    await write(registry, "register", Node="ext", Address="10.9.9.9", NodeMeta={"a": "1"})
    await write(registry, "register", Node="ext", SkipNodeUpdate=True, Service={"Service": "db"})
    (node,) = [node for node in (await registry.get("/v1/catalog/nodes")).json if node["Node"] == "ext"]
    assert (node["Address"], node["Meta"]) == ("10.9.9.9", {"a": "1"})


async def test_weights_of_zero_are_unsaid(registry: Registry) -> None:
    """So does Consul's Go client send them."""
    service = {"Service": "db", "Weights": {"Passing": 0, "Warning": 0}}
    await write(registry, "register", Node="ext", Address="10.9.9.9", Service=service)
    (found,) = (await registry.get("/v1/catalog/service/db")).json
    assert found["ServiceWeights"] == {"Passing": 1, "Warning": 1}


async def test_deregister(registry: Registry) -> None:
    await write(registry, "register", Node="ext", Address="10.9.9.9", Service={"Service": "db", "ID": "a"})
    await write(registry, "register", Node="ext", Address="10.9.9.9", Service={"Service": "db", "ID": "b"})
    await write(registry, "deregister", Node="ext", ServiceID="a")
    assert await registry.ids("db") == ["b"]
    await write(registry, "deregister", Node="ext")
    assert await registry.ids("db") == []
    assert (await registry.get("/v1/catalog/node/ext")).json is None
    await write(registry, "deregister", Node="ext")  # as if it had been there
    await write(registry, "deregister", Node="ext", ServiceID="a")


@pytest.mark.parametrize(
    ("call", "fields", "status", "message"),
    [
        ("register", {}, 400, "Must provide node"),
        ("register", {"Node": "n"}, 400, "Must provide address if SkipNodeUpdate is not set"),
        (
            "register",
            {"Node": "n", "Address": "a", "Service": {"ID": "x"}},
            400,
            "Must provide service name (Service.Service) when service ID is provided",
        ),
        (
            "deregister",
            {"Node": "orrery"},
            400,
            'node "orrery" is that of all agents: deregister its services one by one',
        ),
        (
            "register",
            {"Node": "n", "Address": "a", "Check": {"Name": "c", "Node": "m"}},
            400,
            'check node "m" does not match node "n"',
        ),
        ("register", {"Node": "n", "Address": "a", "Datacenter": "dc9"}, 500, "No path to datacenter"),
        ("deregister", {}, 400, "Must provide node"),
    ],
)
async def test_what_is_refused(
    registry: Registry, call: str, fields: dict[str, object], status: int, message: str
) -> None:
    answer = await registry.put(f"/v1/catalog/{call}", fields)
    assert (answer.status, answer.text) == (status, message)
    assert registry.store.commits == 0


async def test_a_check_of_an_instance_that_is_not_there(registry: Registry) -> None:
    check = {"Name": "c", "ServiceID": "x"}
    answer = await registry.put("/v1/catalog/register", {"Node": "n", "Address": "10.0.0.1", "Check": check})
    assert (answer.status, answer.text) == (400, "Unknown service ID 'x' for check ID 'c'")


async def test_the_agents_own_node_is_not_moved(registry: Registry) -> None:
    await registry.register("web")
    await write(registry, "register", Node="orrery", Address="10.9.9.9", Service={"Service": "db"})
    (found,) = (await registry.get("/v1/catalog/service/db")).json
    assert (found["Node"], found["Address"]) == ("orrery", "127.0.0.1")


async def test_missing_names(registry: Registry) -> None:
    for path, message in (("service", "Missing service name"), ("node", "Missing node name")):
        answer = await registry.get(f"/v1/catalog/{path}/")
        assert (answer.status, answer.text) == (400, message)


async def test_the_datacenter(registry: Registry) -> None:
    assert (await registry.get("/v1/catalog/datacenters")).json == ["dc1"]
