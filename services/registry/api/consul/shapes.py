"""What Consul's answers look like: the names and the nesting of its Go structs.

`CreateIndex` is that of the latest change, too: the catalogue does not keep the first. Of the parts that the registry
does not have (proxies, Connect, tagged addresses of one's own) the empty shape is shown, since clients decode it.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

import msgspec

from services.registry.api.consul.durations import format_duration
from services.registry.api.consul.fields import Json
from services.registry.domain import (
    INSTANCE_MAINTENANCE_ID,
    NODE_MAINTENANCE_ID,
    CheckKind,
    Health,
    Instance,
    Node,
)
from services.registry.interface import Check, Endpoint

_MAINTENANCE_PREFIX = INSTANCE_MAINTENANCE_ID.format(id="")
MAINTENANCE = "maintenance"
_PROXY: Json = {"Mode": "", "MeshGateway": {}, "Expose": {}}

encode = msgspec.json.Encoder().encode


def node_shape(node: Node, index: int, datacenter: str) -> dict[str, Json]:
    """A node, as in `/v1/catalog/nodes`."""
    return {
        "ID": "",
        "Node": node.name,
        "Address": node.address,
        "Datacenter": datacenter,
        "TaggedAddresses": {"lan": node.address, "wan": node.address},
        "Meta": dict(node.metadata),
        "CreateIndex": index,
        "ModifyIndex": index,
    }


def _tagged_addresses(instance: Instance) -> dict[str, Json]:
    """What a Consul agent fills in for an instance that has an address of its own."""
    try:
        version = ip_address(instance.address).version
    except ValueError:
        return {}
    place: Json = {"Address": instance.address, "Port": instance.port}
    return {f"lan_ipv{version}": place, f"wan_ipv{version}": place}


def service_shape(instance: Instance, index: int) -> dict[str, Json]:
    """An instance, as in `/v1/health/service` and `/v1/catalog/node`."""
    shape: dict[str, Json] = {
        "ID": instance.id,
        "Service": instance.service,
        "Tags": list(instance.tags),
        "Address": instance.address,
        "Meta": dict(instance.metadata),
        "Port": instance.port,
        "Weights": {"Passing": instance.weights.passing, "Warning": instance.weights.warning},
        "EnableTagOverride": False,
        "Proxy": _PROXY,
        "Connect": {},
        "PeerName": "",
        "CreateIndex": index,
        "ModifyIndex": index,
    }
    tagged = _tagged_addresses(instance)
    if tagged:
        shape["TaggedAddresses"] = tagged
    return shape


def agent_service_shape(instance: Instance, index: int, datacenter: str) -> dict[str, Json]:
    """An instance, as in `/v1/agent/services`."""
    shape: dict[str, Json] = {
        "ID": instance.id,
        "Service": instance.service,
        "Tags": list(instance.tags),
        "Meta": dict(instance.metadata),
        "Port": instance.port,
        "Address": instance.address,
        "TaggedAddresses": _tagged_addresses(instance),
        "Weights": {"Passing": instance.weights.passing, "Warning": instance.weights.warning},
        "EnableTagOverride": False,
        "CreateIndex": index,
        "ModifyIndex": index,
        "Datacenter": datacenter,
    }
    if not shape["TaggedAddresses"]:
        del shape["TaggedAddresses"]
    return shape


def service_node_shape(endpoint: Endpoint, datacenter: str) -> dict[str, Json]:
    """An instance with its node, as in `/v1/catalog/service`."""
    instance, node = endpoint.instance, endpoint.node
    return {
        "ID": "",
        "Node": node.name,
        "Address": node.address,
        "Datacenter": datacenter,
        "TaggedAddresses": {"lan": node.address, "wan": node.address},
        "NodeMeta": dict(node.metadata),
        "ServiceKind": "",
        "ServiceID": instance.id,
        "ServiceName": instance.service,
        "ServiceTags": list(instance.tags),
        "ServiceAddress": instance.address,
        "ServiceTaggedAddresses": _tagged_addresses(instance),
        "ServiceWeights": {"Passing": instance.weights.passing, "Warning": instance.weights.warning},
        "ServiceMeta": dict(instance.metadata),
        "ServicePort": instance.port,
        "ServiceSocketPath": "",
        "ServiceEnableTagOverride": False,
        "ServiceProxy": _PROXY,
        "ServiceConnect": {},
        "ServiceLocality": None,
        "CreateIndex": endpoint.index,
        "ModifyIndex": endpoint.index,
    }


def check_shape(check: Check, tags: Sequence[str]) -> dict[str, Json]:
    """A check, as everywhere. `tags` are those of its service."""
    definition, state = check.definition, check.state
    return {
        "Node": check.node,
        "CheckID": definition.id,
        "Name": definition.name,
        "Status": state.health.value,
        "Notes": definition.notes,
        "Output": state.output,
        "ServiceID": definition.instance_id,
        "ServiceName": check.service,
        "ServiceTags": list(tags),
        "Type": _check_type(check),
        "Interval": format_duration(definition.interval_ms) if definition.interval_ms else "",
        "Timeout": format_duration(definition.timeout_ms) if definition.timeout_ms else "",
        "ExposedPort": 0,
        "Definition": {},
        "CreateIndex": check.index,
        "ModifyIndex": check.index,
    }


def _check_type(check: Check) -> str:
    match check.definition.kind:
        case CheckKind.NODE:
            return ""  # as Consul's serfHealth
        case CheckKind.MAINTENANCE:
            return MAINTENANCE if is_maintenance(check) else ""
        case kind:
            return kind.value


def is_maintenance(check: Check) -> bool:
    """Whether an operator took the instance or the node out of use. Other checks of that kind were put into the
    catalogue by somebody who writes their state, too (`/v1/catalog/register`).
    """
    check_id = check.definition.id
    return check_id == NODE_MAINTENANCE_ID or check_id.startswith(_MAINTENANCE_PREFIX)


def endpoint_shape(endpoint: Endpoint, datacenter: str) -> dict[str, Json]:
    """An instance with its node and its checks, as in `/v1/health/service`."""
    tags = endpoint.instance.tags
    return {
        "Node": node_shape(endpoint.node, endpoint.index, datacenter),
        "Service": service_shape(endpoint.instance, endpoint.index),
        "Checks": [check_shape(check, tags if check.service else ()) for check in endpoint.checks],
    }


def aggregated_status(checks: Sequence[Check]) -> str:
    """The worst of the checks; maintenance comes before all of them."""
    worst = Health.PASSING
    for check in checks:
        if is_maintenance(check):
            return MAINTENANCE
        if check.state.health.badness > worst.badness:
            worst = check.state.health
    return worst.value


def has_metadata(metadata: Mapping[str, str], wanted: Sequence[tuple[str, str]]) -> bool:
    """Whether a node has all of these."""
    return all(metadata.get(key) == value for key, value in wanted)


def has_tags(tags: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether an instance has all of these, whatever their case: so Consul compares them."""
    if not wanted:
        return True
    lower = {tag.lower() for tag in tags}
    return all(tag.lower() in lower for tag in wanted)
