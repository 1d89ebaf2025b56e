"""A member of a cluster of real processes loses what it stored, or finds it damaged, and comes back by itself.

Method: as in `test_chaos`; under steady traffic a member is stopped, its data directory removed or bytes in the midst
of its log turned over, and it is started again under its name, with nobody's help. When it says that it takes part
again, another member is killed: from then on nothing is acknowledged without the one that came back.
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.ordeal import Ordeal, endure
from tests.chaos.test_chaos import GAP_SECONDS_MAX
from tests.conformance.clusters import NODES, Cluster, OrreryCluster

SETTLED_SECONDS_MAX = 30.0
DAMAGED_BYTES = 64

pytestmark = pytest.mark.timeout(240)


def lose(folder: Path) -> None:
    """The disk is gone."""
    shutil.rmtree(folder)


def damage(folder: Path) -> None:
    """Bytes in the midst of the log turn over, long after they were synced."""
    segment = min((folder / "raft" / "wal").iterdir())
    content = bytearray(segment.read_bytes())
    middle = len(content) // 2
    for place in range(middle, middle + DAMAGED_BYTES):
        content[place] ^= 0xFF
    segment.write_bytes(content)


async def settled(cluster: OrreryCluster, node: str) -> None:
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    while (role := await asyncio.to_thread(cluster.role, node)) not in ("leader", "follower"):
        assert time.monotonic() < deadline, f"{node} is still {role!r}"
        await asyncio.sleep(0.1)


async def come_back(ordeal: Ordeal, strike: Callable[[Path], None], *, leader: bool) -> None:
    cluster = ordeal.cluster
    assert isinstance(cluster, OrreryCluster)
    first = await ordeal.leader()
    followers = [node for node in NODES if node != first]
    struck, other = (first, followers[0]) if leader else followers
    folder = await asyncio.to_thread(cluster.data_folder, struck)
    await ordeal.do("stop", cluster.stop, struck)
    ordeal.note(f"{strike.__name__} {struck}")
    strike(folder)
    await ordeal.do("start", cluster.start, struck)
    await settled(cluster, struck)
    await ordeal.served()
    await ordeal.do("kill", cluster.kill, other)
    await ordeal.served()
    await ordeal.do("start", cluster.start, other)
    await ordeal.served()


async def test_loss_of_a_followers_disk(orrery: Cluster, tmp_path: Path) -> None:
    verdict = await endure(orrery, partial(come_back, strike=lose, leader=False), tmp_path / "history.jsonl")
    assert not verdict.faults, "\n".join(verdict.faults)
    assert verdict.gap_s_max < GAP_SECONDS_MAX


async def test_loss_of_the_leaders_disk(orrery: Cluster, tmp_path: Path) -> None:
    verdict = await endure(orrery, partial(come_back, strike=lose, leader=True), tmp_path / "history.jsonl")
    assert not verdict.faults, "\n".join(verdict.faults)
    assert verdict.gap_s_max < GAP_SECONDS_MAX


async def test_damage_within_a_log(orrery: Cluster, tmp_path: Path) -> None:
    verdict = await endure(orrery, partial(come_back, strike=damage, leader=False), tmp_path / "history.jsonl")
    assert not verdict.faults, "\n".join(verdict.faults)
    assert verdict.gap_s_max < GAP_SECONDS_MAX
    assert isinstance(orrery, OrreryCluster)
    kept = [orrery.data_folder(node) / "raft" / "condemned-1" / "reason" for node in NODES]
    assert sum(path.exists() for path in kept) == 1, "the damaged log is kept for the operator"
