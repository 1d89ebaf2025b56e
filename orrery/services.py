"""Which services exist, and where their code is. Imports none of them: a process pays only for what it runs."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A deployable service."""

    name: str
    module: str
    """The module of its `serve` coroutine: `async def serve(config, stop)`."""
    config: str
    """Its configuration, `module:Class`."""
    nodes: int
    """Processes of it in a local cluster."""
    port_offset: int
    """Where its ports begin, added to the cluster's port base."""
    protocols: Mapping[str, str]
    """What its client port speaks: the keys of these endpoints in `status --json`, and what stands before their
    `host:port`."""
    has_peers: bool = False
    """Whether its nodes talk among themselves: they have a peer port then, and know all members."""
    has_dns: bool = False
    """Whether its nodes answer DNS."""
    needs: tuple[str, ...] = ()
    """Services that it calls: their nodes are started first, and it is told their client ports under their names."""


PORTS_PER_NODE = 10
CLIENT, PEER, ADMIN, MEMBERSHIP, DNS = range(5)
"""Offsets of a node's ports within its ten. The last two are for UDP and TCP alike."""

SERVICES = {
    "kv": ServiceSpec(
        "kv",
        "services.kv.main",
        "services.kv.config:KvConfig",
        nodes=3,
        port_offset=0,
        protocols={"etcd": "http://"},
        has_peers=True,
    ),
    "lock": ServiceSpec(
        "lock",
        "services.lock.main",
        "services.lock.config:LockConfig",
        nodes=2,
        port_offset=50,
        protocols={"lock": ""},
        needs=("kv",),
    ),
    "registry": ServiceSpec(
        "registry",
        "services.registry.main",
        "services.registry.config:RegistryConfig",
        nodes=3,
        port_offset=70,
        protocols={"registry": "", "consul": "http://"},
        has_dns=True,
        needs=("kv",),
    ),
}
PROFILES = ("standard", "small")
"""`small` runs one process of each service: for small CI jobs, nothing of it survives the loss of a node."""
