"""Who runs where in a local cluster: names, ports, and the configuration each process gets.

From the port base on, each node has ten ports: kv from +0, lock from +50, the registry from +70, and within its ten +0
for clients, +1 for its peers, +2 for administration, +3 for the membership (UDP and TCP), +4 for DNS (UDP and TCP).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from orrery.errors import OperatorError
from orrery.services import ADMIN, CLIENT, DNS, MEMBERSHIP, PEER, PORTS_PER_NODE, SERVICES, ServiceSpec
from orrery.state import ClusterDirectory, ClusterState
from orrery.toml import Document, to_toml

PORT_BASE = 23790
"""kv-1 answers etcd's clients on 23790; etcd's own 2379 stays free for an etcd beside it."""
PORT_MAX = 65_535
SEEDS = 3
"""Nodes by which the others find the cluster. All name the same ones: any that lives will do."""


@dataclass(frozen=True, slots=True)
class Port:
    """Something that a node listens on."""

    purpose: str
    number: int
    has_datagrams: bool = False
    """Whether UDP is listened on, too."""


@dataclass(frozen=True, slots=True)
class Node:
    """A process of the local cluster."""

    name: str
    service: ServiceSpec
    host: str
    first_port: int
    """Of its ten."""

    @property
    def client_port(self) -> int:
        """What clients reach."""
        return self.first_port + CLIENT

    @property
    def peer_port(self) -> int:
        """What the other nodes of the service reach."""
        return self.first_port + PEER

    @property
    def admin_port(self) -> int:
        """Metrics, health, information."""
        return self.first_port + ADMIN

    @property
    def membership_port(self) -> int:
        """What all other nodes of the cluster reach."""
        return self.first_port + MEMBERSHIP

    @property
    def dns_port(self) -> int:
        """What resolvers reach."""
        return self.first_port + DNS

    def address(self, port: int) -> str:
        """`host:port`, as configuration files and clients write it."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    @property
    def endpoints(self) -> dict[str, str]:
        """Where it answers clients and operators, by protocol."""
        client = self.address(self.client_port)
        return {
            **{protocol: f"{scheme}{client}" for protocol, scheme in self.service.protocols.items()},
            **({"dns": self.address(self.dns_port)} if self.service.has_dns else {}),
            **({"peer": self.address(self.peer_port)} if self.service.has_peers else {}),
            "admin": f"http://{self.address(self.admin_port)}",
        }

    @property
    def ports(self) -> list[Port]:
        """All that it listens on."""
        return [
            Port("client", self.client_port),
            *([Port("peer", self.peer_port)] if self.service.has_peers else []),
            Port("admin", self.admin_port),
            Port("membership", self.membership_port, has_datagrams=True),
            *([Port("DNS", self.dns_port, has_datagrams=True)] if self.service.has_dns else []),
        ]


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
    return Node(name, service, state.host, first)


def nodes_of(state: ClusterState) -> list[Node]:
    """All nodes, in order."""
    return [node_of(state, name) for name in state.nodes]


def configuration(directory: ClusterDirectory, state: ClusterState, node: Node) -> str:
    """The TOML file of one process: what this cluster decides, and what the operator has set otherwise."""
    document = decided(directory, state, node)
    document["log"] = {"level": "info"}
    for path, value in state.settings.get(node.service.name, {}).items():
        *sections, key = path.split(".")
        at = document
        for name in sections:
            at = cast("Document", at.setdefault(name, {}))
        at[key] = value
    return f"# Written by `orrery up`; rewritten at every start of the node.\n{to_toml(document)}"


def decided(directory: ClusterDirectory, state: ClusterState, node: Node) -> Document:
    """What follows from the layout: the operator has no say in it but by the cluster's own options."""
    section: Document = {
        "listen": node.address(node.client_port),
        "advertise": node.address(node.client_port),
    }
    if node.service.has_peers:
        members = [f"{other.name}={other.address(other.peer_port)}" for other in _nodes_of(state, node.service.name)]
        section["peer_listen"] = node.address(node.peer_port)
        section["members"] = members
        section["cluster_token"] = state.cluster_token
    for needed in node.service.needs:
        section[needed] = [other.address(other.client_port) for other in _nodes_of(state, needed)]
    dns: Document = {"dns": {"listen": [node.address(node.dns_port)]}} if node.service.has_dns else {}
    return {
        "node": node.name,
        "data_dir": str(directory.data(node.name)),
        "admin": {"listen": node.address(node.admin_port)},
        node.service.name: section,
        **dns,
        "membership": {
            "listen": node.address(node.membership_port),
            "seeds": [other.address(other.membership_port) for other in nodes_of(state)[:SEEDS]],
            "cluster": state.cluster_token,
            "keys_file": str(directory.membership_keys),
        },
    }


def _nodes_of(state: ClusterState, service: str) -> list[Node]:
    return [node for node in nodes_of(state) if node.service.name == service]
