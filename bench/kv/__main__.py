"""What a three-node store carries: `python -m bench.kv [--load xl] [--out DIRECTORY]`, or `make bench-kv`.

Method: `etcdctl check perf` (Debian's etcd-client), 60 seconds of puts of 1 KiB by its own clients, against three
processes on loopback: Orrery with its records in memory, in the LSM engine and in the B+tree, Orrery on grpcio, and
Debian's etcd-server; one after another on the same machine, each from nothing. Every member shares the machine's cores
with the load.

Figures: acknowledged writes a second and the slowest request as etcdctl saw them; CPU seconds and resident memory of
each member when the load ended. Their ratios in the same run are the claims.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.conformance.clusters import NODES, EtcdCluster, accepts, addresses, free_port_base, wait_for

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LOAD_S_MAX = 180.0
START_S_MAX = 60.0


class Members:
    """Three kv processes by `orrery serve`."""

    def __init__(self, folder: Path, rpc_engine: str, engine: str) -> None:
        base = free_port_base()
        self.client_addresses = addresses(base, 0)
        peers = addresses(base, 1)
        members = [f"{node}={peer}" for node, peer in zip(NODES, peers, strict=True)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True)
        for index, node in enumerate(NODES):
            config = folder / f"{node}.toml"
            config.write_text(
                f'node = "{node}"\ndata_dir = "{folder / node}"\n'
                f'[admin]\nlisten = "{addresses(base, 2)[index]}"\n'
                f'[kv]\nlisten = "{self.client_addresses[index]}"\nmembers = {json.dumps(members)}\n'
                f'rpc_engine = "{rpc_engine}"\nengine = "{engine}"\n'
            )
            with (folder / f"{node}.log").open("wb") as log:
                self._processes[node] = subprocess.Popen(
                    [sys.executable, "-m", "orrery.main", "serve", "kv", "--config", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        for node, address in zip(NODES, self.client_addresses, strict=True):
            wait_for(f"{node} accepts connections", partial(accepts, address), START_S_MAX)

    def pid(self, node: str) -> int:
        return self._processes[node].pid

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Result:
    """One system under the load."""

    system: str
    writes_per_s: int
    slowest_s: float
    cpu_s: list[float]
    """A member's, in the order of the members."""
    rss_mb: list[int]


def usage(pid: int) -> tuple[float, int]:
    """CPU seconds and resident MiB of a process (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(fields[21]) * PAGE_BYTES >> 20


def measure(system: str, cluster: "Members | EtcdCluster", load: str) -> Result:
    endpoints = ",".join(cluster.client_addresses)
    environment = {**os.environ, "ETCDCTL_API": "3"}
    # A write that succeeds shows that there is a leader.
    wait_for("a first write", partial(_writes, endpoints, environment), START_S_MAX, every=0.2)
    done = subprocess.run(
        ["etcdctl", "--endpoints", endpoints, "check", "perf", f"--load={load}"],
        capture_output=True,
        check=False,
        text=True,
        timeout=LOAD_S_MAX,
        env=environment,
    )
    said = done.stdout + done.stderr
    writes = re.search(r"Throughput (?:is|too low:) (\d+) writes/s", said)
    slowest = re.search(r"Slowest request took (?:too long: )?([\d.]+)s", said)
    if writes is None or slowest is None:
        raise SystemExit(f"{system}: etcdctl check perf said\n{said[-2000:]}")
    used = [usage(cluster.pid(node)) for node in NODES]
    return Result(system, int(writes[1]), float(slowest[1]), [cpu for cpu, _ in used], [rss for _, rss in used])


def _writes(endpoints: str, environment: dict[str, str]) -> bool:
    command = ["etcdctl", "--endpoints", endpoints, "put", "bench/ready", "yes"]
    return subprocess.run(command, capture_output=True, check=False, env=environment).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.kv", description=__doc__.splitlines()[0])
    parser.add_argument("--load", choices=["s", "m", "l", "xl"], default="xl", help="etcdctl's (default: %(default)s)")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="measure these only (default: all)")
    parser.add_argument("--out", type=Path, default=Path("build/bench-kv"), help="where results.json goes")
    options = parser.parse_args()
    if shutil.which("etcdctl") is None:
        print("bench-kv: etcdctl not found: apt-get install etcd-client", file=sys.stderr)
        return 2
    systems: dict[str, Callable[[Path], Members | EtcdCluster]] = {
        "orrery": lambda folder: Members(folder, "orrery", "memory"),
        "orrery on lsm": lambda folder: Members(folder, "orrery", "lsm"),
        "orrery on btree": lambda folder: Members(folder, "orrery", "btree"),
        "orrery on grpcio": lambda folder: Members(folder, "grpcio", "memory"),
    }
    if shutil.which("etcd") is not None:
        systems["etcd"] = EtcdCluster
    else:
        print("bench-kv: etcd left out, not found: apt-get install etcd-server", file=sys.stderr)
    if options.systems:
        unknown = set(options.systems) - set(systems)
        if unknown:
            parser.error(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(systems)}")
        systems = {name: systems[name] for name in options.systems}
    results = []
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as folder:
        for system, start in systems.items():
            print(f"{system}: a minute of load ...", file=sys.stderr, flush=True)
            with ExitStack() as stack:
                cluster = start(Path(folder) / system.replace(" ", "-"))
                stack.callback(cluster.close)
                results.append(measure(system, cluster, options.load))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    print(f"{'system':18} {'writes/s':>9} {'slowest':>9}  {'CPU s a member':22} RSS MiB a member")
    for result in results:
        cpu = " ".join(f"{seconds:.1f}" for seconds in result.cpu_s)
        rss = " ".join(str(megabytes) for megabytes in result.rss_mb)
        print(f"{result.system:18} {result.writes_per_s:9} {result.slowest_s:7.2f} s  {cpu:22} {rss}")
    for other in results[1:]:
        print(
            f"{results[0].system} carries {results[0].writes_per_s / other.writes_per_s:.2f}x what {other.system} does"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
