"""What a name asks for."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.dns.name import join_name, parse_text
from services.registry.dns.naming import (
    AddressName,
    Apex,
    Between,
    Foreign,
    Naming,
    NodeName,
    Nothing,
    ReverseName,
    ServerName,
    ServiceName,
    Wanted,
)

NAMING = Naming((parse_text("consul"), parse_text("orrery"), parse_text("sub.consul")), "DC1")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("web.service.consul", ServiceName("web", "")),
        ("web.service.orrery", ServiceName("web", "")),
        ("web.service.sub.consul", ServiceName("web", "")),
        ("web.service.dc1.consul", ServiceName("web", "")),
        ("web.service.dc1.dc.consul", ServiceName("web", "")),
        ("blue.web.service.consul", ServiceName("web", "blue")),
        ("v1.2.web.service.consul", ServiceName("web", "v1.2")),
        ("_web._tcp.service.consul", ServiceName("web", "")),
        ("_web._udp.service.dc1.consul", ServiceName("web", "")),
        ("_web._blue.service.consul", ServiceName("web", "blue")),
        ("_web.service.consul", ServiceName("_web", "")),
        ("a._web.service.consul", ServiceName("_web", "a")),
        ("dc1.service.consul", ServiceName("dc1", "")),
        ("n1.node.consul", NodeName("n1")),
        ("host.example.node.dc1.consul", NodeName("host.example")),
        ("0a000001.addr.dc1.consul", AddressName(ip_address("10.0.0.1"))),
        ("20010db8000000000000000000000001.addr.consul", AddressName(ip_address("2001:db8::1"))),
        ("0a00000.addr.consul", Nothing()),
        ("0a00000g.addr.consul", Nothing()),
        ("x.0a000001.addr.consul", Nothing()),
        ("consul", Apex()),
        ("sub.consul", Apex()),
        ("ns.orrery", ServerName()),
        ("service.consul", Between()),
        ("service.dc1.consul", Between()),
        ("dc1.consul", Between()),
        ("dc.consul", Between()),
        ("dc1.dc.consul", Between()),
        ("node.consul", Between()),
        ("web.service.dc2.consul", Nothing()),
        ("web.consul", Nothing()),
        ("web.query.consul", Nothing()),
        ("consul.example", Foreign()),
        ("notconsul", Foreign()),
        ("", Foreign()),
        ("1.0.0.10.in-addr.arpa", ReverseName(ip_address("10.0.0.1"))),
        ("0.0.10.in-addr.arpa", Foreign()),
        ("256.0.0.10.in-addr.arpa", Foreign()),
        ("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", ReverseName(ip_address("2001:db8::1"))),
        ("x." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", Foreign()),
    ],
)
def test_names(text: str, wanted: Wanted) -> None:
    assert NAMING.read(parse_text(text))[0] == wanted


def test_the_domain_is_measured() -> None:
    assert NAMING.read(parse_text("web.service.sub.consul"))[1] == len(parse_text("sub.consul"))
    assert NAMING.read(parse_text("example.com"))[1] == 0


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"service", b"node", b"addr", b"consul",
       b"_", b"_tcp", b"dc1", b"dc", b"ns", b"in-addr", b"ip6", b"arpa", b"1"])), max_size=8))  # fmt: skip
@settings(deadline=None)
def test_any_name_means_something(labels: list[bytes]) -> None:
    NAMING.read(join_name(labels).lower())
    NAMING.read(join_name([*labels, b"consul"]).lower())
