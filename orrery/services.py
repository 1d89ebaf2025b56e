"""Which services exist, and where their code is. Imports none of them: a process pays only for what it runs."""

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
    protocol: str
    """What its client port speaks, the key of that endpoint in `status --json`."""
    scheme: str = "http://"
    """What stands before that endpoint's `host:port`."""
    has_peers: bool = True
    """Whether its nodes talk among themselves: they have a peer port then, and know all members."""
    needs: tuple[str, ...] = ()
    """Services that it calls: their nodes are started first, and it is told their client ports under their names."""


PORTS_PER_NODE = 10
CLIENT, PEER, ADMIN, MEMBERSHIP, DNS = range(5)
"""Offsets of a node's ports within its ten. The last two are for UDP and TCP alike."""

SERVICES = {
    "kv": ServiceSpec("kv", "services.kv.main", "services.kv.config:KvConfig", nodes=3, port_offset=0, protocol="etcd"),
    "lock": ServiceSpec(
        "lock",
        "services.lock.main",
        "services.lock.config:LockConfig",
        nodes=2,
        port_offset=50,
        protocol="lock",
        scheme="",
        has_peers=False,
        needs=("kv",),
    ),
}
PROFILES = ("standard", "small")
"""`small` runs one process of each service: for small CI jobs, nothing of it survives the loss of a node."""
