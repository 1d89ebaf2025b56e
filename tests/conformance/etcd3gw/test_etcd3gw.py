"""etcd3gw, a client of the JSON gateway from PyPI, works with Orrery as with etcd.

Goal: a program that somebody wrote for etcd runs unchanged.

Method: `session.py` is run by the Python of an environment of its own, since two copies of etcd's protos cannot
share a process; it asserts, and prints what came of it. Against etcd first: a check that etcd fails checks nothing.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conformance.clusters import Cluster

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / "build" / "clients" / "bin" / "python"
SESSION = Path(__file__).parent / "session.py"
CHECKS = [
    line.split("def ")[1].split("(")[0] for line in SESSION.read_text().splitlines() if line.startswith("def check_")
]


def run(cluster: Cluster, member: int) -> dict[str, str]:
    """Runs the session by way of one member."""
    if not PYTHON.exists():
        pytest.skip(f"etcd3gw not found in {PYTHON.parent.parent.relative_to(ROOT)}: make clients")
    done = subprocess.run(
        [str(PYTHON), str(SESSION), cluster.client_addresses[member]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, str] = json.loads(done.stdout)
    return results


@pytest.fixture(scope="module")
def by_etcd(etcd: Cluster) -> dict[str, str]:
    return run(etcd, 0)


@pytest.fixture(scope="module")
def by_orrery(orrery: Cluster) -> dict[str, str]:
    return run(orrery, 0)


@pytest.mark.parametrize("check", CHECKS)
def test_etcd(check: str, by_etcd: dict[str, str]) -> None:
    assert by_etcd[check] == "ok"


@pytest.mark.parametrize("check", CHECKS)
def test_orrery(check: str, by_orrery: dict[str, str]) -> None:
    assert by_orrery[check] == "ok"


def test_every_member_of_orrery_serves(orrery: Cluster, by_orrery: dict[str, str]) -> None:
    """The leader and the followers alike."""
    for member in (1, 2):
        results = run(orrery, member)
        assert {check: result for check, result in results.items() if result != "ok"} == {}
    assert len(by_orrery) == len(CHECKS)
