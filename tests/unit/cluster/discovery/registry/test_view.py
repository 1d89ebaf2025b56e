"""Snapshots and changes put together, against a model; and what no well-behaved registry says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.discovery.endpoint import Endpoint, EndpointHealth, EndpointSet
from cluster.discovery.registry import View, ViewBroken
from cluster.discovery.registry import view as view_module
from cluster.discovery.registry.view import endpoint_of
from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from tests.unit.cluster.discovery.registry.responses import response, told

CHANGE = st.tuples(st.integers(0, 5), st.sampled_from([pb.PASSING, pb.WARNING, pb.CRITICAL, None]))


@given(st.lists(st.tuples(st.lists(CHANGE, max_size=4), st.booleans(), st.booleans()), max_size=15))
def test_against_a_model(
    history: "list[tuple[list[tuple[int, pb.Health.ValueType | None]], bool, bool]]",
) -> None:
    view = View()
    model: dict[int, pb.Health.ValueType] = {}
    assert view.take(response(snapshot=True, index=1)) == EndpointSet.of([])
    for index, (changes, is_snapshot, is_whole) in enumerate(history, start=2):
        changes = list(dict(changes).items())
        if is_snapshot:
            model.clear()
        for number, health in changes:
            if health is None:
                model.pop(number, None)
            else:
                model[number] = health
        whole = view.take(
            response(
                *(told(number, health) for number, health in changes if health is not None),
                removed=tuple(number for number, health in changes if health is None),
                index=index if is_whole else 0,
                snapshot=is_snapshot,
            )
        )
        if not is_whole:
            assert whole is None
        else:
            assert whole is not None
            assert whole.addresses == tuple(sorted(f"h{number}:80" for number in model))
            assert view.index == index


def test_a_snapshot_in_pieces_is_whole_with_its_index() -> None:
    view = View()
    assert view.take(response(told(1), snapshot=True)) is None
    assert view.take(response(told(2))) is None
    whole = view.take(response(told(3), index=9, stale=True))
    assert whole is not None
    assert len(whole) == 3
    assert (view.index, view.is_stale) == (9, True)


def test_the_same_again_changes_nothing() -> None:
    view = View()
    first = view.take(response(told(1), told(2), snapshot=True, index=5))
    assert view.take(response(told(1), index=5)) == first
    assert view.take(response(removed=(7,), index=6)) == first


def test_changes_before_a_snapshot() -> None:
    with pytest.raises(ViewBroken):
        View().take(response(told(1), index=3))


def test_instances_of_one_address_are_one_endpoint_until_the_last_goes() -> None:
    view = View()
    view.take(response(told(1, pb.CRITICAL, host="h"), told(2, host="h"), snapshot=True, index=1))
    whole = view.take(response(index=2))
    assert whole is not None
    assert [endpoint.health for endpoint in whole.endpoints] == [EndpointHealth.HEALTHY]
    whole = view.take(response(removed=(2,), index=3))
    assert whole is not None
    assert [endpoint.health for endpoint in whole.endpoints] == [EndpointHealth.UNHEALTHY]


def test_what_an_endpoint_is() -> None:
    weights = pb.Weights(passing=5, warning=2)
    assert endpoint_of(told(1, weights=weights, metadata={"zone": "b", "k": "v"})) == Endpoint(
        "h1:80", 5, "b", EndpointHealth.HEALTHY, {"zone": "b", "k": "v"}
    )
    assert endpoint_of(told(1, pb.WARNING, weights=weights)) == Endpoint("h1:80", 2, "", EndpointHealth.HEALTHY)
    assert endpoint_of(told(1, pb.CRITICAL)) == Endpoint("h1:80", 1, "", EndpointHealth.UNHEALTHY)
    assert endpoint_of(told(1, pb.HEALTH_UNSPECIFIED)) == Endpoint("h1:80", 1, "", EndpointHealth.UNKNOWN)
    assert endpoint_of(told(1, host="::1")) == Endpoint("[::1]:80", 1, "", EndpointHealth.HEALTHY)
    heavy = endpoint_of(told(1, weights=pb.Weights(passing=2**32 - 1)))
    assert heavy is not None
    assert heavy.weight == 65_535


@given(st.text(max_size=20), st.integers(0, 2**32 - 1))
def test_any_address_is_usable_or_left_out(host: str, port: int) -> None:
    view = View()
    whole = view.take(response(told(1, host=host, port=port), told(2), snapshot=True, index=1))
    assert whole is not None
    assert len(whole) + view.unusable in (1, 2)
    assert "h2:80" in whole.addresses


def test_too_many_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "INSTANCES_MAX", 3)
    view = View()
    whole = view.take(response(*(told(number) for number in range(5)), snapshot=True, index=1))
    assert whole is not None
    assert len(whole) == 3
    assert view.left_out == 2
    # One that is there may change, and one that goes makes room.
    view.take(response(told(0, pb.CRITICAL), removed=(1,), index=2))
    whole = view.take(response(told(4), index=3))
    assert whole is not None
    assert whole.addresses == ("h0:80", "h2:80", "h4:80")


@given(st.binary(max_size=200))
def test_any_bytes_that_parse_do_no_harm(data: bytes) -> None:
    try:
        parsed = pb.WatchResponse.FromString(data)
    except Exception:  # noqa: BLE001  # protobuf's own error; the engine fails the call with it
        return
    try:
        View().take(parsed)
    except ViewBroken:
        return
