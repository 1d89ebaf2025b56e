"""The registry by gRPC: real processes over a kv node."""

import asyncio

import grpc
import pytest

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import LeaseRevokeRequest, PutRequest, RangeRequest
from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from tests.unit.services.registry.running import Service, next_of, until, web

BEATS = b"/orrery/registry/v1/beats/"


async def test_what_is_registered_at_one_process_is_found_at_both(two: Service) -> None:
    made = await two.stub(0).Register(pb.RegisterRequest(instance=web(tags=("v1",))))
    assert made.instance.id == "web"
    assert made.instance.node == "orrery"
    assert made.instance.checks[0].id == "service:web"

    async def list_at_other() -> pb.ListInstancesResponse:
        return await two.stub(1).ListInstances(
            pb.ListInstancesRequest(service="web", block=pb.Block(index=made.index - 1, wait_ms_max=5000))
        )

    for answer in (
        await two.stub(0).ListInstances(pb.ListInstancesRequest(service="web")),
        await list_at_other(),
    ):
        assert [endpoint.instance.id for endpoint in answer.endpoints] == ["web"]
        assert answer.endpoints[0].health == pb.CRITICAL
        assert answer.endpoints[0].address == "10.0.0.1"
        assert answer.freshness.index == made.index
        assert not answer.freshness.stale
    services = await two.stub(1).ListServices(pb.ListServicesRequest())
    assert [(service.name, list(service.tags), service.instances) for service in services.services] == [
        ("web", ["v1"], 1)
    ]
    nodes = await two.stub(1).ListNodes(pb.ListNodesRequest())
    assert [node.name for node in nodes.nodes] == ["orrery"]
    status = await two.stub(1).Status(pb.StatusRequest())
    assert (status.instances, status.checks, status.nodes, status.services) == (1, 1, 1, 1)


async def test_the_same_registration_again_changes_nothing(two: Service) -> None:
    first = await two.stub(0).Register(pb.RegisterRequest(instance=web()))
    again = await two.stub(1).Register(pb.RegisterRequest(instance=web()))
    assert again == first
    changed = await two.stub(1).Register(pb.RegisterRequest(instance=web(port=81)))
    assert changed.index > first.index


async def test_a_beat_at_any_process_passes_and_goes_on(two: Service) -> None:
    made = await two.stub(0).Register(pb.RegisterRequest(instance=web()))
    # At once, at the other process, whose copy may be behind.
    beaten = await two.stub(1).Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:web")]))
    assert [result.code for result in beaten.results] == [0]
    answer = await two.stub(0).ListInstances(
        pb.ListInstancesRequest(service="web", block=pb.Block(index=made.index, wait_ms_max=5000))
    )
    assert answer.endpoints[0].health == pb.PASSING
    held = await two.kv.kv.Range(RangeRequest(key=BEATS, range_end=BEATS + b"\xff"))
    assert len(held.kvs) == 1
    assert held.kvs[0].lease
    for index in (0, 1, 0):
        beaten = await two.stub(index).Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:web")]))
        assert [result.code for result in beaten.results] == [0]
    after = await two.kv.kv.Range(RangeRequest(key=BEATS, range_end=BEATS + b"\xff"))
    assert after.kvs == held.kvs


async def test_a_beat_after_its_time_began_anew(one: Service) -> None:
    stub = one.stub()
    await stub.Register(pb.RegisterRequest(instance=web()))
    beat = pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:web")])
    await stub.Heartbeat(beat)
    held = await one.kv.kv.Range(RangeRequest(key=BEATS, range_end=BEATS + b"\xff"))
    await one.kv.lease.LeaseRevoke(LeaseRevokeRequest(ID=held.kvs[0].lease))
    assert [result.code for result in (await stub.Heartbeat(beat)).results] == [0]
    after = await one.kv.kv.Range(RangeRequest(key=BEATS, range_end=BEATS + b"\xff"))
    assert len(after.kvs) == 1
    assert after.kvs[0].lease != held.kvs[0].lease


