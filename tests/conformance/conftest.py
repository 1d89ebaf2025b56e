"""One oracle and one Orrery for every conformance suite of a run, each started when the first test asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.clusters import (
    Cluster,
    EtcdCluster,
    OrreryCluster,
    missing_for_etcd,
    missing_for_etcdctl,
    missing_for_orrery,
)


@pytest.fixture(scope="session")
def etcdctl() -> None:
    """Skips what needs etcd's command line client, by name, where there is none."""
    if reason := missing_for_etcdctl():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The oracle: three members of Debian's etcd-server."""
    if reason := missing_for_etcd():
        pytest.skip(reason)
    cluster = EtcdCluster(tmp_path_factory.mktemp("etcd"))
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def orrery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The one under test: three members of Orrery's kv service."""
    if reason := missing_for_orrery():
        pytest.skip(reason)
    cluster = OrreryCluster(tmp_path_factory.mktemp("orrery"))
    yield cluster
    cluster.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder for the data of a cluster that a test starts for itself."""
    return tmp_path / "cluster"
