"""`orrery status` beside a registry that answers, one that does not, and one that talks nonsense."""

import json
from typing import Protocol

import pytest

from orrery.state import ClusterDirectory


class Cluster(Protocol):
    """What conftest's fixture gives."""

    directory: ClusterDirectory
    base: int

    def mood(self, node: str, mood: str) -> None: ...
    def run(self, command: str, *arguments: str) -> int: ...
    def up(self, *arguments: str) -> int: ...


Capture = pytest.CaptureFixture[str]


def say(cluster: Cluster, service: str, **nodes: list[str]) -> None:
    """Lets the fakes of the registry tell the checks of a service's instances; nodes are named as `kv_1`."""
    entries = [
        {"Node": {"Node": node.replace("_", "-")}, "Checks": [{"Status": status} for status in checks]}
        for node, checks in nodes.items()
    ]
    (cluster.directory.root / f"health-{service}.json").write_text(json.dumps(entries))


def health(cluster: Cluster, capsys: Capture) -> dict[str, str]:
    capsys.readouterr()
    assert cluster.run("status", "--json") == 0
    return {row["node"]: row["health"] for row in json.loads(capsys.readouterr().out)}


def shown(cluster: Cluster, capsys: Capture) -> str:
    capsys.readouterr()
    assert cluster.run("status") == 0
    return capsys.readouterr().out


def test_the_worst_check_counts_and_what_is_unknown_is_left_open(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up("--services", "registry") == 0
    say(cluster, "kv", kv_1=["passing", "passing"], kv_2=["warning", "critical"], kv_9=["passing"])
    say(cluster, "registry", registry_1=[])
    assert health(cluster, capsys) == {
        "kv-1": "passing",
        "kv-2": "critical",
        "kv-3": "",
        "registry-1": "passing",
        "registry-2": "",
        "registry-3": "",
    }
    assert f"HEALTH is what the registry at 127.0.0.1:{cluster.base + 70} says." in shown(cluster, capsys)
    assert cluster.run("kill", "registry-1") == 0
    assert f"HEALTH is what the registry at 127.0.0.1:{cluster.base + 80} says." in shown(cluster, capsys)


def test_without_an_answer_the_processes_are_shown_as_they_are(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up("--services", "registry", "--profile", "small") == 0
    assert set(health(cluster, capsys).values()) == {""}
    text = shown(cluster, capsys)
    assert "The registry does not answer (registry-1: /v1/health/service/kv answers 503: kv was never heard)" in text
    assert text.count("running") == 2
    for nonsense in ("[{}]", "{", "7", '[{"Node": {"Node": "kv-1"}, "Checks": [7]}]'):
        (cluster.directory.root / "health-kv.json").write_text(nonsense)
        assert "answers what Consul would not" in shown(cluster, capsys)
    assert cluster.run("kill", "registry-1") == 0
    assert "The registry does not answer (none of its processes runs)" in shown(cluster, capsys)


def test_up_waits_until_the_registry_knows_all(
    cluster: Cluster, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        """Time passes, and they register."""
        say(cluster, "kv", kv_1=["passing"])
        say(cluster, "registry", registry_1=["passing"])

    monkeypatch.setattr("orrery.up.REGISTERED_S_MAX", 60.0)
    monkeypatch.setattr("orrery.up.time.sleep", sleep)
    assert cluster.up("--services", "registry", "--profile", "small") == 0
    assert capsys.readouterr().out.count(" passing ") == 2


def test_a_cluster_without_a_registry_misses_nothing(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up("--profile", "small") == 0
    assert "registry" not in shown(cluster, capsys).lower()
