"""Consul's Go client, which most programs that speak to Consul are built on, works with Orrery's registry.

Method: `go/session.go` is compiled against the published module; it checks, and prints what came of it.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conformance.clusters import OrreryCluster

SOURCE = Path(__file__).parent / "go" / "session.go"
CHECKS = re.findall(r'^\t\t"(\w+)": +\w+,$', SOURCE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def results(served: OrreryCluster, go_clients: str) -> dict[str, str]:
    addresses = served.registry_addresses
    done = subprocess.run(
        [go_clients, "session", addresses[0], addresses[-1]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_orrery(check: str, results: dict[str, str]) -> None:
    assert results[check] == "ok"