async def test_each_beat_is_answered_by_itself(one: Service) -> None:
    instance = web()
    instance.checks.add(tcp=pb.TcpCheck(address="10.0.0.1:80", interval_ms=1000))
    await one.stub().Register(pb.RegisterRequest(instance=instance))
    answer = await one.stub().Heartbeat(
        pb.HeartbeatRequest(
            beats=[
                pb.Beat(check_id="service:web", health=pb.WARNING, output="slow"),
                pb.Beat(check_id="nothing"),
                pb.Beat(check_id="service:web:2"),
                pb.Beat(check_id=""),
                pb.Beat(check_id="service:web", health=9),  # type: ignore[arg-type]
            ]
        )
    )
    assert [result.code for result in answer.results] == [0, 5, 9, 3, 3]
    listed = await one.stub().ListInstances(pb.ListInstancesRequest(service="web"))
    said = {check.id: (check.health, check.output) for check in listed.endpoints[0].checks}
    assert said["service:web"] == (pb.WARNING, "slow")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await one.stub().Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="x")] * 4097))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_4096_beats_in_one_request(one: Service) -> None:
    stub = one.stub()
    await asyncio.gather(*(stub.Register(pb.RegisterRequest(instance=web(f"w{n}"))) for n in range(64)))
    beats = [pb.Beat(check_id=f"service:w{n % 64}") for n in range(64)]
    first = await stub.Heartbeat(pb.HeartbeatRequest(beats=beats))
    assert {result.code for result in first.results} == {0}
    answer = await stub.Heartbeat(pb.HeartbeatRequest(beats=beats * 64))
    assert len(answer.results) == 4096
    assert {result.code for result in answer.results} == {0}


