"""The cluster of docker-compose.yml: it starts, serves, outlives a container, and keeps its data.

Goal: what `docker compose up` starts is the same cluster as `make up`.

Method: the image that `make image` built, on ports of its own; etcdctl from outside. One container is killed while
the others serve, then all are killed and started again; whatever was acknowledged must be there.
"""

import asyncio
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cluster.clients.lock import Locks
from runtime.real import StreamNet, SystemClock, SystemRandomness
from tests.conformance.clusters import (
    LOCK_NODES,
    LOCK_OFFSET,
    NODES,
    REGISTRY_NODES,
    REGISTRY_OFFSET,
    free_port_base,
    missing_for_etcdctl,
    wait_for,
)

ROOT = Path(__file__).resolve().parents[2]
IMAGE = os.environ.get("ORRERY_IMAGE", "orrery:local")
LOCKS = ("lock-1", "lock-2")
REGISTRIES = ("registry-1", "registry-2", "registry-3")
HEALTHY_SECONDS_MAX = 120.0
SERVING_SECONDS_MAX = 20.0
COMMAND_SECONDS_MAX = 180.0

pytestmark = pytest.mark.timeout(600)


def run(*command: str, env: dict[str, str] | None = None, check: bool = True) -> str:
    """Runs a command, and returns what it printed; what it complained of is in the error."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout if done.returncode == 0 else ""


def compose_command() -> list[str] | None:
    """Compose v2 if Docker has it, or docker-compose 1.29."""
    if shutil.which("docker") and run("docker", "compose", "version", check=False):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


class Compose:
    """The cluster of docker-compose.yml, as a project of its own."""

    def __init__(self, command: list[str]) -> None:
        base = free_port_base()
        self._command = [*command, "--project-name", f"orrery-test-{os.getpid()}"]
        self.endpoints = [f"127.0.0.1:{base + 10 * index}" for index in range(len(NODES))]
        self._env = {"ORRERY_IMAGE": IMAGE}
        for index in range(len(NODES)):
            self._env[f"ORRERY_KV_{index + 1}_PORT"] = str(base + 10 * index)
            self._env[f"ORRERY_KV_{index + 1}_ADMIN_PORT"] = str(base + 10 * index + 2)
        self.lock_endpoints = [f"127.0.0.1:{base + LOCK_OFFSET + 10 * index}" for index in range(LOCK_NODES)]
        for index in range(LOCK_NODES):
            self._env[f"ORRERY_LOCK_{index + 1}_PORT"] = str(base + LOCK_OFFSET + 10 * index)
            self._env[f"ORRERY_LOCK_{index + 1}_ADMIN_PORT"] = str(base + LOCK_OFFSET + 10 * index + 2)
        self.registry_bases = [base + REGISTRY_OFFSET + 10 * index for index in range(REGISTRY_NODES)]
        for index, first in enumerate(self.registry_bases):
            self._env[f"ORRERY_REGISTRY_{index + 1}_PORT"] = str(first)
            self._env[f"ORRERY_REGISTRY_{index + 1}_ADMIN_PORT"] = str(first + 2)
            self._env[f"ORRERY_REGISTRY_{index + 1}_DNS_PORT"] = str(first + 4)

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Runs one compose command."""
        return run(*self._command, *arguments, env=self._env, check=check)

    def container(self, node: str) -> str:
        """The id of a node's container."""
        return self("ps", "--all", "--quiet", node).strip()

    def health(self, node: str) -> str:
        """What Docker's health check says of a node: starting, healthy, unhealthy; or that it does not run."""
        state = json.loads(run("docker", "inspect", self.container(node)))[0]["State"]
        return str(state["Health"]["Status"]) if state["Running"] else "not running"

    def wait_until_healthy(self, *nodes: str) -> None:
        """Waits for the health checks."""
        try:
            wait_for(
                f"{', '.join(nodes)} are healthy",
                lambda: all(self.health(node) == "healthy" for node in nodes),
                HEALTHY_SECONDS_MAX,
                every=0.5,
            )
        except Exception as error:
            raise AssertionError(f"{error}\n{self('logs', '--tail', '40', check=False)}") from error

    def kill(self, *nodes: str) -> None:
        """Ends containers with SIGKILL."""
        run("docker", "kill", "--signal", "KILL", *(self.container(node) for node in nodes))

    def etcdctl(self, *arguments: str, endpoints: list[str] | None = None) -> str:
        """Runs etcdctl on this machine against the published ports; empty when it fails."""
        names = ",".join(endpoints or self.endpoints)
        return run("etcdctl", "--endpoints", names, *arguments, env={"ETCDCTL_API": "3"}, check=False)

    def put(self, key: str, value: str, endpoints: list[str] | None = None) -> None:
        """Puts until it is acknowledged: right after a failure, a member may still be without a leader."""
        wait_for(
            f"put {key}",
            lambda: self.etcdctl("put", key, value, endpoints=endpoints) == "OK\n",
            SERVING_SECONDS_MAX,
        )

    def get(self, key: str, endpoints: list[str] | None = None) -> str:
        """The value of a key."""
        return self.etcdctl("get", key, "--print-value-only", endpoints=endpoints).rstrip("\n")

    def health_of(self, service: str, registry: int) -> dict[str, str]:
        """The worst check of each instance, by node, as one process of the registry tells it; empty when it cannot."""
        url = f"http://127.0.0.1:{self.registry_bases[registry]}/v1/health/service/{service}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                entries = json.load(answer)
        except OSError:
            return {}
        order = ("passing", "warning", "critical")
        return {
            entry["Node"]["Node"]: max((check["Status"] for check in entry["Checks"]), key=order.index)
            for entry in entries
        }


