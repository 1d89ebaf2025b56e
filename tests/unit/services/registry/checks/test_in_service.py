"""Checks in real processes of the registry over a kv node, with real servers to ask."""

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import LeaseRevokeRequest, RangeRequest
from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from tests.unit.cluster.http.strangers import answering, serving
from tests.unit.services.registry.running import Service, until

OK = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
BEATS = b"/orrery/registry/v1/beats/"


async def health(service: Service, index: int, instance: str = "web") -> tuple[int, str]:
    answer = await service.stub(index).ListInstances(pb.ListInstancesRequest(service="web"))
    for endpoint in answer.endpoints:
        if endpoint.instance.id == instance:
            return endpoint.health, endpoint.checks[0].output
    return 0, ""


async def test_what_is_asked_flips_at_all_processes_whoever_asks(two: Service) -> None:
    async with serving(OK) as port:
        for number in range(6):
            instance = pb.Instance(service="web", id=f"i{number}", address="127.0.0.1", port=port)
            if number % 2:
                instance.checks.add(tcp=pb.TcpCheck(address=f"127.0.0.1:{port}", interval_ms=200))
            else:
                url = f"http://127.0.0.1:{port}/health"
                instance.checks.add(http=pb.HttpCheck(url=url, interval_ms=200))
            await two.stub(0).Register(pb.RegisterRequest(instance=instance))

        async def all_are(wanted: int) -> bool:
            found = [await health(two, index, f"i{number}") for number in range(6) for index in (0, 1)]
            return all(each == wanted for each, _ in found)

        await until(lambda: all_are(pb.PASSING))
        assert (await health(two, 1, "i0"))[1].endswith("200 OK Output: ok")
        statuses = [await two.stub(index).Status(pb.StatusRequest()) for index in (0, 1)]
        assert sum(status.checks_owned for status in statuses) == 6
    await until(lambda: all_are(pb.CRITICAL))
    # The process that goes leaves its share to the other.
    await two.stop(0)

    async def owns_all() -> bool:
        return (await two.stub(1).Status(pb.StatusRequest())).checks_owned == 6

    await until(owns_all)


async def test_a_ttl_check_expires_with_its_lease(two: Service) -> None:
    instance = pb.Instance(service="web", address="127.0.0.1", port=1)
    instance.checks.add(ttl=pb.TtlCheck(ttl_ms=60_000))
    await two.stub(0).Register(pb.RegisterRequest(instance=instance))
    await two.stub(1).Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:web")]))
    assert (await health(two, 1))[0] == pb.PASSING
    held = await two.kv.kv.Range(RangeRequest(key=BEATS, range_end=BEATS + b"\xff"))
    await two.kv.lease.LeaseRevoke(LeaseRevokeRequest(ID=held.kvs[0].lease))

    async def is_expired() -> bool:
        return [await health(two, index) for index in (0, 1)] == [(pb.CRITICAL, "TTL expired")] * 2

    await until(is_expired)
    await two.stub(0).Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:web")]))

    async def passes() -> bool:
        return (await health(two, 1))[0] == pb.PASSING

    await until(passes)
