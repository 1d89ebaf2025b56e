"""What a registry carries: `python -m bench.registry [--instances N] [--out DIRECTORY]`, or `make bench-registry`.

Method: Orrery's registry (three processes over three of kv), against Debian's etcd-server (three) with the recipe that
people build discovery from: a key with JSON on a lease, range and watch. The recipe runs on grpcio, as client libraries
have it, and on our own gRPC engine, which is the stronger opponent. One after another on one machine, each from
nothing; the clients are one process of Python in each case.

Instances are shared out among services of 20. Each has a TTL check (a lease). Registrations are told with 64 under way;
a beat is one more report that changes nothing, a thousand in a request, and with the recipe a renewal on one stream. A
query asks for the passing instances of one service, of services in turn, by one client after another answer. Delivery
is from the sending of a change of health to its being decoded by each of 200 watchers of that service, in the same
process.
"""

import argparse
import asyncio
import http.client
import itertools
import json
import re
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc.aio
import uvloop

from bench.registry.recipe import Recipe
from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryStub
from cluster.rpc.engine import create_channel
from runtime.real import StreamNet, SystemRandomness
from tests.conformance.clusters import EtcdCluster, OrreryCluster

SERVICE_INSTANCES = 20
UNDER_WAY = 64
WATCHERS = 200
CHANGES = 50
QUERIES = 4000
BEATS_A_REQUEST = 1000
START_S_MAX = 60.0
CATCH_UP_S_MAX = 30.0


@dataclass
class Result:
    system: str
    registrations_per_s: float = 0.0
    beats_per_s: float = 0.0
    query_p50_ms: float = 0.0
    query_p99_ms: float = 0.0
    http_p50_ms: float = 0.0
    http_p99_ms: float = 0.0
    delivery_p50_ms: float = 0.0
    delivery_p99_ms: float = 0.0
    rss_mib: float = 0.0


class Ours:
    """Clients of the registry."""

    def __init__(self, stack: AsyncExitStack, addresses: Sequence[str]) -> None:
        self.addresses = addresses
        self._stubs = []
        for address in addresses:
            channel = create_channel(address, net=StreamNet(), random=SystemRandomness())
            stack.push_async_callback(channel.close)
            self._stubs.append(RegistryStub(channel))
        self._checks: list[str] = []

    async def register(self, number: int, service: str, instance: str) -> None:
        message = pb.Instance(
            service=service,
            id=instance,
            node="",
            address="10.1.2.3",
            port=8080,
            tags=["v1", "primary"],
            checks=[pb.CheckDefinition(id=instance, ttl=pb.TtlCheck(ttl_ms=300_000), initial=pb.PASSING)],
        )
        await self._stubs[number % 3].Register(pb.RegisterRequest(instance=message))
        self._checks.append(instance)

    async def beat(self) -> None:
        checks = self._checks
        for first in range(0, len(checks), BEATS_A_REQUEST):
            beats = [pb.Beat(check_id=check) for check in checks[first : first + BEATS_A_REQUEST]]
            answer = await self._stubs[0].Heartbeat(pb.HeartbeatRequest(beats=beats))
            assert not any(result.code for result in answer.results), answer.results[0]

    async def passing(self, service: str) -> int:
        answer = await self._stubs[0].ListInstances(pb.ListInstancesRequest(service=service, passing_only=True))
        return len(answer.endpoints)

    async def change(self, service: str, instance: str, *, passes: bool) -> None:
        beat = pb.Beat(check_id=instance, health=pb.PASSING if passes else pb.WARNING)
        await self._stubs[1].Heartbeat(pb.HeartbeatRequest(beats=[beat]))

    async def follow(self, service: str, told: Callable[[], None], ready: Callable[[], None]) -> None:
        async for response in self._stubs[0].Watch(pb.WatchRequest(service=service)):
            if response.is_snapshot:
                ready()
            else:
                for _ in response.changed:
                    told()


class Theirs:
    """Clients of the recipe."""

    def __init__(self, stack: AsyncExitStack, addresses: Sequence[str], *, own_engine: bool) -> None:
        self._clients = []
        for address in addresses:
            if own_engine:
                channel = create_channel(address, net=StreamNet(), random=SystemRandomness())
            else:
                channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
            stack.push_async_callback(channel.close)
            self._clients.append(Recipe(channel))

    async def register(self, number: int, service: str, instance: str) -> None:
        await self._clients[number % 3].register(service, instance)

    async def beat(self) -> None:
        await asyncio.gather(*(client.beat() for client in self._clients))

    async def passing(self, service: str) -> int:
        return await self._clients[0].passing(service)

    async def change(self, service: str, instance: str, *, passes: bool) -> None:
        await self._clients[1].change(service, instance, "passing" if passes else "warning")

    async def follow(self, service: str, told: Callable[[], None], ready: Callable[[], None]) -> None:
        await self._clients[0].follow(service, told, ready)


def quantile(samples: Sequence[float], part: float) -> float:
    ordered = sorted(samples)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1e3, 3)


