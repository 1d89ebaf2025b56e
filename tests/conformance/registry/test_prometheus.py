"""A real Prometheus finds all processes of a running cluster, in both ways, and scrapes each of them.

Goal: what `orrery up` starts is monitored by what people have, with nothing listed by hand.

Method: Debian's prometheus with two jobs, one by HTTP service discovery and one by Consul's, both asking the registry
for the admin ports; until each process is up in each job. Then an instance that a client registers and takes away
again must come and go. Debian builds its prometheus without Consul's discovery: then the published code of that
discovery is compiled by itself (`go/discover.go`), and Prometheus reads what it finds from a file.
"""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.clusters import OrreryCluster, wait_for
from tests.conformance.registry.conftest import PROCESSES

START_S_MAX = 30.0
FOUND_S_MAX = 60.0
JOBS = ("by-http", "by-consul")

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: by-http
    http_sd_configs: [{{url: "http://{http}/v1/sd/prometheus?port=admin", refresh_interval: 1s}}]
    relabel_configs:
      - {{source_labels: [__meta_orrery_node], target_label: node}}
      - {{source_labels: [__meta_orrery_service], target_label: service}}
  - job_name: by-consul
    {discovery}
    relabel_configs:
      - {{source_labels: [__meta_consul_service_metadata_admin], action: keep, regex: .+}}
      - {{source_labels: [__meta_consul_service_metadata_admin], target_label: __address__}}
      - {{source_labels: [__meta_consul_node], target_label: node}}
      - {{source_labels: [__meta_consul_service], target_label: service}}
"""


class Prometheus:
    def __init__(self, folder: Path, served: OrreryCluster, discovery: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(http=served.registry_addresses[0], discovery=discovery))
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.address}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for("prometheus is ready", self._is_ready, START_S_MAX)
        except BaseException:
            self.close()
            raise

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self.log()
        try:
            return bool(self._get("/-/ready"))
        except OSError:
            return False

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            body: bytes = answer.read()
        return body

    def log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])

    def targets(self, job: str) -> dict[str, str]:
        """The health of each target of a job, by the node's name."""
        found: list[dict[str, Any]] = json.loads(self._get("/api/v1/targets?state=active"))["data"]["activeTargets"]
        return {target["labels"].get("node", ""): target["health"] for target in found if target["scrapePool"] == job}

    def query(self, expression: str) -> list[dict[str, Any]]:
        document = json.loads(self._get(f"/api/v1/query?query={urllib.parse.quote(expression)}"))
        result: list[dict[str, Any]] = document["data"]["result"]
        return result

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def knows_consul(folder: Path) -> bool:
    """Whether this prometheus was built with Consul's discovery."""
    config = folder / "consul.yml"
    config.write_text("scrape_configs: [{job_name: a, consul_sd_configs: [{server: localhost}]}]\n")
    checked = subprocess.run(["promtool", "check", "config", str(config)], capture_output=True, check=False, timeout=30)
    return checked.returncode == 0


@pytest.fixture(scope="module")
def discovery(
    served: OrreryCluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The line of the configuration that finds targets as Consul's."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus not found: apt-get install prometheus")
    folder, address = tmp_path_factory.mktemp("discovery"), served.registry_addresses[-1]
    if knows_consul(folder):
        yield f'consul_sd_configs: [{{server: "{address}", refresh_interval: 1s}}]'
        return
    found = folder / "found.json"
    found.write_text("[]")
    go_clients: str = request.getfixturevalue("go_clients")
    with (folder / "discover.log").open("wb") as log:
        process = subprocess.Popen([go_clients, "discover", address, str(found)], stdin=subprocess.DEVNULL, stderr=log)
    try:
        yield f'file_sd_configs: [{{files: ["{found}"], refresh_interval: 1s}}]'
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def prometheus(served: OrreryCluster, discovery: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    running = Prometheus(tmp_path_factory.mktemp("prometheus"), served, discovery)
    yield running
    running.close()


def put(address: str, path: str, body: object) -> None:
    request = urllib.request.Request(f"http://{address}{path}", json.dumps(body).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("job", JOBS)
def test_every_process_is_found_and_scraped(prometheus: Prometheus, job: str) -> None:
    wanted = dict.fromkeys(PROCESSES, "up")
    try:
        wait_for(f"all targets of {job} are up", lambda: prometheus.targets(job) == wanted, FOUND_S_MAX)
    except Exception as error:
        raise AssertionError(f"{error}: {prometheus.targets(job)}\n{prometheus.log()}") from error
    services = {name.rpartition("-")[0] for name in PROCESSES}
    expression = f'count by (service) (up{{job="{job}"}} == 1)'
    wait_for(
        "the samples carry the service",
        lambda: {series["metric"]["service"] for series in prometheus.query(expression)} == services,
        FOUND_S_MAX,
    )


@pytest.mark.parametrize("job", JOBS)
def test_an_instance_comes_and_goes(prometheus: Prometheus, served: OrreryCluster, job: str) -> None:
    admin = f"127.0.0.1:{prometheus.address.rpartition(':')[2]}"  # something that has /metrics
    name = f"guest-{job}"
    instance = {"Service": name, "Port": 1, "Meta": {"admin": admin}}
    put(
        served.registry_addresses[1],
        "/v1/catalog/register",
        {"Node": name, "Address": "127.0.0.1", "Service": instance},
    )
    wait_for("it is scraped", lambda: prometheus.targets(job).get(name) == "up", FOUND_S_MAX)
    put(served.registry_addresses[2], "/v1/catalog/deregister", {"Node": name})
    wait_for("it is gone", lambda: name not in prometheus.targets(job), FOUND_S_MAX)
