"""The process: its admin port, its health, and how it waits for kv."""

import asyncio
import json

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.kv.local_node import LocalNode
from services.lock import main
from tests.unit.services.lock.running import Service


async def get(address: str, path: str) -> tuple[int, bytes]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def until_ready(admin: str, status: int = 200) -> bytes:
    async with asyncio.timeout(15):
        while True:
            found, body = await get(admin, "/readyz")
            if found == status:
                return body
            await asyncio.sleep(0.02)


async def test_the_admin_port_tells_what_it_does(service: Service) -> None:
    admin = service.configs[0].admin.listen
    await until_ready(admin)
    one, two = await service.locks(), await service.locks()
    async with one.hold("a"):
        waiting = asyncio.create_task(two.acquire("a"))
        while len(await one.inspect("a")) != 2:
            await asyncio.sleep(0.01)
        _, metrics = await get(admin, "/metrics")
        for line in (
            b"orrery_lock_sessions 2.0",
            b"orrery_lock_holders 1.0",
            b"orrery_lock_waiters 1.0",
            b"orrery_lock_views 1.0",
        ):
            assert line in metrics, metrics
    grant = await waiting
    await two.force_release("a", who="test", why="metrics")
    await grant.wait_lost()
    _, metrics = await get(admin, "/metrics")
    for line in (
        b'orrery_lock_acquires_total{mode="exclusive",outcome="granted"} 2.0',
        b"orrery_lock_handovers_total 1.0",
        b"orrery_lock_releases_total 1.0",
        b"orrery_lock_forced_releases_total 1.0",
        b'orrery_lock_losses_total{reason="forced"} 1.0',
        b"orrery_lock_holders 0.0",
        b"orrery_lock_wait_seconds_count 2.0",
        b'grpc_server_started_total{grpc_method="Session"',
    ):
        assert line in metrics, line
    _, info = await get(admin, "/info")
    document = json.loads(info)
    assert (document["service"], document["node"], document["endpoints"]) == (
        "lock",
        "lock-1",
        {"lock": service.endpoints[0]},
    )


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "PROBE_S", 0.05)
    monkeypatch.setattr(main, "PROBE_WITHIN_S", 0.2)


@pytest.mark.usefixtures("quick_probes")
async def test_it_is_ready_when_kv_answers_and_only_then(service: Service) -> None:
    kv: LocalNode = service.kv
    admin = service.configs[0].admin.listen
    await until_ready(admin)
    health = health_pb2_grpc.HealthStub(service.channel())
    watch = health.Watch(health_pb2.HealthCheckRequest(service="orrery.lock.v1.Locks"))
    async with asyncio.timeout(10):
        while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        kv.replica.set_leader(0)
        assert b"no member of kv answers" in await until_ready(admin, 503)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        kv.replica.set_leader(kv.replica.member_id)
        await until_ready(admin)
        watch.cancel()
