"""The section `[discovery]` that a service's configuration can have, and sources made of it.

class LockConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    discovery: DiscoverySection = DiscoverySection()

source = kv_source(config.discovery, config.lock.kv, net=net, random=random, clock=clock)
kv = KvClient(source, net=net, random=random, clock=clock)
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from cluster.discovery.composite import CompositeSource
from cluster.discovery.endpoint import check_address
from cluster.discovery.registry import RegistrySource
from cluster.discovery.source import Source
from cluster.discovery.static import StaticSource
from runtime import Clock, Net, Randomness

KV_SERVICE = "kv"
"""The name under which the members of kv register themselves."""


class DiscoverySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[discovery]."""

    registry: Annotated[
        tuple[str, ...],
        Meta(
            description="host:port of the registry's processes, by which this process finds the others. Empty: only"
            " the addresses in this configuration are used, and a process that moves is not found. The registry's own"
            " processes leave it empty for kv, which they stand on.",
            max_length=64,
        ),
    ] = ()

    def __post_init__(self) -> None:
        for address in self.registry:
            check_address(address)


def service_source(
    section: DiscoverySection,
    service: str,
    addresses: Sequence[str] = (),
    *,
    net: Net,
    random: Randomness,
    clock: Clock,
    tags: Sequence[str] = (),
    keeps_addresses: bool = False,
    registries: Callable[[], Sequence[str]] | None = None,
) -> Source:
    """The endpoints of a service: `addresses` until the registry tells others, or for good when there is no registry.

    `keeps_addresses`: they stay beside what the registry tells. `registries` tells the registry's processes that are
    known now, besides those of the section: the membership knows them. Raises ValueError for an address that is none,
    and when there is neither an address nor a registry.
    """
    if not section.registry and registries is None:
        if not addresses:
            raise ValueError(f"{service} has no addresses, and there is no registry to ask")
        return StaticSource(addresses)

    def known() -> Sequence[str]:
        return (*section.registry, *(registries() if registries is not None else ()))

    registry = RegistrySource(known, service, net=net, random=random, clock=clock, tags=tags)
    if not addresses:
        return registry
    return CompositeSource(StaticSource(addresses), registry, keeps_fallback=keeps_addresses)


def kv_source(
    section: DiscoverySection,
    addresses: Sequence[str],
    *,
    net: Net,
    random: Randomness,
    clock: Clock,
    registries: Callable[[], Sequence[str]] | None = None,
) -> Source:
    """The members of kv: the configured ones always, and those that the registry tells besides.

    The registry stands on kv, so what it told last may be what it can tell no more: a client that knew the one member
    that had registered would be lost with it, with the addresses of the others in its configuration.
    Raises ValueError as `service_source` does.
    """
    return service_source(
        section,
        KV_SERVICE,
        addresses,
        net=net,
        random=random,
        clock=clock,
        keeps_addresses=True,
        registries=registries,
    )
