"""What a name asks for. Consul's scheme, read from the right:

    [<tag>.]<service>.service[.<datacenter>].<domain>        instances of a service
    _<service>._<tag or tcp>.service[.<datacenter>].<domain> the same, as RFC 2782 writes it
    <node>.node[.<datacenter>].<domain>                      a node
    <hex>.addr[.<datacenter>].<domain>                       the address that the digits are; SRV records point there
    ns.<domain>                                              the name server
    <address>.in-addr.arpa, <address>.ip6.arpa               whose address this is

Tags and nodes may have dots in them. All comes in lower case.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from services.registry.dns.name import split_name

IP: TypeAlias = IPv4Address | IPv6Address

_SERVICE, _NODE, _ADDRESS = b"service", b"node", b"addr"
_KINDS = frozenset({_SERVICE, _NODE, _ADDRESS})
_ANY_TAG = frozenset({"tcp", "udp"})
"""Protocols that stand where a tag would, and that no service is asked for by."""
_IN_ADDR, _IP6 = (b"in-addr", b"arpa"), (b"ip6", b"arpa")


@dataclass(frozen=True, slots=True)
class ServiceName:
    """Instances of a service, with a tag or with any."""

    service: str
    tag: str


@dataclass(frozen=True, slots=True)
class NodeName:
    """A node."""

    node: str


@dataclass(frozen=True, slots=True)
class AddressName:
    """An address written as a name."""

    ip: IP


@dataclass(frozen=True, slots=True)
class ReverseName:
    """An address whose name is asked for."""

    ip: IP


@dataclass(frozen=True, slots=True)
class Apex:
    """The domain itself."""


@dataclass(frozen=True, slots=True)
class ServerName:
    """`ns.<domain>`."""


@dataclass(frozen=True, slots=True)
class Between:
    """A name that has nothing itself, and names beneath it: it must not be said not to exist (RFC 8020)."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A name of the domain that cannot exist."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A name of somebody else."""


Wanted: TypeAlias = ServiceName | NodeName | AddressName | ReverseName | Apex | ServerName | Between | Nothing | Foreign


class Naming:
    """Reads names under some domains."""

    def __init__(self, domains: tuple[bytes, ...], datacenter: str) -> None:
        """`domains` on the wire, in lower case; the longest that fits decides."""
        self._domains = sorted((tuple(split_name(domain)) for domain in domains), key=len, reverse=True)
        self._datacenter = datacenter.lower().encode()

    def read(self, name: bytes) -> tuple[Wanted, int]:
        """What `name` (on the wire, lower case) asks for, and the length of its domain on the wire."""
        labels = split_name(name)
        for domain in self._domains:
            if len(labels) >= len(domain) and tuple(labels[len(labels) - len(domain) :]) == domain:
                size = sum(map(len, domain)) + len(domain) + 1
                return self._read_own(labels[: len(labels) - len(domain)]), size
        return _read_reverse(labels), 0

    def _read_own(self, labels: list[bytes]) -> Wanted:
        if not labels:
            return Apex()
        if labels == [b"ns"]:
            return ServerName()
        # A datacenter may stand last, also as `dc1.dc`; a service or node called like it is not hindered by that.
        if labels[-1] == b"dc" and len(labels) > 1 and labels[-2] == self._datacenter:
            labels = labels[:-1]
        elif labels == [b"dc"]:
            return Between()
        if labels[-1] == self._datacenter:
            labels = labels[:-1]
            if not labels:
                return Between()
        kind, rest = labels[-1], labels[:-1]
        if kind not in _KINDS:
            return Nothing()
        if not rest:
            return Between()
        try:
            texts = [label.decode() for label in rest]
        except UnicodeDecodeError:
            return Nothing()
        if kind == _SERVICE:
            return _read_service(texts)
        if kind == _NODE:
            return NodeName(".".join(texts))
        return _read_address(texts)


def _read_service(labels: list[str]) -> Wanted:
    if len(labels) == 2 and labels[0][0] == "_" == labels[1][0] and len(labels[0]) > 1:
        tag = labels[1][1:]
        return ServiceName(labels[0][1:], "" if tag in _ANY_TAG else tag)
    return ServiceName(labels[-1], ".".join(labels[:-1]))


def _read_address(labels: list[str]) -> Wanted:
    digits = labels[0]
    if len(labels) != 1 or len(digits) not in (8, 32) or not set(digits) <= set("0123456789abcdef"):
        return Nothing()
    packed = bytes.fromhex(digits)
    return AddressName(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


def _read_reverse(labels: list[bytes]) -> Wanted:
    """RFC 1035, section 3.5; RFC 3596, section 2.5. Only whole addresses: the zones between are others'."""
    try:
        if tuple(labels[-2:]) == _IN_ADDR and len(labels) == 6:
            return ReverseName(IPv4Address(b".".join(reversed(labels[:4])).decode("ascii")))
        if tuple(labels[-2:]) == _IP6 and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
            return ReverseName(IPv6Address(bytes.fromhex(b"".join(reversed(labels[:32])).decode("ascii"))))
    except ValueError:
        pass
    return Foreign()
