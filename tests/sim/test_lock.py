"""Locks with fencing hold whatever the seed does to the service, to kv and to its clients.

Method: see orrery.sim.lock. Every run ends with all faults healed, every lock free for everybody and every queue empty.
That the judges find it when a safeguard is off is tested in test_safeguards.py.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from orrery.checkers.history import read_history
from orrery.sim.lock.faults import FAULTS_S
from orrery.sim.play import play

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("scenario", "seed"), [("lock", 7), ("lock", 14), ("lock-pause", 1), ("lock-pause", 2), ("lock-clocks", 3)]
)
def test_lawful_under_faults_and_converges(scenario: str, seed: int) -> None:
    played = play(scenario, seed)
    assert played.passed, played.failure
    assert played.outcome.virtual_s > FAULTS_S
    assert played.outcome.messages > 500


def test_late_holders_are_fenced_off(tmp_path: Path) -> None:
    """They do write too late, and are refused: the safeguard is needed, and does its work."""
    for seed in range(2, 7):
        (path,) = play("lock-late", seed, histories_dir=tmp_path).histories
        writes = [each for each in read_history(path).operations if each.f == "fenced-write"]
        assert sum(write.outcome == "ok" for write in writes) > 20
        if any(write.outcome == "fail" for write in writes):
            return
    pytest.fail("nobody was late")


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
