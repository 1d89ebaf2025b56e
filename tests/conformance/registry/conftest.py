"""One cluster with all services, for the suites of the registry."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.clusters import (
    LOCK_NODES,
    NODES,
    REGISTRY_NODES,
    OrreryCluster,
    missing_for_orrery,
)

PROCESSES = (
    *NODES,
    *(f"lock-{number + 1}" for number in range(LOCK_NODES)),
    *(f"registry-{number + 1}" for number in range(REGISTRY_NODES)),
)
"""All that `orrery up` starts, by name."""
ROOT = Path(__file__).resolve().parents[3]
GO_BUILD_S_MAX = 400.0
"""The first build compiles Prometheus' discovery, too; later ones take a second."""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrreryCluster]:
    if reason := missing_for_orrery():
        pytest.skip(reason)
    cluster = OrreryCluster(tmp_path_factory.mktemp("registry"), services="kv,lock,registry")
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def go_clients() -> str:
    """Go's own clients, as a program: see `go/main.go`."""
    if shutil.which("go") is None:
        pytest.skip("go not found: Consul's Go client and Prometheus' discovery are left out")
    program = ROOT / "build" / "conformance" / "go-clients"
    built = subprocess.run(
        ["go", "build", "-o", str(program), "."],
        cwd=Path(__file__).parent / "go",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GO_BUILD_S_MAX,
        check=False,
    )
    if built.returncode != 0 and ("dial tcp" in built.stderr or "go.mod requires go" in built.stderr):
        pytest.skip(f"Go's clients could not be built: {built.stderr.splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    return str(program)
