"""The process: its ports, its health, and how it waits for kv."""

import asyncio
import json

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from cluster.rpc.engine import create_channel
from runtime.real import StreamNet, SystemRandomness
from tests.unit.services.registry.running import Service, until, web


async def get(address: str, path: str) -> tuple[int, bytes]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_the_admin_port_tells_what_it_does(one: Service) -> None:
    admin = one.configs[0].admin.listen
    assert (await get(admin, "/readyz"))[0] == 200
    await one.stub().Register(pb.RegisterRequest(instance=web()))
    await one.stub().Heartbeat(pb.HeartbeatRequest(beats=[pb.Beat(check_id="service:web"), pb.Beat(check_id="x")]))
    watch = one.stub().Watch(pb.WatchRequest())
    await watch.read()
    _, metrics = await get(admin, "/metrics")
    for line in (
        b"orrery_registry_instances 1.0",
        b"orrery_registry_services 1.0",
        b"orrery_registry_checks 1.0",
        b"orrery_registry_beats_running 1.0",
        b"orrery_registry_beats_total 2.0",
        b"orrery_registry_beats_failed_total 1.0",
        b"orrery_registry_watchers 1.0",
        b"orrery_registry_resets_total 1.0",
        b"orrery_registry_kv_silence_seconds 0.0",
        b'grpc_server_started_total{grpc_method="Watch"',
    ):
        assert line in metrics, metrics.decode()
    _, info = await get(admin, "/info")
    assert json.loads(info)["service"] == "registry"
    assert "dns" in json.loads(info)["endpoints"]
    watch.cancel()


async def test_both_protocols_on_one_port_tell_the_same(one: Service) -> None:
    await one.stub().Register(pb.RegisterRequest(instance=web(tags=("v1",))))
    status, body = await get(one.configs[0].registry.listen, "/v1/catalog/services")
    assert status == 200
    assert json.loads(body) == {"web": ["v1"]}
    status, body = await get(one.configs[0].registry.listen, "/v1/health/service/web")
    assert [entry["Service"]["ID"] for entry in json.loads(body)] == ["web"]


async def test_health_follows_readiness(bare: Service) -> None:
    bare.kv.replica.set_leader(0)
    starting = asyncio.create_task(bare.start())
    await until(lambda: bare.configs)
    config = bare.configs[0]
    channel = create_channel(config.registry.listen, net=StreamNet(), random=SystemRandomness())
    stub = health_pb2_grpc.HealthStub(channel)

    async def serves(wanted: int) -> bool:
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service="orrery.registry.v1.Registry"))
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == wanted)

    await until(lambda: serves(health_pb2.HealthCheckResponse.NOT_SERVING))
    assert (await get(config.admin.listen, "/readyz"))[0] == 503
    bare.kv.replica.set_leader(bare.kv.replica.member_id)
    await until(lambda: serves(health_pb2.HealthCheckResponse.SERVING))
    await starting
    await channel.close()


async def test_what_was_read_is_told_when_kv_is_gone(one: Service) -> None:
    await one.stub().Register(pb.RegisterRequest(instance=web()))
    one.kv.replica.set_leader(0)

    async def is_stale() -> bool:
        answer = await one.stub().ListInstances(pb.ListInstancesRequest(service="web"))
        assert len(answer.endpoints) == 1
        return answer.freshness.stale and answer.freshness.stale_ms > 0

    async with asyncio.timeout(20):
        while not await is_stale():
            await asyncio.sleep(0.1)
    assert (await get(one.configs[0].admin.listen, "/readyz"))[0] == 200
    one.kv.replica.set_leader(one.kv.replica.member_id)
    async with asyncio.timeout(20):
        while await is_stale():
            await asyncio.sleep(0.1)
