"""The scenarios beside this folder: commands and what they print, as text.

ORRERY_REWRITE=1 writes what is printed now into the files: read the difference before you commit it.
"""

import os
from pathlib import Path

import pytest

from cluster.raft.core.errors import InvariantBroken
from cluster.raft.core.testing import Violation
from cluster.raft.core.testing.datadriven import SEPARATOR, parse
from cluster.raft.core.testing.script import Script

SCENARIOS = sorted((Path(__file__).resolve().parent.parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    script = Script()
    cases = list(parse(path.read_text(encoding="utf-8")))
    printed = []
    for case in cases:
        try:
            printed.append(script.run(case))
        except (Violation, InvariantBroken) as error:
            printed.append(f"violation: {error}")
    if os.environ.get("ORRERY_REWRITE"):
        parts = [f"{case.source}\n{SEPARATOR}\n{text}\n" for case, text in zip(cases, printed, strict=True)]
        path.write_text("\n".join(parts), encoding="utf-8")
        return
    for case, text in zip(cases, printed, strict=True):
        assert text == case.expected, f"{path.name}:{case.line}"


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 8
