import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from orrery.main import main

GOOD = [("invoke", "write", 1), ("ok", "write", 1), ("invoke", "read", None), ("ok", "read", 1)]
BAD = [*GOOD[:3], ("ok", "read", 2)]


def written(path: Path, rows: Sequence[tuple[str, str, int | None]]) -> str:
    lines = [json.dumps({"process": 0, "type": kind, "f": f, "value": value}) for kind, f, value in rows]
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def test_yes_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", written(tmp_path / "h", GOOD)]) == 0
    assert capsys.readouterr().out.startswith("yes: linearizable: 2 operations in one part\n")


def test_no_is_1_and_shows_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "why.html"
    assert main(["check", written(tmp_path / "h", BAD), "--model", "register", "--out", str(page)]) == 1
    shown = capsys.readouterr().out
    assert "`read 2` of process 0 (lines 3-4)" in shown
    assert "!!   read 2" in shown
    assert "<svg" in page.read_text()


def test_an_svg_is_drawn_when_asked_for(tmp_path: Path) -> None:
    picture = tmp_path / "why.svg"
    assert main(["check", written(tmp_path / "g", GOOD), "--out", str(picture)]) == 0
    assert not picture.exists()
    assert main(["check", written(tmp_path / "h", BAD), "--out", str(picture)]) == 1
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("content", "arguments", "problem"),
    [
        ("{", [], "line 1: not JSON"),
        ('{"process": 0, "type": "ok", "f": "read"}', [], "line 1: ok of process 0"),
        ('{"process": 0, "type": "invoke", "f": "fly"}', [], "no model fits its operations (fly)"),
        ('{"process": 0, "type": "invoke", "f": "fly"}', ["--model", "kv"], "line 1, no answer: fly"),
        ("", [], "no model fits its operations (none)"),
    ],
)
def test_unreadable_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, arguments: list[str], problem: str
) -> None:
    file = tmp_path / "h"
    file.write_text(content)
    assert main(["check", str(file), *arguments]) == 2
    assert problem in capsys.readouterr().err
    assert main(["check", "--json", str(file), *arguments]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "unknown"
    assert problem in answer["error"]


def test_no_such_file_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main(["check", written(tmp_path / "h", BAD), "--out", str(tmp_path / "no/where.html")]) == 2
    assert main(["check", written(tmp_path / "h", BAD), "--out", str(tmp_path / "why.png")]) == 2
    assert "ends in .html or .svg" in capsys.readouterr().err


def test_unknown_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("invoke", "write", 1)]
    assert main(["check", written(tmp_path / "h", rows)]) == 2
    assert "unknown: nothing to judge" in capsys.readouterr().out


def test_json_tells_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", written(tmp_path / "h", BAD)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verdict"], answer["model"], answer["operations"]) == ("no", "register", 2)
    [anomaly] = answer["anomalies"]
    assert (anomaly["name"], anomaly["culprits"]) == ("not-linearizable", [1])
    assert anomaly["operations"][-1]["invoked_line"] == 3


def test_other_commands_do_not_load_the_judges() -> None:
    program = "import sys, orrery.main; orrery.main._parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"orrery.checkers.judge", "orrery.checkers.history", "msgspec"} & set(done.stdout.split())
