"""What the registry says of the health of this cluster's processes.

It is asked over Consul's HTTP API, as anybody may ask it: `/v1/health/service/NAME` of the first of its processes that
answers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orrery.admin_client import Unreachable, get
from orrery.layout import Node

REGISTRY = "registry"
TIMEOUT_S = 1.0
_BADNESS = {"passing": 0, "warning": 1, "critical": 2, "maintenance": 2}


@dataclass(frozen=True, slots=True)
class RegistryHealth:
    """What was said, or why nothing was."""

    by_node: Mapping[str, str] = field(default_factory=dict)
    """`passing`, `warning`, `critical`; a node that the registry does not know is not in it."""
    source: str = ""
    """The process that was asked, `host:port`; empty when none answered."""
    problem: str = ""
    """Why none did; empty, too, when the cluster has no registry."""


def ask_registry(nodes: Sequence[Node], living: Iterable[str]) -> RegistryHealth:
    """Asks the processes of the registry that live, until one answers for all services of `nodes`."""
    registries = [node for node in nodes if node.service.name == REGISTRY]
    if not registries:
        return RegistryHealth()
    problem = "none of its processes runs"
    services = list(dict.fromkeys(node.service.name for node in nodes))
    alive = set(living)
    for registry in (node for node in registries if node.name in alive):
        found: dict[str, str] = {}
        try:
            for service in services:
                found |= _health_of(registry, service)
        except Unreachable as error:
            problem = f"{registry.name}: {error}"
            continue
        return RegistryHealth(found, registry.address(registry.client_port))
    return RegistryHealth(problem=problem)


def _health_of(registry: Node, service: str) -> dict[str, str]:
    """The health of a service's instances by node. Raises Unreachable."""
    path = f"/v1/health/service/{service}"
    status, body = get(registry.host, registry.client_port, path, timeout_s=TIMEOUT_S, accept="application/json")
    if status != 200:
        raise Unreachable(f"{path} answers {status}: {body[:200].decode(errors='replace').strip()}")
    try:
        return {str(entry["Node"]["Node"]): _worst(entry["Checks"]) for entry in json.loads(body)}
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"{path} answers what Consul would not") from error


def _worst(checks: Iterable[Mapping[str, object]]) -> str:
    said = [str(check["Status"]) for check in checks]
    return max(said, key=lambda health: _BADNESS.get(health, 2), default="passing")
