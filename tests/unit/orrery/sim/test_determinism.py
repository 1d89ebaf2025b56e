import io
import subprocess
import sys

import pytest

from orrery.sim import determinism as module
from orrery.sim.determinism import determinism


def tell(monkeypatch: pytest.MonkeyPatch, *outputs: str) -> list[str]:
    """Lets the processes say this; gives the hash seeds that they were started with."""
    started: list[str] = []

    class Told:
        def __init__(self, text: str) -> None:
            self.stdout = io.StringIO(text)

        def wait(self) -> int:
            return 0

        def kill(self) -> None:
            return None

    def play(scenario: str, seeds: range, hash_seed: str) -> Told:
        started.append(hash_seed)
        return Told(outputs[len(started) - 1])

    monkeypatch.setattr(module, "_play", play)
    return started


def line(seed: int, trace: str) -> str:
    return f'{{"seed":{seed},"trace_hash":"{trace}"}}\n'


def test_equal_traces_of_different_hash_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = tell(monkeypatch, line(1, "a") + line(2, "b"), line(1, "a") + line(2, "b"))
    assert determinism("kv", range(1, 3)) == 0
    assert len(set(started)) == 2
    assert "2 the same, 0 not" in capsys.readouterr().out


def test_a_seed_that_is_two_runs_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tell(monkeypatch, line(1, "a") + line(2, "b"), line(1, "a") + line(2, "c"))
    assert determinism("kv", range(1, 3)) == 1
    assert "orrery sim replay 2 --scenario kv --steps" in capsys.readouterr().out


def test_a_process_that_ends_early_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(monkeypatch, line(1, "a") + line(2, "b"), line(1, "a"))
    assert determinism("kv", range(1, 3)) == 1
    assert "after 1 of 2 seeds" in capsys.readouterr().out


def test_two_real_processes(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orrery.main", "sim", "determinism", "--seeds", "2..3"],
        cwd=module.ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "kv: 2 seeds, each in two processes: 2 the same, 0 not"
    assert done.returncode == 0
