import json
from pathlib import Path

import pytest

from orrery.sim import hunt as module
from orrery.sim.hunt import hunt
from orrery.sim.play import Play
from runtime.sim import Outcome


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds that were played; those that divide by 3 fail."""
    seeds: list[int] = []

    def play(scenario: str, seed: int, *, without: str, histories_dir: Path | None) -> Play:
        seeds.append(seed)
        outcome = Outcome(seed, f"{seed:016x}", 30.0, 5, 4, 3, 2, 1)
        if seed % 3:
            return Play(scenario, without, outcome, "yes")
        return Play(
            scenario,
            without,
            outcome,
            "no",
            "Wrong: divides\nby three",
            "watch" if seed == 3 else "",
            "  1.0 a boot",
            "where it was",
            histories=() if histories_dir is None else (histories_dir / f"{seed}.jsonl",),
        )

    monkeypatch.setattr(module, "play", play)
    monkeypatch.setattr(module, "commit", lambda: "c0ffee")
    return seeds


def test_a_line_a_seed_and_the_totals(played: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert hunt("kv", range(1, 3), without="", minutes=None, as_json=False) == 0
    assert played == [1, 2]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [["seed", "1", "yes"], ["seed", "2", "yes"]]
    assert lines[-1].startswith("2 seeds: 2 passed, 0 failed; 60 virtual s in ")
    assert "seeds an hour" in lines[-1]


def test_failures_are_told_at_once_and_again_in_a_table(played: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert hunt("kv", range(1, 8), without="brakes", minutes=None, as_json=False) == 1
    assert played == [1, 2, 3, 4, 5, 6, 7]
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("  Wrong: divides") == 2
    head = next(number for number, line in enumerate(lines) if line.startswith("SEED"))
    assert [line.split() for line in lines[head + 1 : head + 3]] == [
        ["3", "no", "watch", "30.000", "Wrong:", "divides"],
        ["6", "no", "-", "30.000", "Wrong:", "divides"],
    ]
    assert "seed 6 at c0ffee: orrery sim replay 6 --scenario kv --without brakes" in lines
    assert lines[-1].startswith("7 seeds: 5 passed, 2 failed")


def test_one_seed_alone_tells_everything(played: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert hunt("kv", range(3, 4), without="", minutes=None, as_json=False, histories_dir=Path("kept")) == 1
    shown = capsys.readouterr().out
    assert f"history: {Path('kept') / '3.jsonl'}" in shown
    for part in ("1.0 a boot", "where it was", "by three", "seed 3 at c0ffee: orrery sim replay 3 --scenario kv"):
        assert part in shown


def test_scripts_get_an_object_a_seed_and_nothing_else(played: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert hunt("kv", range(2, 4), without="", minutes=None, as_json=True) == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["verdict"] for line in captured.out.splitlines()] == ["yes", "no"]
    assert captured.err.startswith("2 seeds")


def test_no_seed_is_begun_after_the_minutes(played: list[int]) -> None:
    assert hunt("kv", range(1, 2**63 - 1), without="", minutes=1e-9, as_json=True) == 0
    assert played == [1]
