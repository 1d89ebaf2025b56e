"""The admin port, asked over a real socket."""

import asyncio
import json
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from cluster.telemetry import VERSION, AdminServer, Check, Info, process_registry
from runtime.real import StreamNet, SystemClock


async def ask(address: str, path: str, headers: str = "") -> tuple[int, str, bytes]:
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), body


class Process:
    """What a service would hand to its admin server."""

    def __init__(self) -> None:
        self.checks: Sequence[Check] = [
            Check("leader known", ok=False, detail="no leader since 3 s"),
            Check("wal", ok=True),
        ]
        self.role = "follower"
        self.registry: CollectorRegistry = process_registry("kv", "kv-1")
        self.server = AdminServer(
            StreamNet(), SystemClock(), "127.0.0.1:0", self.registry, self.info, lambda: self.checks
        )

    def info(self) -> Info:
        parts = {"membership": {"living": 3}}
        return Info("kv", "kv-1", self.role, "kv-2", {"etcd": "http://127.0.0.1:1"}, "/data", parts)


async def test_readiness_follows_the_checks_and_names_them() -> None:
    process = Process()
    await process.server.start()
    try:
        status, head, body = await ask(process.server.address, "/readyz")
        assert status == 503
        assert body == b"[-] leader known: no leader since 3 s\n[+] wal: ok\nnot ready\n"
        process.checks = [Check("leader known", ok=True, detail="kv-2")]
        status, head, body = await ask(process.server.address, "/readyz", "accept: application/json\r\n")
        assert (status, json.loads(body)) == (
            200,
            {"ready": True, "checks": [{"name": "leader known", "ok": True, "detail": "kv-2"}]},
        )
        assert "content-type: application/json" in head
        assert (await ask(process.server.address, "/healthz"))[0] == 200
    finally:
        await process.server.stop()


async def test_info_names_the_process() -> None:
    process = Process()
    await process.server.start()
    try:
        process.role = "leader"
        document = json.loads((await ask(process.server.address, "/info"))[2])
        assert document["service"] == "kv"
        assert document["node"] == "kv-1"
        assert document["role"] == "leader"
        assert document["leader"] == "kv-2"
        assert document["version"] == VERSION
        assert document["endpoints"] == {"etcd": "http://127.0.0.1:1"}
        assert document["data_dir"] == "/data"
        assert document["membership"] == {"living": 3}
        assert document["uptime_s"] >= 0
        assert document["started"].endswith("+00:00")
        assert document["pid"] > 0
    finally:
        await process.server.stop()


async def test_metrics_are_prometheus_text_with_the_process_and_the_loop() -> None:
    process = Process()
    await process.server.start()
    try:
        status, head, body = await ask(process.server.address, "/metrics")
        assert status == 200
        assert "content-type: text/plain; version=" in head
        text = body.decode()
        for name in (
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_start_time_seconds ",
            "python_gc_collections_total{",
            "orrery_event_loop_lag_seconds_bucket{",
            'orrery_build_info{node="kv-1",service="kv"',
        ):
            assert f"\n{name}" in text, name
    finally:
        await process.server.stop()


async def test_unknown_paths_name_the_known_ones() -> None:
    process = Process()
    await process.server.start()
    try:
        status, _, body = await ask(process.server.address, "/nope")
        assert status == 404
        assert b"/healthz, /info, /metrics, /readyz" in body
        status, _, _ = await ask(process.server.address, "/nope/../info")
        assert status == 404
    finally:
        await process.server.stop()
    await process.server.stop()
