"""A real Prometheus (Debian's) finds every process by the registry's HTTP service discovery, and scrapes it.

Method: the whole cluster as a user starts it, and Prometheus with `deploy/prometheus/local.yml`, with the ports of this
cluster in place of its own.
"""

import json
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.clusters import ClusterFailed, OrreryCluster, free_port_base, missing_for_orrery, wait_for

CONFIG = Path(__file__).resolve().parents[3] / "deploy" / "prometheus" / "local.yml"
NODES = ("kv-1", "kv-2", "kv-3", "lock-1", "lock-2", "registry-1", "registry-2", "registry-3")
SCRAPED_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0

pytestmark = pytest.mark.timeout(240)


class Prometheus:
    """The server, and what it is asked."""

    def __init__(self, folder: Path, config: str) -> None:
        folder.mkdir()
        (folder / "prometheus.yml").write_text(config)
        self.address = f"127.0.0.1:{free_port_base()}"
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.address}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of its API."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]

    def up(self) -> dict[str, str]:
        """Whether each node is scraped, by its name: "1" or "0"."""
        try:
            result = self.ask("query", query="up")["result"]
        except OSError:
            return {}
        return {series["metric"]["node"]: series["value"][1] for series in result}

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        finally:
            self._process.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OrreryCluster]:
    if reason := missing_for_orrery():
        pytest.skip(reason)
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus not found: apt-get install prometheus")
    made = OrreryCluster(tmp_path / "orrery", services="lock,registry")
    yield made
    made.close()


@pytest.fixture
def prometheus(cluster: OrreryCluster, tmp_path: Path) -> Iterator[Prometheus]:
    config = CONFIG.read_text()
    rows = {row["node"]: row["endpoints"] for row in json.loads(cluster.command("status", "--json"))}
    for number in (1, 2, 3):
        example = f"http://127.0.0.1:{23850 + 10 * number}/"
        assert example in config
        config = config.replace(example, f"{rows[f'registry-{number}']['consul']}/")
    made = Prometheus(tmp_path / "prometheus", config.replace("scrape_interval: 5s", "scrape_interval: 1s"))
    yield made
    made.close()


def test_prometheus_scrapes_every_process(cluster: OrreryCluster, prometheus: Prometheus) -> None:
    try:
        wait_for("all are scraped", lambda: prometheus.up() == dict.fromkeys(NODES, "1"), SCRAPED_SECONDS_MAX)
    except ClusterFailed as error:
        raise AssertionError(f"{error}: {prometheus.up()}") from error
    # One series a process, though three tell of it.
    assert len(prometheus.ask("targets")["activeTargets"]) == len(NODES)
    living = prometheus.ask("query", query='orrery_membership_members{status="alive"}')["result"]
    assert {series["metric"]["node"]: series["value"][1] for series in living} == dict.fromkeys(NODES, str(len(NODES)))
    registered = prometheus.ask("query", query="sum by (service) (orrery_registration_registered)")["result"]
    assert {series["metric"]["service"]: series["value"][1] for series in registered} == {
        "kv": "3",
        "lock": "2",
        "registry": "3",
    }
    # One that dies is still asked for, and found to be down.
    cluster.kill_processes("lock-2")
    wait_for("lock-2 is down", lambda: prometheus.up().get("lock-2") == "0", SCRAPED_SECONDS_MAX)
