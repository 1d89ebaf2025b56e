"""`orrery sim` as the shell sees it, with the real kv cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orrery.main import main

ROOT = Path(__file__).parents[4]


def test_one_seed_is_one_object_and_the_same_in_every_process() -> None:
    def run(hash_seed: int) -> str:
        return subprocess.run(
            [sys.executable, "-m", "orrery.main", "sim", "run", "--seed", "2", "--json"],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    one = run(1)
    answer = json.loads(one)
    assert answer["seed"] == 2
    assert answer["verdict"] == "yes"
    assert len(answer["trace_hash"]) == 16
    assert answer["virtual_s"] > 30
    assert min(answer["messages"], answer["bytes"], answer["syncs"]) > 0
    assert run(2) == one


def test_replay_shows_a_column_a_host_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "replay", "2", "--host", "kv-1", "--host", "kv-2", "--data-dir", str(tmp_path / "none")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["seconds", "kv-1", "kv-2"]
    assert any("→ kv-2" in line for line in lines)
    assert lines[-1].startswith("seed 2      yes")
    assert list(tmp_path.iterdir()) == []
    picture = tmp_path / "2.svg"
    assert main(["sim", "replay", "2", "--out", str(picture)]) == 0
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["run", "--seeds", "5..1"], "there is no seed in 5..1"),
        (["run", "--seeds", "a..b"], "'a..b' is not A..B"),
        (["run", "--seed", "-1"], "a seed is from 0"),
        (["run", "--seed", "1", "--seeds", "1..2"], "not allowed with"),
        (["run", "--scenario", "none"], "invalid choice"),
        (["run", "--minutes", "nan"], "there are no such minutes"),
        ([], "run|replay"),
    ],
)
def test_asked_wrongly(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sim", *arguments])
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


def test_histories_are_written_and_judged_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sim", "run", "--seed", "2", "--json", "--histories", str(tmp_path)]
    assert main(arguments) == 0
    files = json.loads(capsys.readouterr().out)["histories"]
    assert [Path(file).name for file in files][:2] == ["kv-2.kv.jsonl", "kv-2.lists.jsonl"]
    for model in ("kv", "watch"):
        assert main(["check", "--model", model, files[0]]) == 0
    capsys.readouterr()
    assert main(arguments) == 2
    assert "kv-2.kv.jsonl: File exists" in capsys.readouterr().err


def test_a_safeguard_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "run", "--seed", "1", "--without", "luck"]) == 2
    assert "confirm_reads" in capsys.readouterr().err


def test_steps_are_lines_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "replay", "2", "--steps", "--host", "kv-1"]) == 2
    assert main(["sim", "replay", "2", "--steps", "--out", "x.svg"]) == 2
    assert capsys.readouterr().err.count("no --host, and no picture") == 2
    steps = tmp_path / "steps"
    assert main(["sim", "replay", "2", "--steps", "--out", str(steps)]) == 0
    assert "step of kv-1/main" in steps.read_text()
    assert main(["sim", "replay", "2", "--out", str(tmp_path / "no" / "where")]) == 2
    assert "No such file" in capsys.readouterr().err