async def test_deregistering_takes_all_away(one: Service) -> None:
    stub = one.stub()
    await stub.Register(pb.RegisterRequest(instance=web()))
    await stub.Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:web")]))
    before = await stub.ListInstances(pb.ListInstancesRequest(service="web"))
    gone = await stub.Deregister(pb.DeregisterRequest(id="web"))
    after = await stub.ListInstances(pb.ListInstancesRequest(service="web"))
    assert not after.endpoints
    assert after.freshness.index == gone.index > before.freshness.index
    left = await one.kv.kv.Range(RangeRequest(key=b"/orrery/registry/v1/", range_end=b"/orrery/registry/v2"))
    kinds = sorted(pair.key.split(b"/")[4] for pair in left.kvs)
    assert kinds == [b"gone-nodes", b"gone-services", b"nodes", b"processes"]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Deregister(pb.DeregisterRequest(id="web"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_an_id_belongs_to_one_service(one: Service) -> None:
    await one.stub().Register(pb.RegisterRequest(instance=web("a")))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await one.stub().Register(pb.RegisterRequest(instance=pb.Instance(service="db", id="a", address="10.0.0.2")))
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("instance", "field"),
    [
        (pb.Instance(service="we\nb"), "service"),
        (pb.Instance(service=""), "service"),
        (pb.Instance(service="a" * 64), "service"),
        (pb.Instance(service="web", id="a\x00"), "id"),
        (pb.Instance(service="web", port=70000), "port"),
        (pb.Instance(service="web", tags=["\x1b[31m"]), "tags[0]"),
        (pb.Instance(service="web", tags=["t"] * 65), "tags"),
        (pb.Instance(service="web", metadata={"k": "v" * 600}), "metadata[k]"),
        (pb.Instance(service="web", checks=[pb.CheckDefinition(ttl=pb.TtlCheck(ttl_ms=0))]), "checks[0].ttl_ms"),
        (
            pb.Instance(service="web", checks=[pb.CheckDefinition(ttl=pb.TtlCheck(ttl_ms=86_400_001))]),
            "checks[0].ttl_ms",
        ),
        (pb.Instance(service="web", checks=[pb.CheckDefinition(id="x")]), "checks[0].kind"),
        (
            pb.Instance(service="web", checks=[pb.CheckDefinition(id="x", ttl=pb.TtlCheck(ttl_ms=9))] * 2),
            "checks[1].id",
        ),
        (pb.Instance(service="web", node="unknown"), "node"),
    ],
)
async def test_what_cannot_be_kept_is_refused_by_its_field(one: Service, instance: pb.Instance, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await one.stub().Register(pb.RegisterRequest(instance=instance))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (refused.value.details() or "").startswith(f"{field}: ")
    assert (await one.stub().Status(pb.StatusRequest())).instances == 0


async def test_a_watch_tells_all_and_then_each_change(two: Service) -> None:
    await two.stub(0).Register(pb.RegisterRequest(instance=web("a", tags=("v1",))))
    await until(lambda: _has(two, 1, "web", 1))
    everything = two.stub(1).Watch(pb.WatchRequest())
    passing = two.stub(1).Watch(pb.WatchRequest(service="web", tags=["v1"], passing_only=True))
    first = await next_of(everything)
    assert first.is_snapshot
    assert [endpoint.instance.id for endpoint in first.changed] == ["a"]
    assert first.freshness.index > 0
    empty = await next_of(passing)
    assert empty.is_snapshot
    assert not empty.changed

    await two.stub(0).Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:a")]))
    for stream in (everything, passing):
        told = await next_of(stream)
        assert not told.is_snapshot
        assert [(one.instance.id, one.health) for one in told.changed] == [("a", pb.PASSING)]

    await two.stub(0).Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:a", health=pb.WARNING)]))
    assert [(one.instance.id, one.health) for one in (await next_of(everything)).changed] == [("a", pb.WARNING)]
    left = await next_of(passing)
    assert [(key.node, key.id) for key in left.removed] == [("orrery", "a")]

    await two.stub(0).Deregister(pb.DeregisterRequest(id="a"))
    gone = await next_of(everything)
    assert [(key.node, key.id) for key in gone.removed] == [("orrery", "a")]
    everything.cancel()
    passing.cancel()


async def _has(service: Service, index: int, name: str, count: int) -> bool:
    answer = await service.stub(index).ListInstances(pb.ListInstancesRequest(service=name))
    return len(answer.endpoints) == count


async def test_watchers_are_told_when_the_process_stops(two: Service) -> None:
    stream = two.stub(0).Watch(pb.WatchRequest())
    assert (await next_of(stream)).is_snapshot
    await two.stop(0)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        async for _ in stream:
            pass
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_streams_have_a_limit(bare: Service) -> None:
    stub = await bare.start(watchers_max=1)
    first = stub.Watch(pb.WatchRequest())
    await next_of(first)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in stub.Watch(pb.WatchRequest()):
            pass
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    first.cancel()


async def test_maintenance_makes_critical_and_ends(one: Service) -> None:
    stub = one.stub()
    await stub.Register(pb.RegisterRequest(instance=web("a", checks=False)))

    async def health() -> int:
        return (await stub.ListInstances(pb.ListInstancesRequest(service="web"))).endpoints[0].health

    for instance_id in ("a", ""):
        assert await health() == pb.PASSING
        request = pb.SetMaintenanceRequest(instance_id=instance_id, enabled=True, reason="new disk")
        first = await stub.SetMaintenance(request)
        assert await stub.SetMaintenance(request) == first
        assert await health() == pb.CRITICAL
        await stub.SetMaintenance(pb.SetMaintenanceRequest(instance_id=instance_id, enabled=False))
        await stub.SetMaintenance(pb.SetMaintenanceRequest(instance_id=instance_id, enabled=False))
    assert await health() == pb.PASSING
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.SetMaintenance(pb.SetMaintenanceRequest(instance_id="nobody", enabled=True))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_records_that_cannot_be_read_harm_nothing(bare: Service) -> None:
    for key, value in (
        (b"/orrery/registry/v1/instances/orrery/bad", b"{not json"),
        (b"/orrery/registry/v1/instances/orrery/evil", b'{"node":"orrery","id":"evil","service":"a\\nb"}'),
        (b"/orrery/registry/v1/nonsense/\xff", b""),
        (b"/orrery/registry/v1/instances/orrery", b""),
    ):
        await bare.kv.kv.Put(PutRequest(key=key, value=value))
    stub = await bare.start()
    await stub.Register(pb.RegisterRequest(instance=web("bad")))
    listed = await stub.ListInstances(pb.ListInstancesRequest(service="web"))
    assert [endpoint.instance.id for endpoint in listed.endpoints] == ["bad"]
    await bare.kv.kv.Put(PutRequest(key=b"/orrery/registry/v1/instances/orrery/bad", value=b"\xff"))
    await until(lambda: _has(bare, 0, "web", 0))


async def test_a_blocking_query_ends_with_its_time(one: Service) -> None:
    made = await one.stub().Register(pb.RegisterRequest(instance=web()))
    answer = await one.stub().ListInstances(
        pb.ListInstancesRequest(service="web", block=pb.Block(index=made.index, wait_ms_max=30))
    )
    assert answer.freshness.index == made.index
    with pytest.raises(grpc.aio.AioRpcError):
        await one.stub().ListInstances(
            pb.ListInstancesRequest(service="web", block=pb.Block(index=1, wait_ms_max=600_001))
        )


async def test_processes_know_each_other(two: Service) -> None:
    async def names() -> list[str]:
        return list((await two.stub(0).Status(pb.StatusRequest())).processes)

    async def are(expected: list[str]) -> bool:
        return await names() == expected

    await until(lambda: are(["registry-1", "registry-2"]))
    await two.stop(1)
    await until(lambda: are(["registry-1"]))
