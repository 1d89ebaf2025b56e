"""Records of instances, without the questions around them."""

from services.registry.dns.instances import WEIGHT_MAX, Suffixes, added_up, by_address, by_port, hosts, weight_of
from services.registry.dns.name import parse_text
from services.registry.domain import Health, Instance, Node, Weights
from services.registry.interface import Endpoint

SUFFIXES = Suffixes(parse_text("node.dc1.consul"), parse_text("addr.dc1.consul"))


def endpoint(
    address: str, *, health: Health = Health.PASSING, weights: Weights | None = None, port: int = 80
) -> Endpoint:
    instance = Instance("n1", address, "web", address, port, weights=weights or Weights())
    return Endpoint(instance, Node("n1", "10.0.0.1"), (), health, 1)


def test_weights_go_by_health_and_into_the_field() -> None:
    weights = Weights(passing=9, warning=0)
    assert weight_of(endpoint("", weights=weights)) == 9
    assert weight_of(endpoint("", weights=weights, health=Health.WARNING)) == 0
    assert weight_of(endpoint("", weights=Weights(passing=100_000))) == WEIGHT_MAX
    assert weight_of(endpoint("", weights=Weights(passing=-4))) == 0


def test_shared_addresses_add_up() -> None:
    choices = by_address([endpoint("10.0.0.9"), endpoint("10.0.0.9", port=81), endpoint("10.0.0.8")], 4, 5)
    assert [choice.weight for choice in choices] == [2, 1]
    assert added_up(choices) == [2, 3]
    assert not added_up(choices[:1])
    assert not added_up([])
    assert len(by_address([endpoint("10.0.0.9")], 16, 5)) == 0


def test_names_are_kept_apart_from_addresses() -> None:
    endpoints = [endpoint("db.example.com"), endpoint("db.example.com"), endpoint(""), endpoint("no..name")]
    assert hosts(endpoints) == {parse_text("db.example.com"): 2}
    assert len(by_port(endpoints, SUFFIXES, 5)) == 2
