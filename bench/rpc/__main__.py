"""The RPC engines side by side: `python -m bench.rpc [--seconds S] [--out DIRECTORY]`, or `make bench-rpc`.

Method: one servicer (bench/rpc/servers.py) with real protobuf in and out, on our engine, on grpc.aio and on grpcio's
threaded server, one after another on core 0; the load is nghttp2's h2load on core 1, in C, so that it is never the
limit. Clients are measured the other way round: ours and grpc.aio's on core 1, against our server on core 0.

Two figures for each: calls a second as h2load saw them, and CPU time of the server process per call, which other
work on the machine disturbs far less. Their ratios to grpc.aio in the same run are the claims.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from google.protobuf.message import Message

from bench.rpc.plot import bars
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb

ENGINES = ("ours", "grpc.aio", "grpc sync")
SERVICE = "/orrery.rpctest.v1.TestService/"
MESSAGES = 200
"""Messages of one streaming call."""
EQUAL_RATE_PER_S = 2_000
"""The rate at which latencies are compared: one that every engine carries."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """A load: a method, its request bytes, h2load's connections and streams."""

    name: str
    method: str
    body: bytes
    connections: int
    streams: int
    messages: int = 1


@dataclass(frozen=True)
class Figure:
    """What one engine did in one case."""

    case: str
    engine: str
    per_s: float
    cpu_us: float
    p99_ms: float | None = None


def framed(message: Message) -> bytes:
    body = message.SerializeToString()
    return b"\0" + len(body).to_bytes(4, "big") + body


UNARY = framed(pb.SimpleRequest(payload=pb.Payload(body=b"x" * 32)))
STREAMED = framed(pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=32)] * MESSAGES))
BOTH_WAYS = framed(pb.StreamingOutputCallRequest(payload=pb.Payload(body=b"x" * 32))) * MESSAGES

CASES = (
    Case("unary, 1 connection", "UnaryCall", UNARY, 1, 50),
    Case("unary, 20 connections", "UnaryCall", UNARY, 20, 10),
    Case("server-streamed messages", "StreamingOutputCall", STREAMED, 1, 10, MESSAGES),
    Case("bidirectional messages", "FullDuplexCall", BOTH_WAYS, 1, 10, MESSAGES),
)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def running(engine: str) -> Iterator[tuple[int, int]]:
    """A server process on core 0: its pid and port."""
    port = free_port()
    command = ["taskset", "-c", "0", sys.executable, "-m", "bench.rpc.servers", engine, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise SystemExit(f"the {engine} server did not start")
            yield process.pid, port
        finally:
            process.kill()


def h2load(case: Case, port: int, *arguments: str) -> float:
    """Runs h2load; returns finished requests per second. Any failed request is fatal."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(case.body)
        body.flush()
        command = ["taskset", "-c", "1", "h2load", "-d", body.name, "-c", str(case.connections), *arguments]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command.append(f"http://127.0.0.1:{port}{SERVICE}{case.method}")
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    finished = re.search(r"finished in ([\d.]+)(m?s), ([\d.]+) req/s", output)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    if finished is None or counts is None or any(int(counts[number]) for number in (2, 3, 4)) or not int(counts[1]):
        raise SystemExit(f"h2load failed:\n{output}")
    return float(finished[3])


def measure(engine: str, case: Case, seconds: float) -> Figure:
    with running(engine) as (pid, port):
        probe = h2load(case, port, "-m", str(case.streams), "-n", str(max(200, 40_000 // case.messages // 20)))
        count = max(case.connections * case.streams, int(probe * seconds))
        before = cpu_s(pid)
        rate = h2load(case, port, "-m", str(case.streams), "-n", str(count))
        used = cpu_s(pid) - before
    messages = case.messages
    return Figure(case.name, engine, rate * messages, used * 1e6 / count / messages)


def latency(engine: str, seconds: float) -> Figure:
    """Latency of unary calls that come at an equal rate, from h2load's log."""
    connections = 10
    case = Case("", "UnaryCall", UNARY, connections, 10)
    with running(engine) as (_, port), tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        h2load(case, port, "-n", "2000", "-m", "10")
        count = int(EQUAL_RATE_PER_S * seconds)
        rate = h2load(case, port, "-n", str(count), "-m", "10", f"--rps={EQUAL_RATE_PER_S // connections}",
                      f"--log-file={log}")  # fmt: skip
        took_us = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    name = f"unary at {EQUAL_RATE_PER_S} calls/s"
    return Figure(name, engine, rate, 0.0, took_us[len(took_us) * 99 // 100] / 1000)


def client(engine: str, concurrency: int, seconds: float) -> Figure:
    with running("ours") as (_, port):
        command = ["taskset", "-c", "1", sys.executable, "-m", "bench.rpc.clients", engine, str(port)]
        command += [str(concurrency), str(seconds)]
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    values = json.loads(output)
    return Figure(
        f"client, {concurrency} at once", engine, values["calls_per_s"], values["cpu_us_per_call"], values["p99_ms"]
    )


def table(figures: list[Figure]) -> str:
    lines = [
        "| case | engine | per second | to grpc.aio | CPU µs each | to grpc.aio | p99 ms |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    base = {figure.case: figure for figure in figures if figure.engine == "grpc.aio"}
    for figure in figures:
        other = base[figure.case]
        cpu = f"{figure.cpu_us:.1f} | {other.cpu_us / figure.cpu_us:.1f}x" if figure.cpu_us else " | "
        p99 = f"{figure.p99_ms:.2f}" if figure.p99_ms is not None else ""
        rate = f"{figure.per_s:,.0f} | {figure.per_s / other.per_s:.1f}x"
        lines.append(f"| {figure.case} | {figure.engine} | {rate} | {cpu} | {p99} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement")
    parser.add_argument("--out", type=Path, default=Path("build/bench-rpc"))
    arguments = parser.parse_args()
    if shutil.which("h2load") is None or shutil.which("taskset") is None:
        raise SystemExit("h2load and taskset are needed; on Debian: apt-get install nghttp2-client util-linux")
    figures: list[Figure] = []

    def note(figure: Figure) -> None:
        figures.append(figure)
        print(f"{figure.case:28} {figure.engine:10} {figure.per_s:12,.0f}/s {figure.cpu_us:8.1f} us", flush=True)

    for case in CASES:
        for engine in ENGINES:
            note(measure(engine, case, arguments.seconds))
    for engine in ENGINES:
        note(latency(engine, arguments.seconds))
    for concurrency in (1, 50):
        for engine in ("ours", "grpc.aio"):
            note(client(engine, concurrency, arguments.seconds))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "figures.json").write_text(json.dumps([asdict(figure) for figure in figures], indent=1))
    (arguments.out / "table.md").write_text(table(figures) + "\n")
    (arguments.out / "plot.svg").write_text(
        bars("calls or messages per second", [(figure.case, figure.engine, figure.per_s) for figure in figures])
    )
    print()
    print(table(figures))
    print(f"\nwritten to {arguments.out}")


if __name__ == "__main__":
    main()
