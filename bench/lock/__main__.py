"""What a lock costs: `python -m bench.lock [--seconds S] [--out DIRECTORY]`, or `make bench-lock`.

Method: Orrery's lock service (two processes over three of kv), against Debian's etcd-server (three) with etcd's recipe
in Python on grpcio, as client libraries have it, and the same recipe on our own gRPC engine, which is the stronger
opponent; and the recipe against our kv, which tells the service from the store. One after another on one machine, each
from nothing; the clients are one process of Python in each case.

Uncontended: one session takes and gives back one lock, in turn. Contended: 64 sessions want one lock all the time; each
grant is a handover. Watch events are those that the lock processes (or the recipe's clients) were told, for a handover.
"""

import argparse
import asyncio
import json
import re
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import grpc.aio
import uvloop

from bench.lock.recipe import RecipeLock
from cluster.clients.lock import Grant, Locks
from cluster.rpc.engine import create_channel
from runtime.real import StreamNet, SystemClock, SystemRandomness
from tests.conformance.clusters import EtcdCluster, OrreryCluster

CONTENDERS = 64
START_S_MAX = 60.0


@dataclass(frozen=True)
class Result:
    system: str
    pairs_per_s: float
    """Acquire and release of a free lock."""
    handovers_per_s: float
    events_per_handover: float
    latency_ms: float
    """Of an uncontended pair: the median."""


class Service:
    """Sessions of the lock service."""

    def __init__(self, stack: AsyncExitStack, cluster: OrreryCluster) -> None:
        self._stack = stack
        self._cluster = cluster

    async def contender(self) -> Callable[[str], Awaitable[None]]:
        locks = await self._stack.enter_async_context(
            Locks(
                self._cluster.lock_addresses,
                clock=SystemClock(),
                random=SystemRandomness(),
                net=StreamNet(),
                ttl_s=60,
                lock_delay_s=0,
            )
        )

        async def pair(name: str) -> None:
            grant: Grant = await locks.acquire(name)
            await locks.release(grant)

        return pair

    def events(self) -> int:
        total = 0
        for address in self._cluster.lock_addresses:
            host, _, port = address.rpartition(":")
            with urllib.request.urlopen(f"http://{host}:{int(port) + 2}/metrics", timeout=5) as answer:
                found = re.search(r"^orrery_lock_watch_events_total (\S+)", answer.read().decode(), re.MULTILINE)
            total += int(float(found[1])) if found is not None else 0
        return total


class Recipe:
    """Sessions of etcd's recipe."""

    def __init__(self, stack: AsyncExitStack, addresses: list[str], *, own_engine: bool) -> None:
        self._stack = stack
        self._addresses = addresses
        self._own_engine = own_engine
        self._made = 0
        self._events = 0

    async def contender(self) -> Callable[[str], Awaitable[None]]:
        address = self._addresses[self._made % len(self._addresses)]
        self._made += 1
        if self._own_engine:
            channel = create_channel(address, net=StreamNet(), random=SystemRandomness())
        else:
            channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._stack.push_async_callback(channel.close)
        lock = RecipeLock(channel, self._count)
        await lock.open()

        async def pair(name: str) -> None:
            await lock.release(await lock.acquire(name))

        return pair

    def _count(self, events: int) -> None:
        self._events += events

    def events(self) -> int:
        return self._events


async def measure(system: str, made: "Service | Recipe", seconds: float) -> Result:
    one = await made.contender()
    await one("warm")
    took: list[float] = []
    started = time.perf_counter()
    while (now := time.perf_counter()) - started < seconds:
        await one("free")
        took.append(time.perf_counter() - now)
    pairs = len(took) / (time.perf_counter() - started)
    contenders = [await made.contender() for _ in range(CONTENDERS)]
    for index, contender in enumerate(contenders):
        await contender(f"warm-{index}")
    before = made.events()
    handovers = 0
    begun = time.perf_counter()
    end = begun + seconds

    async def contend(pair: Callable[[str], Awaitable[None]]) -> None:
        nonlocal handovers
        while time.perf_counter() < end:
            await pair("hot")
            handovers += 1

    await asyncio.gather(*(contend(contender) for contender in contenders))
    rate = handovers / (time.perf_counter() - begun)
    events = (made.events() - before) / max(1, handovers)
    return Result(
        system, round(pairs, 1), round(rate, 1), round(events, 2), round(sorted(took)[len(took) // 2] * 1e3, 2)
    )


@asynccontextmanager
async def orrery(folder: Path) -> AsyncIterator[OrreryCluster]:
    cluster = await asyncio.to_thread(OrreryCluster, folder, services="lock")
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


async def until_it_writes(make: Callable[[], Recipe]) -> None:
    """A lease that is granted shows that there is a leader."""
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            await make().contender()
            return
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def run(seconds: float) -> list[Result]:
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as folder:
        async with orrery(Path(folder) / "orrery") as cluster:
            async with AsyncExitStack() as stack:
                results.append(await measure("orrery", Service(stack, cluster), seconds))
            async with AsyncExitStack() as stack:
                recipe = Recipe(stack, cluster.client_addresses, own_engine=True)
                results.append(await measure("recipe on orrery's kv", recipe, seconds))
        if shutil.which("etcd") is None:
            print("bench-lock: etcd left out, not found: apt-get install etcd-server", file=sys.stderr)
            return results
        async with etcd(Path(folder) / "etcd") as peer:
            for system, own_engine in (("recipe on etcd, grpcio", False), ("recipe on etcd, our gRPC", True)):
                async with AsyncExitStack() as stack:
                    make = partial(Recipe, stack, peer.client_addresses, own_engine=own_engine)
                    await until_it_writes(make)
                    results.append(await measure(system, make(), seconds))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.lock", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of the eight loads (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/bench-lock"), help="where results.json goes")
    options = parser.parse_args()
    results = uvloop.run(run(options.seconds))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    print(f"{'system':26} {'pairs/s':>8} {'median':>9} {'handovers/s':>12} {'events a handover':>18}")
    for result in results:
        print(
            f"{result.system:26} {result.pairs_per_s:8.1f} {result.latency_ms:6.2f} ms {result.handovers_per_s:12.1f}"
            f" {result.events_per_handover:18.2f}"
        )
    for other in results[1:]:
        print(
            f"orrery: {results[0].pairs_per_s / other.pairs_per_s:.2f}x the pairs and"
            f" {results[0].handovers_per_s / other.handovers_per_s:.2f}x the handovers of {other.system}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
