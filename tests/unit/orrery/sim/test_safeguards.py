import pytest

from orrery.sim import safeguards as module
from orrery.sim.play import Play
from orrery.sim.safeguards import Proof, find, safeguards
from runtime.sim import Outcome

PROOF = Proof("brakes", "kv", 1)


@pytest.fixture
def checkers(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """By seed, who finds out that the safeguard lacks; the seed 99 fails with it, too."""
    by_seed: dict[int, str] = {}

    def play(scenario: str, seed: int, *, without: str = "") -> Play:
        outcome = Outcome(seed, "0", 1.0, 1, 1, 1, 1, 1)
        checker = by_seed.get(seed, "") if without or seed == 99 else ""
        return Play(scenario, without, outcome, "no" if checker else "yes", failure=checker, checker=checker)

    monkeypatch.setattr(module, "play", play)
    return by_seed


def test_the_first_seed_that_a_judge_finds(checkers: dict[int, str]) -> None:
    checkers |= {2: "liveness", 3: "invariant", 5: "kv", 6: "watch"}
    found = find(PROOF, range(1, 10))
    assert (found.seed, found.checker, found.seeds, found.passes) == (5, "kv", 5, True)


def test_a_table_and_whether_all_were_found(checkers: dict[int, str], capsys: pytest.CaptureFixture[str]) -> None:
    checkers[4] = "lock"
    assert safeguards([PROOF], range(1, 10)) == 0
    assert capsys.readouterr().out.splitlines()[-3].split()[:4] == ["brakes", "kv", "4", "lock"]
    assert safeguards([PROOF], range(1, 4)) == 1
    assert "no seed of 3 shows it" in capsys.readouterr().out


def test_a_seed_that_fails_anyway_proves_nothing(checkers: dict[int, str], capsys: pytest.CaptureFixture[str]) -> None:
    checkers[99] = "kv"
    assert safeguards([PROOF], range(99, 100)) == 1
    assert "0 of 1" in capsys.readouterr().out
