"""Who a process is, and where it is reached."""

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.clients.registry import Service
from cluster.http.address import join_address, split_address
from cluster.membership.metadata import Metadata
from cluster.telemetry.report import VERSION


@dataclass(frozen=True, slots=True)
class Identity:
    """The same for whoever asks: the membership, and the registry."""

    service: str
    """`kv`, `lock`, ..."""
    node: str
    """Its name in the cluster, unique, and the same after a restart."""
    host: str
    """Under which the others reach it: a name or a number."""
    ports: Mapping[str, int]
    """Its ports by protocol; the first one is the service's own, `admin` is among the others."""

    @staticmethod
    def of(service: str, node: str, address: str, protocol: str, **listeners: str) -> "Identity":
        """Of a service that is reached at `address`, `host:port`; `listeners` are what else it listens on, `admin=...`.

        What it listens on may be an address that means nothing to others, 0.0.0.0: they take its host from `address`.
        """
        host, port = split_address(address)
        others = {name: split_address(listen)[1] for name, listen in listeners.items()}
        return Identity(service, node, host, {protocol: port, **others})

    @property
    def endpoints(self) -> dict[str, str]:
        """`host:port` by protocol."""
        return {protocol: join_address(self.host, port) for protocol, port in self.ports.items()}

    def as_member(self) -> Metadata:
        """What a member says of itself."""
        return Metadata(self.service, self.endpoints, {"node": self.node, "version": VERSION})

    def as_instance(self, tags: tuple[str, ...] = ()) -> Service:
        """What the registry is told. All endpoints are in the metadata: Prometheus' discovery finds the metrics by
        `admin`.
        """
        return Service(
            service=self.service,
            id=self.node,
            node=self.node,
            address=self.host,
            port=next(iter(self.ports.values())),
            tags=tags,
            metadata={**self.endpoints, "version": VERSION},
        )
