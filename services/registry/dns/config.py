"""[dns] of a registry process: where it answers and how. See `runtime.config` for where the values come from."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated

import msgspec
from msgspec import Meta

from cluster.http.address import split_address
from services.registry.dns.name import parse_text
from services.registry.dns.records import TTL_S_MAX

PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""Loopback, private, link-local and shared addresses: what nobody can be flooded at through the open internet."""

_Seconds = Annotated[int, Meta(ge=0, le=TTL_S_MAX)]


class DnsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[dns]."""

    listen: Annotated[
        tuple[str, ...],
        Meta(
            description="host:port of UDP and TCP, one or several, IPv6 in brackets. A port of 0 is replaced by a free"
            " one. Empty: no DNS. Name addresses, not 0.0.0.0, on a host that has several: an answer must leave"
            " from the address that was asked."
        ),
    ] = ("127.0.0.1:8600",)
    domains: Annotated[
        tuple[str, ...],
        Meta(description="Domains that are answered for. Everything else is refused.", min_length=1, max_length=16),
    ] = ("consul", "orrery")
    datacenter: Annotated[
        str, Meta(description="The one datacenter's name, which names may carry: web.service.dc1.consul.", min_length=1)
    ] = "dc1"
    addresses: Annotated[
        tuple[str, ...],
        Meta(
            description="IP addresses of `ns.<domain>`, which the domain names as its server. Empty: those of `listen`."
        ),
    ] = ()
    allow_from: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks that are answered; everybody else hears nothing. An answer is up to 30 times as long"
            " as its question, and the sender of a datagram is easily forged: opened to the internet, the port"
            " can be used to flood others."
        ),
    ] = PRIVATE_NETWORKS
    only_passing: Annotated[
        bool,
        Meta(description="Whether instances that warn are left out. Critical ones always are."),
    ] = False
    service_ttl_s: Annotated[
        int,
        Meta(
            description="Seconds for which addresses of services may be cached. A client may go on asking an instance"
            " that has become critical for as long; 0 lets nobody cache.",
            ge=0,
            le=TTL_S_MAX,
        ),
    ] = 5
    service_ttls_s: Annotated[
        dict[str, _Seconds], Meta(description="The same for single services, by name; they override service_ttl_s.")
    ] = {}
    node_ttl_s: Annotated[
        int, Meta(description="Seconds for which addresses of nodes may be cached.", ge=0, le=TTL_S_MAX)
    ] = 30
    negative_ttl_s: Annotated[
        int,
        Meta(
            description="Seconds for which it may be cached that something is not there. A service that has just been"
            " registered stays unseen for as long by those who asked too early.",
            ge=0,
            le=TTL_S_MAX,
        ),
    ] = 1
    stale_ttl_s: Annotated[
        int, Meta(description="The longest of all these times while kv is away.", ge=0, le=TTL_S_MAX)
    ] = 1
    answers_without_edns_max: Annotated[
        int,
        Meta(
            description="Records in an answer over UDP to a client that does not speak EDNS: a few, chosen anew each"
            " time, instead of all that fit. 0: all that fit.",
            ge=0,
            le=64,
        ),
    ] = 3
    udp_bytes_max: Annotated[
        int,
        Meta(
            description="The longest answer over UDP, whatever the client would take. Above 1232, datagrams may be"
            " fragmented on their way, and fragments get lost and forged.",
            ge=512,
            le=65_507,
        ),
    ] = 1232
    truncate: Annotated[
        bool,
        Meta(
            description="Whether an answer that does not fit says so (TC), so that the client asks again over TCP."
            " Without it, clients see some of the instances of a large service, and think that these are all."
        ),
    ] = True
    connections_max: Annotated[int, Meta(description="TCP connections at once.", ge=1, le=100_000)] = 512
    connections_per_client_max: Annotated[
        int, Meta(description="TCP connections at once from one address.", ge=1, le=100_000)
    ] = 128
    idle_ms_max: Annotated[
        int,
        Meta(
            description="Milliseconds after which a TCP connection is closed on which no question came, and none of the"
            " answers was taken.",
            ge=100,
            le=600_000,
        ),
    ] = 10_000
    cached_answers_max: Annotated[
        int, Meta(description="Names and types whose answers are kept ready.", ge=1, le=1_000_000)
    ] = 10_000

    def __post_init__(self) -> None:
        for address in self.listen:
            host, _ = split_address(address)
            ip_address(host)
        for domain in self.domains:
            if len(parse_text(domain)) == 1:
                raise ValueError("the root is no domain to answer for")
        if "." in self.datacenter or len(parse_text(self.datacenter)) == 1:
            raise ValueError(f"datacenter {self.datacenter!r}: one label, without dots")
        for ip in self.addresses:
            ip_address(ip)
        self.allowed_networks()

    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`allow_from`, parsed. Raises ValueError."""
        return tuple(ip_network(network) for network in self.allow_from)

    def ttl_of_service_s(self, service: str) -> int:
        """How long a service's records may be cached when kv is there."""
        return self.service_ttls_s.get(service, self.service_ttl_s)
