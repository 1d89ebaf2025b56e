"""A whole member in this process: real disk, real ports, a cluster of one; and what is left of it after a restart."""

import asyncio
import json
import re
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
    MemberListRequest,
    PutRequest,
    RangeRequest,
    WatchCreateRequest,
    WatchRequest,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import ClusterStub, KVStub, LeaseStub, WatchStub
from runtime.process import StopSignal
from services.kv.config import AdminConfig, KvConfig, KvSection
from services.kv.data_directory import WrongDataDirectory
from services.kv.main import serve


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def configuration(directory: Path, *, token: str = "test") -> KvConfig:
    return KvConfig(
        node="kv-1",
        data_dir=str(directory),
        admin=AdminConfig(listen=f"127.0.0.1:{free_port()}"),
        kv=KvSection(
            listen=f"127.0.0.1:{free_port()}",
            members=(f"kv-1=127.0.0.1:{free_port()}",),
            cluster_token=token,
            tick_ms=10,
            election_ms=100,
        ),
    )


async def get(address: str, path: str) -> tuple[int, bytes]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def until_ready(config: KvConfig, process: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(20):
        while not process.done():
            with suppress(OSError):
                if (await get(config.admin.listen, "/readyz"))[0] == 200:
                    return
            await asyncio.sleep(0.02)
    await process


async def test_a_member_from_start_to_restart(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    for life in (1, 2):
        stop = StopSignal()
        process = asyncio.create_task(serve(config, stop))
        await until_ready(config, process)
        async with aio.insecure_channel(config.kv.listen) as channel:
            kv, lease = KVStub(channel), LeaseStub(channel)
            if life == 1:
                await lease.LeaseGrant(LeaseGrantRequest(ID=7, TTL=600))
                await kv.Put(PutRequest(key=b"a", value=b"1", lease=7))
            answer = await kv.Range(RangeRequest(key=b"a"))
            assert (answer.kvs[0].value, answer.header.revision) == (b"1", 2)
            left = await lease.LeaseTimeToLive(LeaseTimeToLiveRequest(ID=7, keys=True))
            assert (left.grantedTTL, list(left.keys)) == (600, [b"a"])
            members = await ClusterStub(channel).MemberList(MemberListRequest())
            watch = WatchStub(channel).Watch()
            await watch.write(WatchRequest(create_request=WatchCreateRequest(key=b"a", start_revision=1)))
            await watch.read()
            event = await watch.read()
            assert event.events[0].kv.mod_revision == 2  # type: ignore[attr-defined]
            # The watch is still open: it must not keep the process from stopping.
            status, metrics = await get(config.admin.listen, "/metrics")
            assert (status, b"etcd_server_has_leader 1.0" in metrics) == (200, True)
            assert b"etcd_debugging_mvcc_current_revision 2.0" in metrics
            syncs = re.search(rb"^etcd_disk_wal_fsync_duration_seconds_count (\d+)", metrics, re.MULTILINE)
            assert syncs is not None
            assert float(syncs[1]) > 0
            _, info = await get(config.admin.listen, "/info")
            assert json.loads(info)["endpoints"] == {"etcd": f"http://{config.kv.listen}"}
            assert (json.loads(info)["role"], json.loads(info)["leader"]) == ("leader", "kv-1")
            http_watch, http_writer = await open_http_watch(config.kv.listen)
            stop.set("test")
            async with asyncio.timeout(10):
                assert b"etcdserver: server stopped" in await http_watch.read()
                await process
            watch.cancel()
            http_writer.close()
        assert [(m.name, list(m.clientURLs)) for m in members.members] == [("kv-1", [f"http://{config.kv.listen}"])]


async def open_http_watch(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"create_request":{"key":"YQ=="}}'
    writer.write(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await reader.readuntil(b'"created":true}}\n')
    return reader, writer


async def test_the_client_port_speaks_http_too_and_says_how_it_is(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    stop = StopSignal()
    process = asyncio.create_task(serve(config, stop))
    await until_ready(config, process)
    assert await get(config.kv.listen, "/health") == (200, b'{"health":"true"}')
    status, metrics = await get(config.kv.listen, "/metrics")
    assert (status, b"etcd_server_has_leader 1.0" in metrics) == (200, True)
    async with aio.insecure_channel(config.kv.listen) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        async with asyncio.timeout(10):
            watch = health.Watch(health_pb2.HealthCheckRequest(service="etcdserverpb.KV"))
            while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
                pass
            stop.set("test")
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            watch.cancel()
            await process


async def test_a_directory_of_another_cluster_is_refused(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    stop = StopSignal()
    process = asyncio.create_task(serve(config, stop))
    await until_ready(config, process)
    stop.set("test")
    await process
    with pytest.raises(WrongDataDirectory):
        await serve(configuration(tmp_path, token="other"), StopSignal())


async def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    host, _, port = config.kv.listen.rpartition(":")
    with socket.create_server((host, int(port))):
        with pytest.raises(OSError, match=r"cannot listen on|in use"):
            await serve(config, StopSignal())
