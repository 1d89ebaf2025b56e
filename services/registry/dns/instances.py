"""What is answered for instances of a service."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from services.registry.dns import records
from services.registry.dns.naming import IP
from services.registry.dns.plan import Choice
from services.registry.dns.records import QUESTION_POINTER, SRV_TARGET_AT
from services.registry.dns.targets import address_name, node_name, parse_host, parse_ip
from services.registry.domain import Health
from services.registry.interface import Endpoint

PRIORITY = 1
"""Of all SRV records: Consul's."""
WEIGHT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Suffixes:
    """What stands behind a node's name and behind an address's digits, on the wire."""

    node: bytes
    address: bytes


def weight_of(endpoint: Endpoint) -> int:
    """Its share of the load, by its health."""
    weights = endpoint.instance.weights
    weight = weights.passing if endpoint.health is Health.PASSING else weights.warning
    return min(max(weight, 0), WEIGHT_MAX)


def by_address(endpoints: Iterable[Endpoint], version: int, ttl_s: int) -> list[Choice]:
    """An A or AAAA record for each address of that IP version; instances that share one put their weights together."""
    weights: dict[IP, int] = {}
    for endpoint in endpoints:
        ip = parse_ip(endpoint.address)
        if ip is not None and ip.version == version:
            weights[ip] = weights.get(ip, 0) + weight_of(endpoint)
    return [
        Choice(QUESTION_POINTER + records.address(ip, ttl_s), min(weight, WEIGHT_MAX)) for ip, weight in weights.items()
    ]


def hosts(endpoints: Iterable[Endpoint]) -> dict[bytes, int]:
    """The names among the addresses, with their weights."""
    weights: dict[bytes, int] = {}
    for endpoint in endpoints:
        if parse_ip(endpoint.address) is None and (host := parse_host(endpoint.address)) is not None:
            weights[host] = weights.get(host, 0) + weight_of(endpoint)
    return weights


def by_port(endpoints: Iterable[Endpoint], suffixes: Suffixes, ttl_s: int) -> list[Choice]:
    """An SRV record for each address and port, with the address beside it where it is known."""
    choices: dict[bytes, Choice] = {}
    for endpoint in endpoints:
        place = _place(endpoint, suffixes)
        if place is None:
            continue
        target, ip = place
        weight = weight_of(endpoint)
        record = QUESTION_POINTER + records.srv(PRIORITY, weight, endpoint.instance.port & 0xFFFF, target, ttl_s)
        # Two instances that look the same from here are one record: a set has nothing twice (RFC 2181, section 5).
        choices[record] = Choice(
            record,
            weight,
            len(QUESTION_POINTER) + SRV_TARGET_AT,
            additional=() if ip is None else (records.address(ip, ttl_s),),
        )
    return list(choices.values())


def _place(endpoint: Endpoint, suffixes: Suffixes) -> tuple[bytes, IP | None] | None:
    """The name of where an instance is, and its address where that is no name itself.

    As Consul does: an instance with an address of its own is named by its digits, or by the name that it is; one
    without is where its node is.
    """
    own, node = endpoint.instance.address, endpoint.node
    if own:
        ip = parse_ip(own)
        if ip is not None:
            return address_name(ip, suffixes.address), ip
        host = parse_host(own)
        return None if host is None else (host, None)
    ip = parse_ip(node.address)
    name = node_name(node.name, suffixes.node)
    if name is not None and (ip is not None or parse_host(node.address) is not None):
        return name, ip
    return None if ip is None else (address_name(ip, suffixes.address), ip)


def added_up(choices: Sequence[Choice]) -> Sequence[int]:
    """The sums of the first weight, the first two, and so on; empty when all weights are the same."""
    weights = [choice.weight for choice in choices]
    return list(accumulate(weights)) if len(set(weights)) > 1 else ()
