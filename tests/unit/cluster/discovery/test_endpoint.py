import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.discovery.endpoint import ENDPOINTS_MAX, UNKNOWN, Endpoint, EndpointHealth, EndpointSet, check_address
from cluster.rpc.grpc.address import parse_target

ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        st.sampled_from(["a:1", "b:1", "b:2", "c:3"]),
        st.integers(0, 3),
        st.sampled_from(["", "x"]),
        st.sampled_from(EndpointHealth),
        st.dictionaries(st.sampled_from("kl"), st.sampled_from("vw"), max_size=1),
    ),
    max_size=12,
)


@given(ENDPOINTS, st.randoms())
def test_each_address_once_in_order_and_the_best_of_each(endpoints: list[Endpoint], random: object) -> None:
    made = EndpointSet.of(endpoints)
    assert list(made.addresses) == sorted({endpoint.address for endpoint in endpoints})
    for endpoint in made.endpoints:
        same = [other for other in endpoints if other.address == endpoint.address]
        assert endpoint.health == min(other.health for other in same)
        assert endpoint.weight == max(other.weight for other in same if other.health == endpoint.health)
    assert EndpointSet.of(reversed(endpoints)) == made
    assert EndpointSet.of(made.endpoints) == made


def test_an_empty_set_that_is_known_is_not_the_unknown() -> None:
    assert EndpointSet.of([]).is_known
    assert EndpointSet.of([]) != UNKNOWN


def test_a_set_has_a_limit() -> None:
    assert len(EndpointSet.of(Endpoint(f"{number:05}:1") for number in range(ENDPOINTS_MAX + 5))) == ENDPOINTS_MAX


@pytest.mark.parametrize("address", ["a:1", "10.0.0.1:2379", "[::1]:80", "kv-1.orrery.svc:65535"])
def test_addresses(address: str) -> None:
    assert check_address(address) == address
    assert len(parse_target(address)) == 1


@pytest.mark.parametrize(
    "address",
    ["", "a", "a:", ":1", "a:0", "a:65536", "a:01", "a:1,b:2", "dns:a:443", "::1:443", "ipv4:1.2.3.4:5", "a b:1",
     "a/b:1", "a\n:1", "é:1", "[::1]", "x" * 600 + ":1", "a:1 ", "user@a:1"],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError):
        check_address(address)


@given(st.text(max_size=40))
def test_any_text_is_an_address_that_can_be_connected_to_or_refused(address: str) -> None:
    try:
        check_address(address)
    except ValueError:
        return
    assert len(parse_target(address)) == 1
