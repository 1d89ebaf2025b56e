"""Answers put together from pieces are the messages that protobuf itself would have written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from services.registry.api import encoding
from services.registry.api.encoding import Encoder, Filter, varint
from services.registry.api.messages import endpoint_message, instance_message, read_checks, read_instance
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node, Weights
from services.registry.interface import Check, Endpoint, Staleness

FRESH, STALE = Staleness(False, 0), Staleness(True, 7000)


def endpoint(number: int, health: Health = Health.PASSING, tags: tuple[str, ...] = ("v1",)) -> Endpoint:
    definition = CheckDefinition(f"c{number}", "c", CheckKind.TTL, instance_id=f"i{number}", ttl_ms=1000)
    check = Check("n1", definition, CheckState(health, "said"), "web", number + 5)
    instance = Instance("n1", f"i{number}", "web", port=80, tags=tags, metadata={"k": "v"})
    return Endpoint(instance, Node("n1", "10.0.0.1"), (check,), health, number + 5)


@given(st.integers(0, 2**63 - 1))
def test_numbers(number: int) -> None:
    assert pb.Freshness.FromString(b"\x08" + varint(number)).index == number


def test_a_list_is_what_protobuf_makes_of_it() -> None:
    encoder = Encoder()
    endpoints = (endpoint(1), endpoint(2, Health.WARNING), endpoint(3, tags=("v1", "v2")))
    for asked, chosen in (
        (Filter.of("web", (), passing_only=False), endpoints),
        (Filter.of("web", (), passing_only=True), (endpoints[0], endpoints[2])),
        (Filter.of("web", ("v2", "v1", "v2"), passing_only=False), (endpoints[2],)),
        (Filter.of("web", ("v3",), passing_only=False), ()),
    ):
        for _ in range(2):
            answer = pb.ListInstancesResponse.FromString(encoder.listed(asked, endpoints, 9, STALE))
            assert answer == pb.ListInstancesResponse(
                endpoints=map(endpoint_message, chosen), freshness=pb.Freshness(index=9, stale=True, stale_ms=7000)
            )


def test_what_changed_is_encoded_anew_and_nothing_else() -> None:
    encoder = Encoder()
    first, second = endpoint(1), endpoint(2)
    kept = encoder.endpoint(first)
    assert encoder.endpoint(first) is kept
    assert encoder.endpoint(endpoint(1)) is not kept
    encoder.endpoint(second)
    encoder.forget("n1", "i2")
    encoder.clear()
    assert encoder.endpoint(second) == encoder.endpoint(endpoint(2))


def test_lists_that_are_kept_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder()
    endpoints = (endpoint(1),)
    size = len(encoder.listed(Filter.of("web", (), passing_only=False), endpoints, 1, FRESH))
    monkeypatch.setattr(encoding, "LISTS_BYTES_MAX", 3 * size)
    for number in range(50):
        tagged = Filter.of("web", (f"t{number % 2}", "v1"), passing_only=False)
        encoder.listed(tagged, (endpoint(number),), 1, FRESH)
        encoder.listed(Filter.of(f"s{number}", (), passing_only=False), endpoints, 1, FRESH)
    assert encoder._lists_bytes <= 3 * size
    assert encoder._lists_bytes == sum(len(body) for _, body in encoder._lists.values())


def test_a_large_snapshot_comes_in_parts() -> None:
    encoder = Encoder()
    endpoints = [endpoint(number) for number in range(6000)]
    parts = [pb.WatchResponse.FromString(part) for part in encoder.snapshot(endpoints, 9, FRESH)]
    assert len(parts) > 1
    assert [part.is_snapshot for part in parts] == [True] + [False] * (len(parts) - 1)
    assert [part.freshness.index for part in parts] == [0] * (len(parts) - 1) + [9]
    assert [one for part in parts for one in part.changed] == list(map(endpoint_message, endpoints))
    (empty,) = encoder.snapshot([], 9, FRESH)
    assert pb.WatchResponse.FromString(empty) == pb.WatchResponse(is_snapshot=True, freshness=pb.Freshness(index=9))


def test_a_change_tells_what_is_new_and_what_is_gone() -> None:
    (part,) = Encoder().delta([endpoint(1)], [("n1", "i2")], 9, FRESH)
    assert pb.WatchResponse.FromString(part) == pb.WatchResponse(
        changed=[endpoint_message(endpoint(1))],
        removed=[pb.WatchResponse.Key(node="n1", id="i2")],
        freshness=pb.Freshness(index=9),
    )


def test_a_registration_comes_back_as_it_was() -> None:
    message = pb.Instance(
        service="web",
        id="a",
        node="n1",
        address="10.0.0.1",
        port=80,
        tags=["v1"],
        metadata={"k": "v"},
        weights=pb.Weights(passing=3, warning=2),
        checks=[
            pb.CheckDefinition(id="a", name="a", ttl=pb.TtlCheck(ttl_ms=1)),
            pb.CheckDefinition(
                id="b",
                name="b",
                http=pb.HttpCheck(
                    url="http://x/",
                    method="PUT",
                    headers=[pb.Header(name="a", value="b")],
                    body="c",
                    interval_ms=2,
                    timeout_ms=1,
                    skip_tls_verification=True,
                ),
            ),
            pb.CheckDefinition(id="c", name="c", tcp=pb.TcpCheck(address="x:1", interval_ms=2, timeout_ms=1)),
            pb.CheckDefinition(
                id="d", name="d", grpc=pb.GrpcCheck(target="x:1/y", interval_ms=2, timeout_ms=1, use_tls=True)
            ),
        ],
    )
    for check in message.checks:
        check.successes_before_passing = check.failures_before_critical = 2
        check.deregister_critical_after_ms = 9000
        check.initial = pb.WARNING
        check.notes = "n"
    assert instance_message(read_instance(message), read_checks(message.checks)) == message
    assert read_instance(pb.Instance(service="web")).weights == Weights(1, 1)
