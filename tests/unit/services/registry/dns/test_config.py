"""The section of the configuration."""

import pytest

from runtime.config import ConfigError, describe, load
from services.registry.dns.config import DnsSection


def test_defaults_hold_and_are_described() -> None:
    text = describe(DnsSection)
    assert "answers_without_edns_max" in text
    assert load(DnsSection, None, {}) == DnsSection()


@pytest.mark.parametrize(
    "toml",
    [
        'listen = ["localhost:8600"]',
        'listen = ["127.0.0.1"]',
        'domains = ["."]',
        'domains = ["a..b"]',
        "domains = []",
        'datacenter = "a.b"',
        'addresses = ["nowhere"]',
        'allow_from = ["10.0.0.1/8"]',
        "service_ttl_s = -1",
        "udp_bytes_max = 100",
        "idle_ms_max = 0",
        "unknown = 1",
    ],
)
def test_what_is_wrong_is_refused_by_name(toml: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(DnsSection, toml, {})
    assert toml.partition(" ")[0] in str(caught.value) or "configuration" in str(caught.value)


def test_a_service_of_its_own_ttl() -> None:
    config = load(DnsSection, "service_ttl_s = 9\n[service_ttls_s]\nweb = 2", {})
    assert config.ttl_of_service_s("web") == 2
    assert config.ttl_of_service_s("api") == 9
