"""py-consul, Consul's Python client from PyPI, works with Orrery's registry.

Goal: a program that somebody wrote for Consul runs unchanged, whichever process it asks.

Method: `session.py` is run by the Python of the clients' own environment; it asserts, and prints what came of it.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conformance.clusters import OrreryCluster

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / "build" / "clients" / "bin" / "python"
SESSION = Path(__file__).parent / "session.py"
CHECKS = [
    line.split("def ")[1].split("(")[0] for line in SESSION.read_text().splitlines() if line.startswith("def check_")
]


@pytest.fixture(scope="module")
def results(served: OrreryCluster) -> dict[str, str]:
    if not PYTHON.exists():
        pytest.skip(f"py-consul not found in {PYTHON.parent.parent.relative_to(ROOT)}: make clients")
    done = subprocess.run(
        [str(PYTHON), str(SESSION), *served.registry_addresses],
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
