import random

import msgspec
import pytest

from cluster.discovery import (
    CompositeSource,
    DiscoverySection,
    RegistrySource,
    StaticSource,
    kv_source,
    service_source,
)
from runtime.config import ConfigError, load
from runtime.real import StreamNet, SystemClock
from runtime.sim import SeededRandomness

NET, RANDOM, CLOCK = StreamNet(), SeededRandomness(random.Random(1)), SystemClock()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    discovery: DiscoverySection = DiscoverySection()


def test_the_section() -> None:
    assert load(Config, None, {}).discovery.registry == ()
    found = load(Config, '[discovery]\nregistry = ["a:1"]', {"ORRERY_DISCOVERY__REGISTRY": "b:1,c:2"})
    assert found.discovery.registry == ("b:1", "c:2")
    with pytest.raises(ConfigError, match="not host:port"):
        load(Config, '[discovery]\nregistry = ["a"]', {})


def test_sources() -> None:
    alone, with_registry = DiscoverySection(), DiscoverySection(registry=("r:1", "r:2"))
    plain = kv_source(alone, ["a:1"], net=NET, random=RANDOM, clock=CLOCK)
    assert isinstance(plain, StaticSource)
    followed = kv_source(with_registry, ["a:1", "b:1"], net=NET, random=RANDOM, clock=CLOCK)
    assert isinstance(followed, CompositeSource)
    assert followed.current.addresses == ("a:1", "b:1")
    lock = service_source(with_registry, "lock", net=NET, random=RANDOM, clock=CLOCK)
    assert isinstance(lock, RegistrySource)
    assert lock.service == "lock"
    found = kv_source(alone, ["a:1"], net=NET, random=RANDOM, clock=CLOCK, registries=lambda: ["r:9"])
    assert isinstance(found, CompositeSource)
    with pytest.raises(ValueError, match="lock has no addresses"):
        service_source(alone, "lock", net=NET, random=RANDOM, clock=CLOCK)
