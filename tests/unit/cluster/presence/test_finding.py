"""Where the registry is, by what members say: nothing that they say may harm who listens."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.http.address import split_address
from cluster.membership.core import Address, Status
from cluster.membership.driver import MemberView
from cluster.membership.metadata import Metadata
from cluster.presence.finding import HOST_CHARACTERS_MAX, is_address, registries


def member(service: str, **endpoints: str) -> MemberView:
    return MemberView("x", Status.ALIVE, Address("127.0.0.1", 1), Metadata(service, endpoints), 1, 1)


def test_only_processes_of_the_registry_are_taken_at_their_word() -> None:
    members = [
        member("registry", registry="127.0.0.1:1", admin="127.0.0.1:2"),
        member("kv", registry="127.0.0.1:3"),
        member("registry"),
        member("registry", registry="nonsense"),
        member("registry", registry="registry-2.example:4"),
    ]
    assert registries(members) == ["127.0.0.1:1", "registry-2.example:4"]


@pytest.mark.parametrize("text", ["10.0.0.1:8500", "[::1]:8500", "registry-1:1", "a_b.c-d.example:65535", "x:1"])
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "x", "x:", ":1", "x:0", "x:65536", "x:-1", "::1:1", "[::zz]:1", "a b:1", "..:1", "a..b:1", "-a:1"),
        *("a-:1", "é:1", "\x00:1", "a\x00:1", "\udc80:1", "x\n:1", "*:1", "%:1", "[::1%\x00]:1"),
        *("a" * 64 + ":1", ".".join(["a" * 63] * 4) + ":1"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)


@given(st.one_of(st.text(max_size=300), st.text("a1-._:[]0%*", max_size=80).map(lambda host: f"{host}:1")))
def test_what_is_taken_can_be_resolved(text: str) -> None:
    if is_address(text):
        host, port = split_address(text)
        assert 0 < port < 65_536
        assert len(host) <= HOST_CHARACTERS_MAX
        try:
            ip_address(host)
        except ValueError:
            assert host.encode("idna") == host.encode("ascii")
