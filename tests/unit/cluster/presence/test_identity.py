"""Who a process is, in the words of the membership and of the registry."""

import pytest

from cluster.membership.metadata import encode
from cluster.presence import Identity
from cluster.telemetry.report import VERSION


def test_others_take_its_host_from_where_it_is_reached() -> None:
    who = Identity.of("kv", "kv-1", "[2001:db8::1]:2379", "etcd", admin="0.0.0.0:2381", dns="[::]:8600")
    assert who.endpoints == {
        "etcd": "[2001:db8::1]:2379",
        "admin": "[2001:db8::1]:2381",
        "dns": "[2001:db8::1]:8600",
    }
    member = who.as_member()
    assert (member.service, member.endpoints, member.labels) == (
        "kv",
        who.endpoints,
        {"node": "kv-1", "version": VERSION},
    )
    assert len(encode(member)) < 300, "there must be room for what a service adds"


def test_the_registry_is_told_the_services_own_port_and_all_others() -> None:
    instance = Identity.of("lock", "lock-1", "lock-1.example:2379", "lock", admin="0.0.0.0:2381").as_instance(("a",))
    assert (instance.service, instance.id, instance.node) == ("lock", "lock-1", "lock-1")
    assert (instance.address, instance.port, instance.tags) == ("lock-1.example", 2379, ("a",))
    assert instance.metadata == {
        "lock": "lock-1.example:2379",
        "admin": "lock-1.example:2381",
        "version": VERSION,
    }
    assert instance.check_id == "service:lock-1"


@pytest.mark.parametrize("address", ["nowhere", "::1:2379", "host:x", "host:70000", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|brackets|number"):
        Identity.of("kv", "kv-1", address, "etcd")
