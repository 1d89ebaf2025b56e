"""What registries say, for tests."""

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb


def told(
    number: int,
    health: "pb.Health.ValueType" = pb.PASSING,
    *,
    host: str | None = None,
    port: int = 80,
    weights: pb.Weights | None = None,
    metadata: dict[str, str] | None = None,
) -> pb.Endpoint:
    instance = pb.Instance(service="x", id=f"i{number}", node="n", port=port, weights=weights, metadata=metadata)
    return pb.Endpoint(instance=instance, address=f"h{number}" if host is None else host, health=health)


def key(number: int) -> pb.WatchResponse.Key:
    return pb.WatchResponse.Key(node="n", id=f"i{number}")


def response(
    *changed: pb.Endpoint, removed: tuple[int, ...] = (), index: int = 0, snapshot: bool = False, stale: bool = False
) -> pb.WatchResponse:
    return pb.WatchResponse(
        is_snapshot=snapshot,
        changed=changed,
        removed=[key(number) for number in removed],
        freshness=pb.Freshness(index=index, stale=stale),
    )
