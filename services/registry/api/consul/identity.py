"""`/v1/agent/self` and `/v1/agent/members`: whom a client talks to.

Prometheus reads the datacenter here; others look at the version to learn which calls there are.
"""

from dataclasses import dataclass

from cluster.http import Response
from cluster.http.address import split_address
from services.registry.api.consul.fields import Json
from services.registry.api.consul.query import Query
from services.registry.api.consul.reading import JSON, Reading, encoded
from services.registry.domain import NODE_CHECK_ID, Health
from services.registry.interface import NodeView

_ALIVE, _FAILED = 1, 4
"""States of Serf's members."""
_PROTOCOL = {"ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4}


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """What the agent says of itself."""

    node: str
    """The shared node."""
    address: str
    """Where this process is reached, `host:port`."""
    version: str
    """Of Consul, that clients may rely on."""


class IdentityRoom:
    """Reads about the agent and the nodes."""

    def __init__(self, reading: Reading, identity: AgentIdentity) -> None:
        self._reading = reading
        self._identity = identity

    async def self(self, rest: str, query: Query) -> Response:
        """`/v1/agent/self`."""
        identity = self._identity
        host, port = split_address(identity.address)
        datacenter = self._reading.datacenter
        shape: Json = {
            "Config": {
                "Datacenter": datacenter,
                "PrimaryDatacenter": datacenter,
                "NodeName": identity.node,
                "NodeID": "",
                "Revision": "",
                "Server": True,
                "Version": identity.version,
                "BuildDate": "1970-01-01T00:00:00Z",
            },
            "DebugConfig": {},
            "Coord": None,
            "Member": self._member(identity.node, host, port, _ALIVE),
            "Stats": {},
            "Meta": {},
        }
        return Response(200, encoded(shape, pretty="pretty" in query), JSON)

    async def members(self, rest: str, query: Query) -> Response:
        """`/v1/agent/members`: the agent, and the nodes that membership watches over."""
        host, port = split_address(self._identity.address)
        members = [self._member(self._identity.node, host, port, _ALIVE)]
        for view in self._reading.catalogue.nodes():
            health = _membership(view)
            if health is not None and view.node.name != self._identity.node:
                status = _FAILED if health is Health.CRITICAL else _ALIVE
                members.append(self._member(view.node.name, view.node.address, 0, status))
        return Response(200, encoded(members, pretty="pretty" in query), JSON)

    def _member(self, name: str, host: str, port: int, status: int) -> Json:
        tags: dict[str, Json] = {"dc": self._reading.datacenter, "role": "consul", "build": self._identity.version}
        return {"Name": name, "Addr": host, "Port": port, "Tags": tags, "Status": status, **_PROTOCOL}


def _membership(view: NodeView) -> Health | None:
    """What membership says of a node; None when it is none of its."""
    for check in view.checks:
        if check.definition.id == NODE_CHECK_ID:
            return check.state.health
    return None
