"""Processes of a real cluster die, hang, end and are forgotten, and come back: the registry says so.

Goal: whoever asks the registry, by HTTP or DNS, is not sent to a process that is not there.

Method: the whole cluster as a user starts it. One process after another is killed by its id, paused, stopped, or taken
out of the catalogue behind its back; each time all processes of the registry that live are asked until they agree.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.clusters import OrreryCluster, missing_for_orrery, wait_for

NODES = {
    "kv": ("kv-1", "kv-2", "kv-3"),
    "lock": ("lock-1", "lock-2"),
    "registry": ("registry-1", "registry-2", "registry-3"),
}
REGISTERED_SECONDS_MAX = 20.0
CRITICAL_SECONDS_MAX = 25.0
"""Membership takes about 6 s at eight members, the registry a moment more; a busy machine needs longer."""
GONE_SECONDS_MAX = 5.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OrreryCluster]:
    if reason := missing_for_orrery():
        pytest.skip(reason)
    made = OrreryCluster(tmp_path / "orrery", services="lock,registry")
    yield made
    made.close()


class Catalogue:
    """The processes of the registry, as their clients see them."""

    def __init__(self, cluster: OrreryCluster) -> None:
        rows = json.loads(cluster.command("status", "--json"))
        self.addresses = {row["node"]: row["endpoints"]["consul"] for row in rows if row["service"] == "registry"}
        self.dns = {row["node"]: row["endpoints"]["dns"] for row in rows if row["service"] == "registry"}

    def ask(self, registry: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        method = "GET" if body is None else "PUT"
        request = urllib.request.Request(f"{self.addresses[registry]}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def health(self, registry: str, service: str) -> dict[str, str]:
        """The worst check of each instance, by node."""
        order = ("passing", "warning", "critical")
        return {
            entry["Node"]["Node"]: max((check["Status"] for check in entry["Checks"]), key=order.index)
            for entry in self.ask(registry, f"/v1/health/service/{service}")
        }

    def all_say(self, service: str, health: dict[str, str], *, but: str = "") -> bool:
        """Whether all of them say just that; one that is known to be dead is not asked."""
        try:
            return all(self.health(registry, service) == health for registry in self.addresses if registry != but)
        except urllib.error.HTTPError as error:
            if error.code not in (500, 503):
                raise
            return False

    def ports_by_dns(self, registry: str, service: str) -> set[int]:
        """The ports of SRV records."""
        host, port = self.dns[registry].rsplit(":", 1)
        question = ("dig", f"@{host}", "-p", port, "+short", f"{service}.service.consul", "SRV")
        done = subprocess.run(question, capture_output=True, text=True, check=True, timeout=20)
        return {int(line.split()[2]) for line in done.stdout.splitlines()}


def passing(service: str, **others: str) -> dict[str, str]:
    """All instances of a service are well, but `others`, named as `kv_1`."""
    return dict.fromkeys(NODES[service], "passing") | {node.replace("_", "-"): said for node, said in others.items()}


def test_the_registry_says_who_is_there(cluster: OrreryCluster) -> None:
    catalogue = Catalogue(cluster)

    def wait(what: str, service: str, health: dict[str, str], seconds_max: float, *, but: str = "") -> None:
        begun_s = time.monotonic()
        wait_for(what, partial(catalogue.all_say, service, health, but=but), seconds_max, every=0.1)
        print(f"{what}: {time.monotonic() - begun_s:.1f} s")

    for service in NODES:
        wait(f"all of {service} are registered", service, passing(service), REGISTERED_SECONDS_MAX)

    # Killed: the membership hears of it.
    for victim, service in (("lock-1", "lock"), ("kv-2", "kv")):
        cluster.kill_processes(victim)
        dead = passing(service, **{victim.replace("-", "_"): "critical"})
        wait(f"{victim} was killed", service, dead, CRITICAL_SECONDS_MAX)
        if shutil.which("dig"):
            living = len(NODES[service]) - 1
            assert len(catalogue.ports_by_dns("registry-1", service)) == living
        cluster.command("start", victim)
        wait(f"{victim} is back", service, passing(service), REGISTERED_SECONDS_MAX)

    # One of the registry itself: those that reported to it go on at another.
    cluster.kill_processes("registry-1")
    dead = passing("registry", registry_1="critical")
    wait("registry-1 was killed", "registry", dead, CRITICAL_SECONDS_MAX, but="registry-1")
    for service in ("kv", "lock"):
        wait(f"{service} reports to others", service, passing(service), REGISTERED_SECONDS_MAX, but="registry-1")
    cluster.command("start", "registry-1")
    wait("registry-1 is back", "registry", passing("registry"), REGISTERED_SECONDS_MAX)

    # Hanging: it is there for the kernel, and for nobody else.
    pid = cluster.pid("lock-2")
    os.kill(pid, signal.SIGSTOP)
    try:
        wait("lock-2 hangs", "lock", passing("lock", lock_2="critical"), CRITICAL_SECONDS_MAX)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait("lock-2 goes on", "lock", passing("lock"), REGISTERED_SECONDS_MAX)

    # Forgotten: it registers again.
    assert catalogue.ask("registry-2", "/v1/catalog/deregister", {"Node": "kv-1", "ServiceID": "kv-1"}) is True
    wait("kv-1 was forgotten", "kv", passing("kv"), REGISTERED_SECONDS_MAX)

    # Stopped by its operator: it is gone, and not dead.
    cluster.command("stop", "lock-2")
    wait("lock-2 was stopped", "lock", {"lock-1": "passing"}, GONE_SECONDS_MAX)
