"""Locks with fencing hold whatever the seed does to the service, to kv and to its clients.

Method: see orrery.sim.lock. Every run ends with all faults healed, every lock free for everybody and every queue empty.
The judges are themselves judged: with a safeguard off, they find it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from orrery.sim.histories import Histories
from orrery.sim.lock import scenarios
from orrery.sim.lock.audit import Unlawful
from orrery.sim.lock.cluster import LockCluster
from runtime.sim import Outcome, SimulationFailed, World, run

ROOT = Path(__file__).parents[2]


def play(name: str, seed: int, without: str = "") -> Outcome:
    setting = scenarios.SETTINGS[name]
    with setting.lacking(without):
        return run(
            seed,
            lambda world: setting.scenario(world, Histories(lambda: 0)),
            options=setting.options,
            limits=setting.limits,
        )


@pytest.mark.parametrize("seed", [7, 14])
def test_lawful_under_faults_and_converges(seed: int) -> None:
    outcome = play("lock", seed)
    assert outcome.virtual_s > scenarios.FAULTS_S
    assert outcome.messages > 500


def test_late_holders_are_fenced_off() -> None:
    """They do write too late, and are refused: the safeguard is needed, and does its work."""
    seen: list[LockCluster] = []

    async def scenario(world: World) -> None:
        seen.append(await scenarios.scenario(world, calm=True))

    setting = scenarios.SETTINGS["lock-late"]
    for seed in range(2, 7):
        run(seed, scenario, options=setting.options, limits=setting.limits)
        writes = [each for each in seen[-1].history().operations if each.f == "fenced-write"]
        assert sum(write.outcome == "ok" for write in writes) > 20
        if any(write.outcome == "fail" for write in writes):
            return
    pytest.fail("nobody was late")


@pytest.mark.parametrize("without", scenarios.SAFEGUARDS)
def test_a_missing_safeguard_is_found_out(without: str) -> None:
    for seed in range(1, 6):
        try:
            play("lock-late", seed, without)
        except SimulationFailed as failure:
            if isinstance(failure.__cause__, Unlawful):
                return
            raise
    pytest.fail(f"no seed shows that {without} is missing")


def test_a_seed_is_one_run_of_the_whole_stack() -> None:
    def outcome(hash_seed: int) -> str:
        return subprocess.run(
            [sys.executable, "-m", "orrery.main", "sim", "run", "--scenario", "lock", "--seed", "3", "--json"],
            env={"PYTHONHASHSEED": str(hash_seed), "PATH": ""},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout

    assert outcome(1) == outcome(2)
