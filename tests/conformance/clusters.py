"""Three-node clusters of real processes: Debian's etcd as the oracle, and Orrery as the one under test.

Both are started from nothing in a folder of their own, on free ports of the loopback interface, with the members
named kv-1, kv-2 and kv-3, so that a test written against `Cluster` cannot tell which of them it talks to.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

NODES = ("kv-1", "kv-2", "kv-3")
PORTS_PER_NODE = 10
"""Orrery's layout: node i has base + 10 * (i - 1) for clients, +1 for peers, +2 for administration; by UDP and TCP +3
for the membership, +4 for DNS."""
PORTS_USED = 5
LOCK_OFFSET, LOCK_NODES = 50, 2
"""Where the ports of the lock service begin, and how many processes it has."""
REGISTRY_OFFSET, REGISTRY_NODES = 70, 3
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0

ORRERY = Path(sys.executable).parent / "orrery"


class ClusterFailed(Exception):
    """A cluster did not start, or did not do what it was told. Carries what its processes said."""


def wait_for(what: str, probe: Callable[[], bool], seconds_max: float, every: float = 0.05) -> None:
    """Polls until `probe` says yes; fails with `what` when the time is over."""
    deadline = time.monotonic() + seconds_max
    while not probe():
        if time.monotonic() > deadline:
            raise ClusterFailed(f"not within {seconds_max:g} s: {what}")
        time.sleep(every)


def free_port_base() -> int:
    """Returns a port N such that every port that a three-node cluster takes from N on is free just now.

    The range lies beneath the kernel's ephemeral ports, so that no outgoing connection can take one in between.
    """
    for _ in range(200):
        base = random.randrange(12000, 32000, 100)
        services = ((0, len(NODES)), (LOCK_OFFSET, LOCK_NODES), (REGISTRY_OFFSET, REGISTRY_NODES))
        offsets = [first + PORTS_PER_NODE * node for first, nodes in services for node in range(nodes)]
        wanted = [base + offset + port for offset in offsets for port in range(PORTS_USED)]
        with contextlib.ExitStack() as stack:
            try:
                for port in wanted:
                    listener = stack.enter_context(socket.socket())
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(("127.0.0.1", port))
                    stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise ClusterFailed("no free range of ports between 12000 and 32000")


class Cluster(Protocol):
    """What the suites need of a cluster."""

    name: str

    @property
    def client_addresses(self) -> list[str]:
        """`host:port` of every member's client port, in the order of `NODES`."""

    @property
    def peer_addresses(self) -> list[str]:
        """`host:port` of every member's peer port, in the order of `NODES`."""

    def pid(self, node: str) -> int:
        """The process id of a running member."""

    def kill(self, *nodes: str) -> None:
        """Ends members with SIGKILL at the same moment, and returns when they are gone."""

    def start(self, *nodes: str) -> None:
        """Starts members that are down, on the data that they left. Returns when they accept connections."""

    def stop(self, node: str) -> None:
        """Asks a member to end, and returns when it has."""

    def close(self) -> None:
        """Ends everything."""


