from services.registry.api.consul import ConsulSettings
from services.registry.domain import NODE_CHECK_ID, CheckDefinition, CheckKind, CheckState, Health, Node
from tests.unit.services.registry.api.asking import Registry


async def test_self_tells_what_prometheus_reads() -> None:
    registry = Registry(ConsulSettings("127.0.0.1:8500", datacenter="here"))
    shape = (await registry.get("/v1/agent/self")).json
    assert shape["Config"]["Datacenter"] == "here"
    assert shape["Config"]["NodeName"] == "orrery"
    assert shape["Member"]["Port"] == 8500
    # Go's client decodes it as a map of maps.
    assert all(part is None or isinstance(part, dict) for part in shape.values())


async def test_members_are_the_agent_and_the_nodes_that_membership_watches() -> None:
    registry = Registry()
    serf = CheckDefinition(NODE_CHECK_ID, "Serf Health Status", CheckKind.NODE)
    for name, health in (("kv-1", Health.PASSING), ("kv-2", Health.CRITICAL)):
        await registry.registrar.register_node(Node(name, "10.0.0.1"))
        await registry.registrar.add_check(name, serf, CheckState(health))
    await registry.registrar.register_node(Node("external", "10.0.0.9"))
    members = (await registry.get("/v1/agent/members")).json
    assert [(member["Name"], member["Status"]) for member in members] == [("orrery", 1), ("kv-1", 1), ("kv-2", 4)]
