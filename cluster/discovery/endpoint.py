"""What a service is reached at: values, compared by what they say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from cluster.rpc.grpc.address import split_host_port

ENDPOINTS_MAX = 4096
"""Endpoints of one set. A client keeps a connection to each, so more are a mistake or an attack."""
WEIGHT_MAX = 65_535
ADDRESS_CHARACTERS_MAX = 512
_UNFIT = frozenset(", /\\%[]@")


class EndpointHealth(IntEnum):
    """What the source says of an endpoint. The lower, the better."""

    HEALTHY = 0
    UNKNOWN = 1
    """Nobody has looked: an address of a configuration. Used as a healthy one is."""
    UNHEALTHY = 2
    """Used only when too many are: see `eligibility`."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One instance of a service. The address is its identity within a set."""

    address: str
    """`host:port`."""
    weight: int = 1
    """Its share of the load, relative to the others'; 0: none, while others can take it."""
    zone: str = ""
    health: EndpointHealth = EndpointHealth.UNKNOWN
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """The instances of a service at some moment, ordered by address, each address once. Made by `of`."""

    endpoints: tuple[Endpoint, ...] = ()
    is_known: bool = False
    """Whether anybody has told yet; an empty set that is known says that there is nobody."""

    @staticmethod
    def of(endpoints: Iterable[Endpoint]) -> "EndpointSet":
        """A known set. Of several endpoints with one address the healthiest stays, then the heaviest.

        Which ones those are, and which the first ENDPOINTS_MAX are, does not depend on the order.
        """
        best: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            other = best.get(endpoint.address)
            if other is None or _rank(endpoint) < _rank(other):
                best[endpoint.address] = endpoint
        return EndpointSet(tuple(best[address] for address in sorted(best)[:ENDPOINTS_MAX]), is_known=True)

    def __len__(self) -> int:
        return len(self.endpoints)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, in order."""
        return tuple(endpoint.address for endpoint in self.endpoints)


UNKNOWN = EndpointSet()
"""Before anything is known."""


def check_address(address: str) -> str:
    """The address, when it is one that can be connected to: `host:port` with both. Raises ValueError."""
    if not 0 < len(address) <= ADDRESS_CHARACTERS_MAX or not address.isascii() or not address.isprintable():
        raise ValueError(f"not an address: {address[:80]!r}")
    host, port = split_host_port(address)
    # A comma, a slash or a space would make a target of several addresses, or of another scheme.
    is_plain = address[0] == "[" or address.count(":") == 1
    if not host or not port or not is_plain or not address.endswith(f":{port}") or not _UNFIT.isdisjoint(host):
        raise ValueError(f"not host:port: {address!r}")
    return address


def _rank(endpoint: Endpoint) -> tuple[int, int, str, list[tuple[str, str]]]:
    return (endpoint.health, -endpoint.weight, endpoint.zone, sorted(endpoint.metadata.items()))
