"""What a cluster of real processes does when they are killed, paused and restarted under traffic.

Goal: no acknowledged write is ever lost, and while a majority lives the gap without service is short.

Method: eight clients put 200 keys a second through all members. When that is steady, the fault; when it has healed,
the traffic must be steady again, the members must converge, a write through each must succeed, and the history,
which was written before anybody judged it, must keep the promises of `judge`. The same ordeal is put to etcd, so
that a fault of the harness is not taken for one of the cluster.
"""

import os
import signal
from pathlib import Path

import pytest

from tests.chaos.ordeal import Ordeal, endure
from tests.conformance.clusters import NODES, Cluster

GAP_SECONDS_MAX = 3.0
"""The longest time without an acknowledged write when the leader dies."""
START_SECONDS_MAX = 3.0
"""What three processes may take to start, on two cores that do other things, too."""

pytestmark = pytest.mark.timeout(240)


async def kill_the_leader(ordeal: Ordeal) -> None:
    leader = await ordeal.leader()
    await ordeal.do("kill", ordeal.cluster.kill, leader)
    await ordeal.served()
    await ordeal.do("start", ordeal.cluster.start, leader)
    await ordeal.served()


async def kill_everybody(ordeal: Ordeal) -> None:
    await ordeal.do("kill", ordeal.cluster.kill, *NODES)
    await ordeal.do("start", ordeal.cluster.start, *NODES)
    await ordeal.served()


async def pause_the_leader(ordeal: Ordeal) -> None:
    leader = await ordeal.leader()
    pid = ordeal.cluster.pid(leader)
    ordeal.note(f"pause {leader}")
    os.kill(pid, signal.SIGSTOP)
    try:
        await ordeal.served()
    finally:
        ordeal.note(f"resume {leader}")
        os.kill(pid, signal.SIGCONT)
    await ordeal.served()


async def restart_one_by_one(ordeal: Ordeal) -> None:
    for node in NODES:
        await ordeal.do("stop", ordeal.cluster.stop, node)
        await ordeal.served()
        await ordeal.do("start", ordeal.cluster.start, node)
        await ordeal.served()


async def test_kill_of_the_leader(orrery: Cluster, tmp_path: Path) -> None:
    verdict = await endure(orrery, kill_the_leader, tmp_path / "history.jsonl")
    assert not verdict.faults, "\n".join(verdict.faults)
    assert verdict.gap_s_max < GAP_SECONDS_MAX


async def test_kill_of_everybody(orrery: Cluster, tmp_path: Path) -> None:
    verdict = await endure(orrery, kill_everybody, tmp_path / "history.jsonl")
    assert not verdict.faults, "\n".join(verdict.faults)
    assert verdict.gap_s_max < GAP_SECONDS_MAX + START_SECONDS_MAX


async def test_pause_of_the_leader(orrery: Cluster, tmp_path: Path) -> None:
    verdict = await endure(orrery, pause_the_leader, tmp_path / "history.jsonl")
    assert not verdict.faults, "\n".join(verdict.faults)
    assert verdict.gap_s_max < GAP_SECONDS_MAX + 1.0, (
        "the members' own timeouts, and a client's deadline before it moves"
    )


async def test_rolling_restart(orrery: Cluster, tmp_path: Path) -> None:
    verdict = await endure(orrery, restart_one_by_one, tmp_path / "history.jsonl")
    assert not verdict.faults, "\n".join(verdict.faults)
    assert verdict.gap_s_max < GAP_SECONDS_MAX


async def test_the_harness_by_etcd(etcd: Cluster, tmp_path: Path) -> None:
    verdict = await endure(etcd, kill_the_leader, tmp_path / "history.jsonl")
    assert not verdict.faults, "\n".join(verdict.faults)
    # etcd's election takes up to two seconds by default; what is proven here is that the traffic survives it.
    assert verdict.gap_s_max < 2 * GAP_SECONDS_MAX