LOCK = "compose-lock"
"""Not the prefix of the keys that are put here: whatever is below a lock's name stands in its queue."""


async def token_of(name: str, endpoints: list[str]) -> int:
    """Takes a lock and gives it back."""
    clock, random, net = SystemClock(), SystemRandomness(), StreamNet()
    async with Locks(endpoints, clock=clock, random=random, net=net) as locks:
        async with locks.hold(name, wait_s=SERVING_SECONDS_MAX) as grant:
            return grant.token


@pytest.fixture
def compose() -> Iterator[Compose]:
    if reason := missing_for_etcdctl():
        pytest.skip(reason)
    command = compose_command()
    if command is None:
        pytest.skip("neither `docker compose` nor docker-compose found: apt-get install docker.io docker-compose")
    if not run("docker", "info", check=False):
        pytest.skip("no Docker engine answers")
    if not run("docker", "image", "inspect", IMAGE, check=False):
        pytest.skip(f"no image {IMAGE}: make image")
    cluster = Compose(command)
    try:
        yield cluster
    finally:
        cluster("down", "--volumes", "--timeout", "5", check=False)


def knows(compose: Compose, registry: int, service: str, health: dict[str, str]) -> bool:
    return compose.health_of(service, registry) == health


def test_the_cluster_of_containers(compose: Compose) -> None:
    compose("up", "--detach", "--no-build")
    compose.wait_until_healthy(*NODES, *LOCKS, *REGISTRIES)

    # Every process has registered itself, and is well; DNS tells where they are, by UDP and TCP.
    for service, nodes in {"kv": NODES, "lock": LOCKS, "registry": REGISTRIES}.items():
        for number in range(len(REGISTRIES)):
            wait_for(
                f"registry-{number + 1} knows {service}",
                partial(knows, compose, number, service, dict.fromkeys(nodes, "passing")),
                SERVING_SECONDS_MAX,
            )
    if shutil.which("dig"):
        for transport in ("+notcp", "+tcp"):
            question = ("@127.0.0.1", "-p", str(compose.registry_bases[0] + 4), transport, "+short")
            answers = run("dig", *question, "lock.service.consul", "SRV").splitlines()
            assert [answer.split()[2] for answer in answers] == ["2379", "2379"]

    # Every member serves, and all of them are one cluster.
    for number, endpoint in enumerate(compose.endpoints):
        compose.put(f"compose/{number}", f"value {number}", [endpoint])
    for number in range(len(NODES)):
        for endpoint in compose.endpoints:
            assert compose.get(f"compose/{number}", [endpoint]) == f"value {number}"
    listed = json.loads(compose.etcdctl("member", "list", "-w", "json"))["members"]
    assert sorted(member["name"] for member in listed) == list(NODES)

    # The process is not root, and its data are its own.
    assert run("docker", "exec", compose.container("kv-1"), "id", "-u").strip() not in ("", "0")

    # A lock process is killed: the other one goes on.
    first = asyncio.run(token_of(LOCK, compose.lock_endpoints))
    compose.kill("lock-1")
    assert asyncio.run(token_of(LOCK, compose.lock_endpoints)) > first
    # Its death is heard of by the membership, and the registry says so.
    wait_for(
        "lock-1 is critical",
        partial(knows, compose, 1, "lock", {"lock-1": "critical", "lock-2": "passing"}),
        SERVING_SECONDS_MAX,
    )

    # One is killed: the others serve.
    compose.kill("kv-2")
    others = [compose.endpoints[0], compose.endpoints[2]]
    compose.put("compose/without-kv-2", "served", others)
    assert compose.get("compose/without-kv-2", others) == "served"
    compose("up", "--detach", "--no-build")
    compose.wait_until_healthy(*NODES)
    assert compose.get("compose/without-kv-2", [compose.endpoints[1]]) == "served"

    # All are killed: what was acknowledged is there.
    compose.put("compose/last", "acknowledged")
    compose.kill(*NODES)
    compose("up", "--detach", "--no-build")
    compose.wait_until_healthy(*NODES)
    for endpoint in compose.endpoints:
        assert compose.get("compose/last", [endpoint]) == "acknowledged"
        assert compose.get("compose/0", [endpoint]) == "value 0"
    compose.put("compose/after", "written")
    assert compose.get("compose/after") == "written"
