import tomllib
from pathlib import Path

from cluster.telemetry.report import VERSION


def test_the_version_is_the_project_s() -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
