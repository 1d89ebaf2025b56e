"""How many DNS questions a second one process of the registry answers, beside dnsmasq, which is written in C.

    python -m bench.registry_dns [--seconds 5] [--instances 5]

Needs Debian's dnsperf; dnsmasq-base to compare. Each server has the first core to itself, dnsperf another one. Both
know the same services; ours from a catalogue that changes ten times a second, dnsmasq from its configuration. What
counts is answers a second of the server's CPU time, which other people's load on the machine changes little.
Prints a table and writes build/bench-registry-dns/results.json.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.registry.catalogue import Key, KeyKind, MemoryCatalogue, Update
from services.registry.dns import DnsSection, DnsServer
from services.registry.domain import Instance, Node

OUT = Path("build/bench-registry-dns")
SUITES: dict[str, tuple[list[str], list[str]]] = {
    "A": (["web.service.consul A"], []),
    "A, EDNS": (["web.service.consul A"], ["-e"]),
    "SRV, EDNS": (["web.service.consul SRV"], ["-e"]),
    "NXDOMAIN": ([f"nope-{number}.service.consul A" for number in range(10_000)], []),
    "A and AAAA, 1,000 services": (
        [f"s{number}.service.consul {kind}" for number in range(1000) for kind in ("A", "AAAA")],
        [],
    ),
    "A over TCP": (["web.service.consul A"], ["-m", "tcp"]),
}
CHANGES_PER_S = 10
FIGURES = r"(Queries completed|Queries per second|Queries lost):\s+([\d.]+)"


def instances(count: int) -> list[Instance]:
    web = [Instance("n1", f"web-{number}", "web", f"10.0.1.{number}", 8000 + number) for number in range(count)]
    return web + [Instance("n1", f"s{number}", f"s{number}", "10.0.2.1", 80) for number in range(1000)]


async def serve(port: int, count: int) -> None:
    clock = SystemClock()
    catalogue = MemoryCatalogue(clock, stale_s=1e9)
    updates = [Update(Key(KeyKind.NODE, "n1"), Node("n1", "10.0.0.1"), 2)]
    for instance in instances(count):
        updates.append(Update(Key(KeyKind.INSTANCE, "n1", instance.id), instance, 2 + len(updates)))
    revision = updates[-1].revision
    catalogue.reset(updates, revision)
    server = DnsServer(
        StreamNet(),
        clock,
        SystemRandomness(),
        catalogue,
        DnsSection(listen=(f"127.0.0.1:{port}",), domains=("consul",)),
    )
    await server.start()
    while True:
        await asyncio.sleep(1 / CHANGES_PER_S)
        revision += 1
        changed = Instance("n1", "s0", "s0", f"10.0.3.{revision % 250}", 80)
        catalogue.apply([Update(Key(KeyKind.INSTANCE, "n1", "s0"), changed, revision)], revision)


def dnsmasq(port: int, count: int) -> list[str] | None:
    path = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin")
    if path is None:
        return None
    records = []
    for instance in instances(count):
        records.append(f"--host-record={instance.service}.service.consul,{instance.address},5")
        records.append(f"--srv-host={instance.service}.service.consul,{instance.id}.addr.consul,{instance.port},1,1")
        records.append(f"--host-record={instance.id}.addr.consul,{instance.address},5")
    OUT.mkdir(parents=True, exist_ok=True)
    config = OUT / "dnsmasq.conf"
    config.write_text("\n".join(record.removeprefix("--") for record in records) + "\nlocal=/consul/\n")
    return [path, "--no-daemon", f"--conf-file={config}", "--no-resolv", "--no-hosts", "--user=", "--pid-file",
            "--listen-address=127.0.0.1", "--bind-interfaces", f"--port={port}"]  # fmt: skip


def pinned(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 else command


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, command: list[str], port: int, seconds: float) -> dict[str, dict[str, float]]:
    process = subprocess.Popen(pinned(0, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    figures: dict[str, dict[str, float]] = {}
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{name} did not start") from None
                time.sleep(0.05)
        for suite, (questions, flags) in SUITES.items():
            if name == "dnsmasq" and "tcp" in flags:
                continue  # It forks for each connection, and ends it after some questions, which dnsperf cannot take.
            path = OUT / "questions.txt"
            path.write_text("\n".join(questions) + "\n")
            before_s = cpu_s(process.pid)
            output = subprocess.run(
                pinned(1, ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(path), "-l", str(seconds),
                           "-c", "8", "-q", "100", *flags]),
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            used_s = cpu_s(process.pid) - before_s
            found = {key: float(value) for key, value in re.findall(FIGURES, output)}
            rate, lost = found["Queries per second"], found["Queries lost"]
            core = found["Queries completed"] / max(used_s, 0.01)
            figures[suite] = {"per_cpu_s": core, "per_s": rate, "lost": lost}
            print(f"{name:8} {suite:28} {rate:10,.0f}/s  {core:10,.0f} per CPU second  lost {lost:.0f}", flush=True)
    finally:
        process.terminate()
        process.wait()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--instances", type=int, default=5)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.serve, arguments.instances))
        return
    if shutil.which("dnsperf") is None:
        raise SystemExit("dnsperf not found: apt-get install dnsperf")
    OUT.mkdir(parents=True, exist_ok=True)
    port = free_port()
    ours = [sys.executable, "-m", "bench.registry_dns", "--serve", str(port), "--instances", str(arguments.instances)]
    results = {"orrery": measure("orrery", ours, port, arguments.seconds)}
    port = free_port()
    peer = dnsmasq(port, arguments.instances)
    if peer is None:
        print("dnsmasq not found: nothing to compare with (apt-get install dnsmasq-base)")
    else:
        results["dnsmasq"] = measure("dnsmasq", peer, port, arguments.seconds)
    (OUT / "results.json").write_text(json.dumps(results, indent=1))
    print("\n| questions | " + " | ".join(f"{name}: answers per CPU second" for name in results) + " | ratio |")
    print("|---|" + "---|" * len(results) + "---|")
    for suite in SUITES:
        rates = [figures[suite]["per_cpu_s"] for figures in results.values() if suite in figures]
        ratio = f"{rates[0] / rates[1]:.2f}" if len(rates) > 1 else ""
        cells = [*(f"{rate:,.0f}" for rate in rates), *("-" for _ in range(len(results) - len(rates))), ratio]
        print(f"| {suite} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
