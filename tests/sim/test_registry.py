"""What the registry acknowledged stays, and all of its processes come to tell the same, whatever the seed does to them.

Method: see orrery.sim.registry. Every run ends with all faults healed. The judges are themselves judged: with a
safeguard off, they find it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from orrery.sim.play import play
from orrery.sim.registry import scenarios
from orrery.sim.registry.ledger import Ledger, Must, Unlawful

ROOT = Path(__file__).parents[2]
PLACE = ("orrery", "a")


@pytest.mark.parametrize("seed", [8])
def test_lawful_under_faults_and_converges(seed: int) -> None:
    played = play("registry", seed)
    assert played.passed, played.failure
    assert played.outcome.virtual_s > scenarios.FAULTS_S
    assert played.outcome.messages > 500


def test_a_seed_is_one_run_of_the_whole_stack() -> None:
    def outcome(hash_seed: int) -> str:
        return subprocess.run(
            [sys.executable, "-m", "orrery.main", "sim", "run", "--scenario", "registry", "--seed", "4", "--json"],
            env={"PYTHONHASHSEED": str(hash_seed), "PATH": ""},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout

    assert outcome(1) == outcome(2)


def test_the_ledger_finds_what_is_lost_and_what_came_back() -> None:
    ledger = Ledger()
    entry = ledger.registering(PLACE, "web")
    ledger.doubt(entry, removing=False)
    ledger.check_places(set())
    ledger.registered(entry)
    with pytest.raises(Unlawful, match="is lost"):
        ledger.check_places(set())
    ledger.check_places({PLACE})
    ledger.removed(entry)
    with pytest.raises(Unlawful, match="it is there"):
        ledger.check_places({PLACE})
    ledger.doubt(entry, removing=True)
    ledger.registered(entry)
    assert entry.must is Must.ANY


def test_the_ledger_finds_an_index_that_falls() -> None:
    ledger = Ledger()
    ledger.saw("registry-1", "web", 5)
    ledger.saw("registry-2", "web", 3)
    ledger.saw("registry-1", "web", 5)
    with pytest.raises(Unlawful, match="index 4 of web after 5"):
        ledger.saw("registry-1", "web", 4)
