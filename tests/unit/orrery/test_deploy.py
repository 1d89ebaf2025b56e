"""What lies in deploy/ and the compose file say the same of the cluster as `orrery up`."""

import re
from pathlib import Path

from orrery.layout import PORT_BASE, Node, nodes_of
from orrery.services import SERVICES
from orrery.state import ClusterState, NodeState

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SD = re.compile(r'url: "http://(.+):(\d+)/v1/sd/prometheus\?port=admin"')


def nodes() -> dict[str, Node]:
    names = [(f"{spec.name}-{number}", spec.name) for spec in SERVICES.values() for number in range(1, spec.nodes + 1)]
    state = ClusterState("127.0.0.1", PORT_BASE, "standard", "", {name: NodeState(service) for name, service in names})
    return {node.name: node for node in nodes_of(state)}


def published() -> dict[str, dict[str, int]]:
    """The ports of this machine that the compose file publishes by default, by node and purpose."""
    found: dict[str, dict[str, int]] = {}
    for service, number, purpose, port in re.findall(r"\$\{ORRERY_([A-Z]+)_(\d)_(?:([A-Z]+)_)?PORT:-(\d+)\}", COMPOSE):
        found.setdefault(f"{service.lower()}-{number}", {})[purpose.lower() or "client"] = int(port)
    return found


def test_compose_has_the_same_nodes_on_the_same_ports() -> None:
    wanted = {}
    for name, node in nodes().items():
        wanted[name] = {port.purpose.lower(): port.number for port in node.ports}
        # They stay within the network of the containers.
        wanted[name].pop("peer", None)
        del wanted[name]["membership"]
    assert published() == wanted


def test_every_container_takes_part_in_the_membership() -> None:
    for name in nodes():
        assert f"ORRERY_MEMBERSHIP__ADVERTISE: {name}:2382\n" in COMPOSE


def test_prometheus_asks_all_processes_of_the_registry() -> None:
    registries = [node for node in nodes().values() if node.service.name == "registry"]
    local = SD.findall((ROOT / "deploy/prometheus/local.yml").read_text())
    assert local == [(node.host, str(node.client_port)) for node in registries]
    inside = SD.findall((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert inside == [(node.name, "8500") for node in registries]
