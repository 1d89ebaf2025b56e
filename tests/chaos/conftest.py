"""A cluster of its own for every ordeal: nothing that one test broke may help or hurt another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.clusters import Cluster, EtcdCluster, OrreryCluster, missing_for_etcd, missing_for_orrery


@pytest.fixture
def orrery(tmp_path: Path) -> Iterator[Cluster]:
    """Three kv nodes, started as a user starts them."""
    if reason := missing_for_orrery():
        pytest.skip(reason)
    cluster = OrreryCluster(tmp_path / "orrery")
    yield cluster
    cluster.close()


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Cluster]:
    """Three members of Debian's etcd-server."""
    if reason := missing_for_etcd():
        pytest.skip(reason)
    cluster = EtcdCluster(tmp_path / "etcd")
    yield cluster
    cluster.close()
