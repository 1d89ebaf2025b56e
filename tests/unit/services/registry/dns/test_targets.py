"""Addresses and names, parsed."""

from ipaddress import ip_address

import pytest

from services.registry.dns.name import parse_text
from services.registry.dns.targets import address_name, node_name, parse_host, parse_ip

SUFFIX = parse_text("node.dc1.consul")


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.256", "10.0.0.1:80", "fe80::1%eth0", "10.0.0.1/8"])
def test_no_addresses(text: str) -> None:
    assert parse_ip(text) is None


def test_addresses_and_hosts() -> None:
    assert parse_ip("2001:db8::1") == ip_address("2001:db8::1").packed
    assert parse_host("db.example.com.") == parse_text("db.example.com")
    for text in ("", ".", "a..b", "x" * 64):
        assert parse_host(text) is None


def test_names_on_the_wire() -> None:
    assert node_name("Host.a", SUFFIX) == parse_text("Host.a.node.dc1.consul")
    for node in ("", "a..b", "x" * 64, ".".join(["x" * 60] * 4)):
        assert node_name(node, SUFFIX) is None
    assert address_name(ip_address("10.0.0.1").packed, SUFFIX) == parse_text("0a000001.node.dc1.consul")