def accepts(address: str) -> bool:
    """Whether something listens there."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def refuses(address: str) -> bool:
    """Whether nothing listens there."""
    return not accepts(address)


def addresses(base: int, offset: int) -> list[str]:
    """The addresses of one kind of port, in the order of `NODES`."""
    return [f"127.0.0.1:{base + PORTS_PER_NODE * index + offset}" for index in range(len(NODES))]


class EtcdCluster:
    """Debian's etcd-server, three members."""

    def __init__(self, folder: Path, *flags: str, name: str = "etcd") -> None:
        self.name = name
        self._folder = folder
        self._flags = flags
        self._base = free_port_base()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.start(*NODES)
        except BaseException:
            self.close()
            raise

    @property
    def client_addresses(self) -> list[str]:
        return addresses(self._base, 0)

    @property
    def peer_addresses(self) -> list[str]:
        return addresses(self._base, 1)

    def pid(self, node: str) -> int:
        return self._processes[node].pid

    def start(self, *nodes: str) -> None:
        members = ",".join(f"{node}=http://{address}" for node, address in zip(NODES, self.peer_addresses, strict=True))
        for node in nodes:
            client = "http://" + self.client_addresses[NODES.index(node)]
            peer = "http://" + self.peer_addresses[NODES.index(node)]
            with (self._folder / f"{node}.log").open("ab") as log:
                self._processes[node] = subprocess.Popen(
                    [
                        "etcd",
                        *("--name", node, "--data-dir", str(self._folder / node)),
                        *("--listen-client-urls", client, "--advertise-client-urls", client),
                        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                        *("--initial-cluster", members, "--initial-cluster-token", self._folder.name),
                        *("--initial-cluster-state", "new", "--logger", "zap"),
                        *self._flags,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # What the machine has set for a cluster of its own must not reach this one.
                    env={key: value for key, value in os.environ.items() if not key.startswith("ETCD")},
                )
        for node in nodes:
            address = self.client_addresses[NODES.index(node)]
            wait_for(f"{self.name} {node} accepts connections", partial(accepts, address), START_SECONDS_MAX)

    def kill(self, *nodes: str) -> None:
        for node in nodes:
            self._processes[node].kill()
        for node in nodes:
            self._processes.pop(node).wait(STOP_SECONDS_MAX)

    def stop(self, node: str) -> None:
        process = self._processes.pop(node)
        process.terminate()
        process.wait(STOP_SECONDS_MAX)

    def close(self) -> None:
        self.kill(*self._processes)


class OrreryCluster:
    """Orrery's kv service, three members, as a user starts it: by `orrery up --detach`; with others if wanted."""

    def __init__(self, folder: Path, name: str = "orrery", services: str = "kv") -> None:
        self.name = name
        self._services = services
        self._folder = folder
        self._base = free_port_base()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.command("up", "--services", self._services, "--port-base", str(self._base), "--detach")
        except BaseException:
            self.close()
            raise

    def command(self, *arguments: str) -> str:
        """Runs one `orrery` command on this cluster's data, and returns what it printed."""
        done = subprocess.run(
            [str(ORRERY), *arguments, "--data-dir", str(self._folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS_MAX,
            check=False,
            env={key: value for key, value in os.environ.items() if not key.startswith("ORRERY_")},
        )
        if done.returncode != 0:
            raise ClusterFailed(
                f"orrery {' '.join(arguments)} exited {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
            )
        return done.stdout

    def logs(self) -> str:
        """The last lines of every log in the data folder, for a report of a failure."""
        parts = []
        for path in sorted(self._folder.rglob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-15:]
            parts.append("\n".join([f"--- {path.relative_to(self._folder)}", *lines]))
        return "\n".join(parts)

    def status(self) -> list[dict[str, Any]]:
        """What `orrery status --json` tells."""
        rows: list[dict[str, Any]] = json.loads(self.command("status", "--json"))
        return rows

    def _rows(self) -> Iterator[tuple[str, int]]:
        for row in self.status():
            if row["pid"]:
                yield str(row["node"]), int(row["pid"])

    @property
    def client_addresses(self) -> list[str]:
        return addresses(self._base, 0)

    @property
    def peer_addresses(self) -> list[str]:
        return addresses(self._base, 1)

    @property
    def lock_addresses(self) -> list[str]:
        """`host:port` of the lock processes' client ports."""
        return [f"127.0.0.1:{self._base + LOCK_OFFSET + PORTS_PER_NODE * index}" for index in range(LOCK_NODES)]

    @property
    def registry_addresses(self) -> list[str]:
        """`host:port` of the registry processes' client ports."""
        return [f"127.0.0.1:{self._base + REGISTRY_OFFSET + PORTS_PER_NODE * index}" for index in range(REGISTRY_NODES)]

    def pid(self, node: str) -> int:
        return dict(self._rows())[node]

    def kill(self, *nodes: str) -> None:
        pids = dict(self._rows())
        # By signal rather than by `orrery kill`: the members must fall at the same moment, not one by one.
        for node in nodes:
            os.kill(pids[node], signal.SIGKILL)
        for node in nodes:
            address = self.client_addresses[NODES.index(node)]
            wait_for(f"{node} is gone", partial(refuses, address), STOP_SECONDS_MAX)

    def start(self, *nodes: str) -> None:
        if set(nodes) == set(NODES):
            # Everybody at once, as a user does it after a power loss: a lone member has nobody to be ready with.
            self.command("up", "--services", self._services, "--port-base", str(self._base), "--detach")
        else:
            for node in nodes:
                self.command("start", node)
        for node in nodes:
            address = self.client_addresses[NODES.index(node)]
            wait_for(f"{node} accepts connections", partial(accepts, address), START_SECONDS_MAX)

    def stop(self, node: str) -> None:
        self.command("stop", node)

    def data_folder(self, node: str) -> Path:
        """Where a member keeps what it stores."""
        return next(Path(row["data_dir"]) for row in self.status() if row["node"] == node)

    def info(self, node: str) -> dict[str, Any]:
        """What a running process says of itself on `/info`."""
        admin = next(row["endpoints"]["admin"] for row in self.status() if row["node"] == node)
        with urllib.request.urlopen(f"{admin}/info", timeout=5) as answer:
            document: dict[str, Any] = json.load(answer)
        return document

    def kill_processes(self, *nodes: str) -> None:
        """Ends processes of any service with SIGKILL, by their ids."""
        pids = dict(self._rows())
        for node in nodes:
            os.kill(pids[node], signal.SIGKILL)

    def role(self, node: str) -> str:
        """What `orrery status` tells of a member: `leader`, `follower`, `recovering`; empty when it does not run."""
        return next(str(row["role"]) for row in self.status() if row["node"] == node)

    def close(self) -> None:
        with contextlib.suppress(ClusterFailed, subprocess.TimeoutExpired):
            self.command("down")
            return
        # Whatever `down` could not end must not outlive the test that started it.
        with contextlib.suppress(ClusterFailed, subprocess.TimeoutExpired, ProcessLookupError):
            for _, pid in self._rows():
                os.kill(pid, signal.SIGKILL)


def missing_for_etcd() -> str | None:
    """Names what this machine lacks to run the oracle, or None."""
    if shutil.which("etcd") is None:
        return "etcd not found: apt-get install etcd-server"
    return None


def missing_for_etcdctl() -> str | None:
    """Names what this machine lacks to run etcd's command line client, or None."""
    if shutil.which("etcdctl") is None:
        return "etcdctl not found: apt-get install etcd-client"
    return None


def missing_for_orrery() -> str | None:
    """Names what this checkout lacks to start Orrery, or None."""
    if not ORRERY.exists():
        return f"{ORRERY} not found: make setup"
    return None
