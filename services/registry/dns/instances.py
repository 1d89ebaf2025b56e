"""What is answered for instances of a service."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from services.registry.dns import records
from services.registry.dns.plan import Choice, Choices
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
    return weight if 0 <= weight <= WEIGHT_MAX else min(max(weight, 0), WEIGHT_MAX)


def by_address(endpoints: Iterable[Endpoint], size: int, ttl_s: int) -> Choices:
    """An A (size 4) or AAAA (size 16) record for each address; instances that share one put their weights together."""
    weights: dict[bytes, int] = {}
    for endpoint in endpoints:
        packed = parse_ip(endpoint.instance.address or endpoint.node.address)
        if packed is not None and len(packed) == size:
            weights[packed] = weights.get(packed, 0) + weight_of(endpoint)
    return Choices(
        weights,
        lambda packed, weight: Choice(QUESTION_POINTER + records.address(packed, ttl_s), min(weight, WEIGHT_MAX)),
    )


def hosts(endpoints: Iterable[Endpoint]) -> dict[bytes, int]:
    """The names among the addresses, with their weights."""
    weights: dict[bytes, int] = {}
    for endpoint in endpoints:
        address = endpoint.instance.address or endpoint.node.address
        if parse_ip(address) is None and (host := parse_host(address)) is not None:
            weights[host] = weights.get(host, 0) + weight_of(endpoint)
    return weights


Place: TypeAlias = tuple[str, str, str, int, int]
"""An instance's own address, or else its node's name and address; port and weight: what an SRV record is made of."""


def by_port(endpoints: Iterable[Endpoint], suffixes: Suffixes, ttl_s: int) -> Choices:
    """An SRV record for each address and port, with the address beside it where it is known."""
    places: dict[Place, int] = {}
    for endpoint in endpoints:
        instance, node = endpoint.instance, endpoint.node
        weight = weight_of(endpoint)
        if instance.address:
            if parse_ip(instance.address) is None and parse_host(instance.address) is None:
                continue
            place = (instance.address, "", "", instance.port, weight)
        else:
            if parse_ip(node.address) is None and (
                parse_host(node.address) is None or node_name(node.name, suffixes.node) is None
            ):
                continue
            place = ("", node.name, node.address, instance.port, weight)
        # Two instances that look the same from here are one record: a set has nothing twice (RFC 2181, section 5).
        places[place] = weight

    def make(place: Place, weight: int) -> Choice:
        target, packed = _target(place, suffixes)
        return Choice(
            QUESTION_POINTER + records.srv(PRIORITY, weight, place[3] & 0xFFFF, target, ttl_s),
            weight,
            len(QUESTION_POINTER) + SRV_TARGET_AT,
            additional=() if packed is None else (records.address(packed, ttl_s),),
        )

    return Choices(places, make)


def _target(place: Place, suffixes: Suffixes) -> tuple[bytes, bytes | None]:
    """The name of where an instance is, and its address where that is no name itself.

    As Consul does: an instance with an address of its own is named by its digits, or by the name that it is; one
    without is where its node is.
    """
    own, node, node_address, _, _ = place
    packed = parse_ip(own or node_address)
    name = parse_host(own) if own and packed is None else node_name(node, suffixes.node) if not own else None
    if name is not None:
        return name, packed
    assert packed is not None, place
    return address_name(packed, suffixes.address), packed


def added_up(choices: Sequence[Choice]) -> Sequence[int]:
    """The sums of the first weight, the first two, and so on; empty when all weights are the same."""
    weights = choices.weights if isinstance(choices, Choices) else [choice.weight for choice in choices]
    return list(accumulate(weights)) if len(set(weights)) > 1 else ()
