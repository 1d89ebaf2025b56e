"""One cluster with all services, for the suites of the registry."""

from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Served:
    """A running cluster, and where its registry is."""

    cluster: OrreryCluster

    @property
    def addresses(self) -> list[str]:
        """`host:port` of each registry process."""
        return [
            str(row["endpoints"]["consul"]).removeprefix("http://")
            for row in self.cluster.status()
            if row["service"] == "registry"
        ]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if reason := missing_for_orrery():
        pytest.skip(reason)
    cluster = OrreryCluster(tmp_path_factory.mktemp("registry"), services="kv,lock,registry")
    try:
        yield Served(cluster)
    finally:
        cluster.close()
