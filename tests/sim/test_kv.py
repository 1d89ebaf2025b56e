"""The real kv service stays linearizable and comes back, whatever the seed does to it.

Method: see orrery.sim.kv.scenarios. Every run ends with all faults healed, every member serving and all members equal.
The judge is itself judged in test_safeguards.py.
"""

import asyncio
import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orrery.sim.faults import Kill
from orrery.sim.histories import Histories
from orrery.sim.kv.cluster import KvCluster
from orrery.sim.kv.convergence import converge
from orrery.sim.kv.faults import FAULTS_S, held
from orrery.sim.kv.mix import Mix
from orrery.sim.kv.scenarios import scenario
from orrery.sim.kv.workload import Workload
from orrery.sim.play import play
from runtime.sim import SimulationFailed, SwarmOptions, World, run

ROOT = Path(__file__).parents[2]
REGISTERS = Mix({"put": 1.0, "get": 1.0}, pause_s=0.1, registers=1, lists=0, locks=0, leases=0)


@pytest.mark.parametrize("seed", range(1, 9))
def test_linearizable_under_faults_and_converges(seed: int) -> None:
    played = play("kv", seed)
    assert played.passed, played.failure
    assert played.outcome.virtual_s > FAULTS_S
    assert played.outcome.messages > 100
    assert played.outcome.syncs > 10


def test_a_seed_is_one_run_of_the_whole_stack_and_its_histories(tmp_path: Path) -> None:
    def outcomes(hash_seed: int) -> tuple[list[object], list[bytes]]:
        directory = tmp_path / str(hash_seed)
        command = ["sim", "run", "--seeds", "1..2", "--json", "--histories", str(directory)]
        told = subprocess.run(
            [sys.executable, "-m", "orrery.main", *command],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout
        files = [path.read_bytes() for path in sorted(directory.iterdir())]
        return [{**json.loads(line), "histories": []} for line in told.splitlines()], files

    one = outcomes(1)
    assert one == outcomes(2)
    assert len(one[0]) == 2
    assert len(one[1]) >= 4


def test_a_member_that_starts_does_not_deny_its_methods() -> None:
    """Found by the first runs: it listened before its heads were registered, and clients heard UNIMPLEMENTED."""
    heard: list[collections.Counter[str]] = []

    async def listen(world: World) -> None:
        heard.append(
            (await scenario(world, Histories(lambda: 0), held(lambda: Kill("all"), hold_s=1.0), REGISTERS)).refusals
        )

    for seed in range(2):
        run(seed, listen)
    assert all("UNIMPLEMENTED" not in refusals for refusals in heard)
    assert any("UNAVAILABLE" in refusals for refusals in heard)


async def _all_lose_power(world: World, histories: Histories, *, disks_lie: bool) -> None:
    cluster = KvCluster(world)
    cluster.boot_members()
    workload = Workload(cluster, histories, REGISTERS)
    workload.start()
    await asyncio.sleep(3)
    for member in cluster.members:
        member.disk.lie_about_sync = disks_lie
    await asyncio.sleep(world.random.uniform(0.5, 2))
    for member in cluster.members:
        member.crash()
    await asyncio.sleep(world.random.uniform(0, 2))
    cluster.boot_members()
    await asyncio.sleep(2)
    workload.stop()
    cluster.heal()
    await converge(workload)


def _verdicts(seed: int, *, disks_lie: bool) -> set[tuple[str, str]]:
    world = World(seed, options=SwarmOptions() if disks_lie else None)
    histories = Histories(lambda: int(world.virtual_s * 1e9))
    try:
        world.play(lambda world: _all_lose_power(world, histories, disks_lie=disks_lie))
    except SimulationFailed:
        # Members may find out themselves. What clients saw is judged all the same.
        if not disks_lie:
            raise
    return {(verdict.model, verdict.answer) for verdict in histories.judge()}


def test_a_power_cut_of_all_members_loses_nothing() -> None:
    for seed in range(3):
        assert {answer for _, answer in _verdicts(seed, disks_lie=False)} == {"yes"}


def test_disks_that_lie_about_syncs_are_found_out() -> None:
    assert any(("kv", "no") in _verdicts(seed, disks_lie=True) for seed in range(20))