async def measure(result: Result, system: "Ours | Theirs", instances: int) -> None:
    services = [f"service-{number}" for number in range(instances // SERVICE_INSTANCES)]
    work = iter(range(instances))

    async def register() -> None:
        for number in work:
            await system.register(number, services[number % len(services)], f"instance-{number}")

    begun = time.perf_counter()
    await asyncio.gather(*(register() for _ in range(UNDER_WAY)))
    result.registrations_per_s = round(instances / (time.perf_counter() - begun))
    begun = time.perf_counter()
    await system.beat()
    result.beats_per_s = round(instances / (time.perf_counter() - begun))

    async with asyncio.timeout(CATCH_UP_S_MAX):
        for pause_s in itertools.repeat(0.05):
            if await system.passing(services[0]) == SERVICE_INSTANCES:
                break
            await asyncio.sleep(pause_s)
    took: list[float] = []
    for number in range(QUERIES):
        begun = time.perf_counter()
        await system.passing(services[number % len(services)])
        took.append(time.perf_counter() - begun)
    result.query_p50_ms, result.query_p99_ms = quantile(took, 0.5), quantile(took, 0.99)
    if isinstance(system, Ours):
        took = await asyncio.to_thread(query_http, system.addresses[0], services)
        result.http_p50_ms, result.http_p99_ms = quantile(took, 0.5), quantile(took, 0.99)
    took = await deliver(system, services[0], "instance-0")
    result.delivery_p50_ms, result.delivery_p99_ms = quantile(took, 0.5), quantile(took, 0.99)


def query_http(address: str, services: Sequence[str]) -> list[float]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port))
    took = []
    for number in range(QUERIES):
        begun = time.perf_counter()
        connection.request("GET", f"/v1/health/service/{services[number % len(services)]}?passing")
        json.loads(connection.getresponse().read())
        took.append(time.perf_counter() - begun)
    connection.close()
    return took


async def deliver(system: "Ours | Theirs", service: str, instance: str) -> list[float]:
    sent_s, took, left = 0.0, [], WATCHERS
    reached = asyncio.Event()

    def count() -> None:
        nonlocal left
        left -= 1
        if not left:
            reached.set()

    def told() -> None:
        took.append(time.perf_counter() - sent_s)
        count()

    watchers = [asyncio.create_task(system.follow(service, told, count)) for _ in range(WATCHERS)]
    await reached.wait()
    await asyncio.sleep(0.5)
    for number in range(CHANGES):
        left = WATCHERS
        reached.clear()
        sent_s = time.perf_counter()
        change = asyncio.create_task(system.change(service, instance, passes=number % 2 == 1))
        await reached.wait()
        await change
        await asyncio.sleep(0.05)
    for watcher in watchers:
        watcher.cancel()
    await asyncio.gather(*watchers, return_exceptions=True)
    assert len(took) == WATCHERS * CHANGES
    return took


def rss_mib(address: str) -> float:
    host, _, port = address.rpartition(":")
    with urllib.request.urlopen(f"http://{host}:{int(port) + 2}/metrics", timeout=5) as answer:
        found = re.search(r"^process_resident_memory_bytes (\S+)", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return round(float(found[1]) / 2**20, 1)


@asynccontextmanager
async def orrery(folder: Path) -> AsyncIterator[OrreryCluster]:
    cluster = await asyncio.to_thread(OrreryCluster, folder, services="registry")
    try:
        yield cluster
    finally:
        await asyncio.to_thread(cluster.close)


@asynccontextmanager
async def etcd(folder: Path) -> AsyncIterator[EtcdCluster]:
    cluster = await asyncio.to_thread(EtcdCluster, folder)
    try:
        yield cluster
    finally:
        await asyncio.to_thread(cluster.close)


async def until_it_writes(system: Theirs) -> None:
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            await system.register(0, "warm", "warm")
            return
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def run(instances: int, *, only_ours: bool) -> list[Result]:
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as folder:
        async with orrery(Path(folder) / "orrery") as cluster:
            async with AsyncExitStack() as stack:
                addresses = cluster.registry_addresses
                result = Result("orrery")
                results.append(result)
                await measure(result, Ours(stack, addresses), instances)
                result.rss_mib = max(map(rss_mib, addresses))
        if only_ours:
            return results
        if shutil.which("etcd") is None:
            print("bench-registry: etcd left out, not found: apt-get install etcd-server", file=sys.stderr)
            return results
        for name, own_engine in (("etcd, grpcio", False), ("etcd, our gRPC", True)):
            async with etcd(Path(folder) / name.replace(", ", "-").replace(" ", "-")) as peer:
                async with AsyncExitStack() as stack:
                    system = Theirs(stack, peer.client_addresses, own_engine=own_engine)
                    await until_it_writes(system)
                    result = Result(name)
                    results.append(result)
                    await measure(result, system, instances)
    return results


COLUMNS = {
    "registrations_per_s": "registrations/s",
    "beats_per_s": "beats/s",
    "query_p50_ms": "query p50 ms",
    "query_p99_ms": "p99",
    "http_p50_ms": "HTTP p50 ms",
    "http_p99_ms": "p99",
    "delivery_p50_ms": "delivery p50 ms",
    "delivery_p99_ms": "p99",
    "rss_mib": "RSS MiB",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.registry", description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--only-ours", action="store_true", help="leave the opponents out")
    parser.add_argument("--out", type=Path, default=Path("build/bench-registry"), help="where results.json goes")
    options = parser.parse_args()
    results = uvloop.run(run(options.instances, only_ours=options.only_ours))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    print(f"{'system':16}" + "".join(f"{title:>17}" for title in COLUMNS.values()))
    for result in results:
        print(f"{result.system:16}" + "".join(f"{getattr(result, column) or '-':>17}" for column in COLUMNS))
    for other in results[1:]:
        ours = results[0]
        print(
            f"orrery: {ours.registrations_per_s / other.registrations_per_s:.2f}x the registrations and"
            f" {ours.beats_per_s / other.beats_per_s:.2f}x the beats of {other.system}; p99 of a query"
            f" {other.query_p99_ms / ours.query_p99_ms:.2f}x, of delivery"
            f" {other.delivery_p99_ms / ours.delivery_p99_ms:.2f}x as fast"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
