"""Who runs where in a local cluster: names, ports, and the configuration each process gets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from orrery.errors import OperatorError
from orrery.services import ADMIN, CLIENT, PEER, PORTS_PER_NODE, SERVICES, ServiceSpec
from orrery.state import ClusterDirectory, ClusterState

PORT_BASE = 23790
"""kv-1 answers etcd's clients on 23790; etcd's own 2379 stays free for an etcd beside it."""
PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Node:
    """A process of the local cluster."""

    name: str
    service: ServiceSpec
    host: str
    client_port: int
    peer_port: int
    admin_port: int

    def address(self, port: int) -> str:
        """`host:port`, as configuration files and clients write it."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    @property
    def endpoints(self) -> dict[str, str]:
        """Where it answers, by protocol."""
        peer = {"peer": self.address(self.peer_port)} if self.service.has_peers else {}
        return {
            self.service.protocol: f"{self.service.scheme}{self.address(self.client_port)}",
            **peer,
            "admin": f"http://{self.address(self.admin_port)}",
        }

    @property
    def ports(self) -> dict[str, int]:
        """What it listens on, by purpose."""
        peer = {"peer": self.peer_port} if self.service.has_peers else {}
        return {"client": self.client_port, **peer, "admin": self.admin_port}


def node_names(service: str, profile: str) -> list[str]:
    """The nodes of a service: `kv-1`, `kv-2`, ..."""
    count = 1 if profile == "small" else SERVICES[service].nodes
    return [f"{service}-{number}" for number in range(1, count + 1)]


def with_needs(services: Sequence[str]) -> list[str]:
    """The services, each behind those that it needs."""
    found: dict[str, None] = {}
    for service in services:
        for needed in with_needs(SERVICES[service].needs):
            found[needed] = None
        found[service] = None
    return list(found)


def node_of(state: ClusterState, name: str) -> Node:
    """Where a node of this cluster listens. Raises OperatorError that names the known ones."""
    known = state.nodes.get(name)
    if known is None:
        raise OperatorError(f"there is no node {name!r}; there are: {', '.join(state.nodes)}", code=2)
    service = SERVICES[known.service]
    first = state.port_base + service.port_offset + PORTS_PER_NODE * (int(name.rpartition("-")[2]) - 1)
    if first + PORTS_PER_NODE > PORT_MAX:
        raise OperatorError(f"--port-base {state.port_base} leaves no room below port {PORT_MAX}", code=2)
    return Node(name, service, state.host, first + CLIENT, first + PEER, first + ADMIN)


def nodes_of(state: ClusterState) -> list[Node]:
    """All nodes, in order."""
    return [node_of(state, name) for name in state.nodes]


def configuration(directory: ClusterDirectory, state: ClusterState, node: Node) -> str:
    """The TOML file of one process."""
    quoted = json.dumps  # a JSON string is a TOML basic string
    peers = ""
    if node.service.has_peers:
        members = [f"{other.name}={other.address(other.peer_port)}" for other in _nodes_of(state, node.service.name)]
        peers = (
            f"peer_listen = {quoted(node.address(node.peer_port))}\n"
            f"members = {quoted(members)}\n"
            f"cluster_token = {quoted(state.cluster_token)}\n"
        )
    needs = "".join(
        f"{name} = {quoted([other.address(other.client_port) for other in _nodes_of(state, name)])}\n"
        for name in node.service.needs
    )
    return f"""\
# Written by `orrery up`; rewritten at every start of the node.
node = {quoted(node.name)}
data_dir = {quoted(str(directory.data(node.name)))}

[admin]
listen = {quoted(node.address(node.admin_port))}

[log]
level = "info"

[{node.service.name}]
listen = {quoted(node.address(node.client_port))}
advertise = {quoted(node.address(node.client_port))}
{peers}{needs}"""


def _nodes_of(state: ClusterState, service: str) -> list[Node]:
    return [node for node in nodes_of(state) if node.service.name == service]
