"""`orrery check`: judges a recorded history. Exit code 0 for yes, 1 for no, 2 for unknown or unreadable."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.checkers.models import MODELS

if TYPE_CHECKING:
    from orrery.checkers.history import Json
    from orrery.checkers.verdict import Verdict

UNREADABLE = 2
ANOMALIES_SHOWN = 3
"""On a terminal; the page has all."""
PICTURE_OPERATIONS_MAX = 40
"""Drawn on a terminal."""


def add_check(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Declares the command. Imports no judge, since every `orrery` command comes by here."""
    check = add("check", "judge a recorded history: 0 yes, 1 no, 2 unknown or unreadable")
    check.add_argument("file", metavar="FILE", help="the history: JSON lines in Jepsen's shape")
    check.add_argument("--model", choices=MODELS, help="what the history is of (default: told by its operations)")
    check.add_argument("--json", action="store_true", help="for scripts")
    check.add_argument("--out", metavar="FILE.html", help="draw what fails, as a page (or as .svg, the first anomaly)")
    check.add_argument("--timeout", metavar="S", type=float, default=120.0, help="then unknown (default: %(default)g)")


def check(file: str, model: str | None, json: bool, out: str | None, timeout: float) -> int:
    """Judges a file and tells the verdict."""
    from orrery.checkers.history import HistoryUnreadable, read_history
    from orrery.checkers.judge import guess_model, judge
    from orrery.checkers.machine import ModelMismatch
    from orrery.checkers.verdict import EXIT_CODES, Limits

    try:
        history = read_history(Path(file))
        chosen = model or guess_model(history)
        if chosen is None:
            names = ", ".join(sorted({operation.f for operation in history.operations})) or "none"
            return _unreadable(file, f"no model fits its operations ({names}); choose with --model", as_json=json)
        verdict = judge(chosen, history, Limits(seconds_max=timeout))
    except (HistoryUnreadable, ModelMismatch) as error:
        return _unreadable(file, str(error), as_json=json)
    except OSError as error:
        return _unreadable(file, error.strerror or str(error), as_json=json)
    if out is not None and (problem := _draw(verdict, history.name, Path(out))) is not None:
        return _unreadable(out, problem, as_json=json)
    if json:
        _tell_scripts({"file": file, **verdict.as_json()})
    else:
        _tell(verdict, file, out)
    return EXIT_CODES[verdict.answer]


def _tell_scripts(answer: "dict[str, Json]") -> None:
    from orrery.checkers.history import canonical

    print(canonical(answer))


def _unreadable(file: str, problem: str, *, as_json: bool) -> int:
    if as_json:
        _tell_scripts({"file": file, "verdict": "unknown", "error": problem})
    else:
        print(f"orrery: {file}: {problem}", file=sys.stderr)
    return UNREADABLE


def _draw(verdict: "Verdict", name: str, path: Path) -> str | None:
    """Writes the picture; returns what is wrong."""
    from orrery.checkers.timeline import html, svg

    if path.suffix == ".svg":
        if not verdict.anomalies:
            return None
        picture = svg(verdict.anomalies[0])
    elif path.suffix == ".html":
        picture = html(verdict, name)
    else:
        return "a picture's name ends in .html or .svg"
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        return error.strerror or str(error)
    return None


def _tell(verdict: "Verdict", file: str, out: str | None) -> None:
    from orrery.checkers.timeline import text_picture

    print(f"{verdict.answer}: {verdict.summary}")
    print(
        f"{file} as {verdict.model}: {verdict.operations} operations, {verdict.steps} steps, {verdict.elapsed_s:.3f} s"
    )
    for anomaly in verdict.anomalies[:ANOMALIES_SHOWN]:
        print(f"\n{anomaly.name}: {anomaly.text}")
        for line in text_picture(anomaly)[-PICTURE_OPERATIONS_MAX:]:
            print(f"  {line}")
    if len(verdict.anomalies) > ANOMALIES_SHOWN:
        print(f"\nand {len(verdict.anomalies) - ANOMALIES_SHOWN} more")
    if out is not None and (verdict.anomalies or out.endswith(".html")):
        print(f"\ndrawn in {out}")
