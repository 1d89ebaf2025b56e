from services.registry.domain import Instance, Node
from tests.unit.services.registry.api.asking import Registry


async def test_peers_are_the_processes_of_the_registry_and_the_first_is_told_as_leader() -> None:
    registry = Registry()
    assert (await registry.get("/v1/status/peers")).json == ["127.0.0.1:8500"]
    for number in (2, 1):
        node = Node(f"registry-{number}", f"10.0.0.{number}")
        await registry.registrar.register(Instance(node.name, node.name, "registry", port=8500), (), node=node)
    assert (await registry.get("/v1/status/peers")).json == ["10.0.0.1:8500", "10.0.0.2:8500"]
    assert (await registry.get("/v1/status/leader")).json == "10.0.0.1:8500"
    registry.clock.now_s += 60
    assert (await registry.get("/v1/status/leader")).json == ""
    assert (await registry.get("/v1/status/peers")).json == ["10.0.0.1:8500", "10.0.0.2:8500"]
    assert (await registry.get("/v1/status/leader?dc=dc2")).status == 500
