"""What one write by itself takes: `python -m bench.kv.latency [--seconds S]`, or `make bench-kv-latency`.

Method: three members on loopback, one client that puts 1 KiB at the leader, one put after another, so that nothing is
shared by any two of them; Orrery's kv against Debian's etcd-server, by the same client on our own gRPC engine. Each
from nothing, one after another on the same machine.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc.aio
import uvloop

from bench.kv.__main__ import START_S_MAX, Members
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import PutRequest, StatusRequest
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, MaintenanceStub
from cluster.rpc.engine import create_channel
from runtime.real import StreamNet, SystemRandomness
from tests.conformance.clusters import EtcdCluster

WARM_UP = 200
"""Puts before the measured ones."""
VALUE = b"v" * 1024


@dataclass(frozen=True)
class Result:
    """One system."""

    system: str
    puts_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


async def leader_of(addresses: list[str]) -> str:
    """The address of the member that leads, once there is one."""
    deadline_s = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline_s:
        for address in addresses:
            channel = create_channel(address, net=StreamNet(), random=SystemRandomness())
            try:
                status = await MaintenanceStub(channel).Status(StatusRequest(), timeout=5)
                if status.leader == status.header.member_id:
                    return address
            except grpc.aio.AioRpcError:
                pass
            finally:
                await channel.close()
    raise SystemExit("bench-kv-latency: no leader in time")


async def measure(system: str, addresses: list[str], seconds: float) -> Result:
    channel = create_channel(await leader_of(addresses), net=StreamNet(), random=SystemRandomness())
    kv = KVStub(channel)
    took: list[float] = []
    number = 0
    for _ in range(WARM_UP):
        await kv.Put(PutRequest(key=b"warm", value=VALUE))
    begun = time.perf_counter()
    while (now := time.perf_counter()) - begun < seconds:
        number += 1
        await kv.Put(PutRequest(key=b"key-%d" % (number % 1000), value=VALUE))
        took.append(time.perf_counter() - now)
    await channel.close()
    took.sort()
    p50, p90, p99 = (round(took[int(len(took) * part)] * 1e3, 3) for part in (0.5, 0.9, 0.99))
    return Result(system, round(len(took) / sum(took), 1), p50, p90, p99)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.kv.latency", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each system (default: %(default)s)")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="measure these only (default: all)")
    parser.add_argument("--out", type=Path, default=Path("build/bench-kv"), help="where latency.json goes")
    options = parser.parse_args()
    systems: dict[str, Callable[[Path], Members | EtcdCluster]] = {
        "orrery": lambda folder: Members(folder, "orrery", "memory"),
        "orrery on lsm": lambda folder: Members(folder, "orrery", "lsm"),
    }
    if shutil.which("etcd") is not None:
        systems["etcd"] = EtcdCluster
    else:
        print("bench-kv-latency: etcd left out, not found: apt-get install etcd-server", file=sys.stderr)
    if options.systems:
        systems = {name: systems[name] for name in options.systems}
    results = []
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as folder:
        for system, start in systems.items():
            with ExitStack() as stack:
                cluster = start(Path(folder) / system.replace(" ", "-"))
                stack.callback(cluster.close)
                results.append(uvloop.run(measure(system, cluster.client_addresses, options.seconds)))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "latency.json").write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    print(f"{'system':18} {'puts/s':>8} {'p50':>9} {'p90':>9} {'p99':>9}")
    for result in results:
        print(
            f"{result.system:18} {result.puts_per_s:8.1f} {result.p50_ms:6.3f} ms {result.p90_ms:6.3f} ms"
            f" {result.p99_ms:6.3f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
