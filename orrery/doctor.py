"""`orrery doctor`: what is wrong with this machine, before it is found out the hard way."""

import json
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from orrery.errors import OperatorError
from orrery.layout import PORT_BASE, node_names, nodes_of
from orrery.ports import problem_with
from orrery.processes import is_alive
from orrery.services import SERVICES
from orrery.state import ClusterDirectory, ClusterState, NodeState
from orrery.terminal import paint

PYTHON_MIN = (3, 11)
FILES_MIN, FILES_GOOD = 256, 4096
"""Open files a process needs to start, and to serve a thousand clients with room to spare."""
FREE_BYTES_MIN, FREE_BYTES_GOOD = 256 << 20, 2 << 30
SYNC_COUNT = 20
SYNC_MS_GOOD = 20.0
"""A median sync above it makes every write slow: each one waits for a sync on two of three nodes."""
SYNC_BYTES = 4096
_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    level: str
    """`ok`, `warning` (works, with a drawback), `failure` (the cluster will not start)."""
    detail: str
    """What was found, and for the latter two what to do."""


def doctor(directory: ClusterDirectory, *, as_json: bool) -> int:
    """Prints the findings; 1 when one of them is a failure."""
    findings = [finding for look in _LOOKS for finding in look(directory)]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            level = paint(f"{finding.level:<8}", _COLOURS[finding.level], sys.stdout)
            print(f"{level} {finding.name:<{width}}  {finding.detail}")
    return 1 if any(finding.level == "failure" for finding in findings) else 0


def _python(directory: ClusterDirectory) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < PYTHON_MIN:
        yield Finding("python", "failure", f"{version}; 3.11 or later is needed")
    else:
        yield Finding("python", "ok", f"{version} at {sys.executable}")


def _ports(directory: ClusterDirectory) -> Iterator[Finding]:
    try:
        state = directory.load()
    except OperatorError as error:
        yield Finding("state", "failure", str(error))
        state = None
    if state is None:
        names = [(name, service) for service in SERVICES for name in node_names(service, "standard")]
        nodes = {name: NodeState(service) for name, service in names}
        state = ClusterState("127.0.0.1", PORT_BASE, "standard", "", nodes)
    ours, problems, free = 0, [], 0
    for node in nodes_of(state):
        known = state.nodes[node.name]
        for port in node.ports:
            if is_alive(known.pid, known.start):
                ours += 1
            elif (problem := problem_with(node.host, port.number, datagrams=port.has_datagrams)) is not None:
                problems.append(problem)
            else:
                free += 1
    if problems:
        yield Finding("ports", "failure", "; ".join(problems) + "; free it or choose others with --port-base")
    else:
        used = f", {ours} in use by this cluster" if ours else ""
        yield Finding("ports", "ok", f"{free} free from {state.port_base} on{used}")


def _files(directory: ClusterDirectory) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = float("inf") if soft == resource.RLIM_INFINITY else soft
    advice = f"; `ulimit -n {FILES_GOOD}` raises it (the hard limit is {hard})"
    if limit < FILES_MIN:
        yield Finding("open files", "failure", f"{soft}, at least {FILES_MIN} are needed{advice}")
    elif limit < FILES_GOOD:
        yield Finding("open files", "warning", f"{soft}, many clients need {FILES_GOOD}{advice}")
    else:
        yield Finding("open files", "ok", str(soft))


def _disk(directory: ClusterDirectory) -> Iterator[Finding]:
    place = directory.root
    while not place.exists():  # ends at the root
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK) or not place.is_dir():
        yield Finding("data directory", "failure", f"{place} cannot be written; choose another with --data-dir")
        return
    yield Finding("data directory", "ok", f"{directory.root} can be written")
    free = shutil.disk_usage(place).free
    text = f"{free / (1 << 30):.1f} GiB free on {place}"
    level = "failure" if free < FREE_BYTES_MIN else "warning" if free < FREE_BYTES_GOOD else "ok"
    yield Finding("disk space", level, text)
    try:
        median_ms, worst_ms = sync_latency_ms(place)
    except OSError as error:
        yield Finding("disk sync", "failure", f"a sync on {place} fails: {error.strerror}")
        return
    level = "ok" if median_ms <= SYNC_MS_GOOD else "warning"
    slow = "" if level == "ok" else "; every write will wait this long, a local SSD takes about 1 ms"
    yield Finding("disk sync", level, f"median {median_ms:.2f} ms, worst of {SYNC_COUNT} {worst_ms:.2f} ms{slow}")


def sync_latency_ms(place: Path) -> tuple[float, float]:
    """The median and the worst time to append 4 KiB to a file and sync it. Raises OSError."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=place, prefix=".orrery-doctor-") as file:
        for _ in range(SYNC_COUNT):
            begun_s = time.perf_counter()
            file.write(b"\0" * SYNC_BYTES)
            file.flush()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - begun_s) * 1000)
    return sorted(taken)[SYNC_COUNT // 2], max(taken)


def _docker(directory: ClusterDirectory) -> Iterator[Finding]:
    name = "docker"
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        yield Finding(name, "warning", f"not looked at: DOCKER_HOST is {address}")
        return
    path = address.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2.0)
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            answer = connection.recv(1024)
    except OSError as error:
        yield Finding(name, "warning", f"{path}: {error.strerror or error}; needed for `docker compose up` only")
        return
    if answer.startswith(b"HTTP/1.") and b" 200 " in answer.split(b"\r\n")[0]:
        yield Finding(name, "ok", path)
    else:
        yield Finding(name, "warning", f"{path} answers, but not as Docker does")


def _clients(directory: ClusterDirectory) -> Iterator[Finding]:
    for program, source in (("etcdctl", "Debian's package etcd-client"), ("dig", "Debian's package bind9-dnsutils")):
        found = shutil.which(program)
        if found is None:
            yield Finding(program, "warning", f"not found; {source} has it")
        else:
            yield Finding(program, "ok", found)


_LOOKS: tuple[Callable[[ClusterDirectory], Iterator[Finding]], ...] = (
    _python,
    _ports,
    _files,
    _disk,
    _docker,
    _clients,
)
