"""The commands on a cluster that runs, with real processes."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from orrery import processes
from orrery.main import main
from orrery.state import ClusterDirectory


class Cluster(Protocol):
    """What conftest's fixture gives."""

    directory: ClusterDirectory
    base: int

    def mood(self, node: str, mood: str) -> None: ...
    def run(self, command: str, *arguments: str) -> int: ...
    def up(self, *arguments: str) -> int: ...
    def pid(self, node: str) -> int: ...


Capture = pytest.CaptureFixture[str]


def rows(cluster: Cluster, capsys: Capture) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert cluster.run("status", "--json") == 0
    return {row["node"]: row for row in json.loads(capsys.readouterr().out)}


def test_status_is_the_contract_of_scripts(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up("--profile", "small") == 0
    row = rows(cluster, capsys)["kv-1"]
    uptime_s = row.pop("uptime_s")
    assert isinstance(uptime_s, float)
    assert row == {
        "service": "kv",
        "node": "kv-1",
        "pid": cluster.pid("kv-1"),
        "state": "running",
        "role": "leader",
        "endpoints": {
            "etcd": f"http://127.0.0.1:{cluster.base}",
            "peer": f"127.0.0.1:{cluster.base + 1}",
            "admin": f"http://127.0.0.1:{cluster.base + 2}",
        },
        "data_dir": str(cluster.directory.data("kv-1")),
        "health": "",
    }


def test_stop_start_kill_and_crash_are_told_apart(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    assert cluster.run("kill", "kv-1") == 0
    assert cluster.run("stop", "kv-2") == 0
    os.kill(cluster.pid("kv-3"), signal.SIGKILL)
    os.waitpid(cluster.pid("kv-3"), 0)
    seen = rows(cluster, capsys)
    assert {node: row["state"] for node, row in seen.items()} == {
        "kv-1": "killed",
        "kv-2": "stopped",
        "kv-3": "crashed",
    }
    assert {row["pid"] for row in seen.values()} == {None}
    for node in seen:
        assert cluster.run("start", node) == 0
    assert {row["state"] for row in rows(cluster, capsys).values()} == {"running"}
    assert cluster.run("start", "kv-1") == 1
    assert "kv-1 runs already" in capsys.readouterr().err


def test_a_node_that_waits_for_its_peers_is_left_running_by_start(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    assert cluster.run("kill", "kv-2") == 0
    cluster.mood("kv-2", "unready")
    assert cluster.run("start", "kv-2", "--wait", "0.5") == 0
    assert "is not ready after" in capsys.readouterr().out
    assert rows(cluster, capsys)["kv-2"]["state"] == "unready"


def test_a_start_that_waits_holds_nobody_up(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    for node in ("kv-1", "kv-2"):
        assert cluster.run("kill", node) == 0
    cluster.mood("kv-1", "unready")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cluster.run, "start", "kv-1", "--wait", "60")
        while cluster.directory.require().nodes["kv-1"].desired != "running":
            assert not waiting.done()
        # It waits for its peers in vain, until they are started beside it.
        assert cluster.run("start", "kv-2") == 0
        assert not waiting.done()
        assert cluster.run("kill", "kv-1") == 0
        assert waiting.result() == 1
    assert "kv-1 ended by signal 9 before it was ready" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stop", "start", "kill", "logs"])
def test_an_unknown_node_is_answered_with_the_known_ones(cluster: Cluster, capsys: Capture, command: str) -> None:
    assert cluster.up("--profile", "small") == 0
    assert cluster.run(command, "kv-9") == 2
    assert "'kv-9'; there are: " in capsys.readouterr().err


def test_a_pid_that_belongs_to_somebody_else_now_is_never_signalled(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up("--profile", "small") == 0
    assert cluster.run("down") == 0
    state = cluster.directory.require()
    state.nodes["kv-1"].pid = os.getpid()  # as if the kernel had given the id to us
    state.nodes["kv-1"].desired = "running"
    cluster.directory.save(state)
    assert rows(cluster, capsys)["kv-1"]["state"] == "crashed"
    assert cluster.run("kill", "kv-1") == 1
    assert cluster.run("down") == 0  # reaching this line is the test


def test_a_process_that_ignores_the_request_is_ended_by_force(
    cluster: Cluster, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orrery.supervisor.STOP_S_MAX", 0.3)
    cluster.mood("kv-1", "stubborn")
    assert cluster.up() == 0
    assert cluster.run("down") == 0
    assert "kv-1  ended by force" in capsys.readouterr().out
    assert all(not processes.is_alive(node.pid, node.start) for node in cluster.directory.require().nodes.values())


def test_env_is_what_clients_read(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.run("env") == 1
    assert "there is no cluster" in capsys.readouterr().err
    assert cluster.up() == 0
    capsys.readouterr()
    assert cluster.run("env") == 0
    endpoints = ",".join(f"http://127.0.0.1:{cluster.base + offset}" for offset in (0, 10, 20))
    assert capsys.readouterr().out == f"export ETCDCTL_API=3\nexport ETCDCTL_ENDPOINTS={endpoints}\n"


def test_reset_wants_a_yes_stops_what_runs_and_leaves_strangers_files(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    stranger = cluster.directory.root / "mine.txt"
    stranger.write_text("not Orrery's")
    assert cluster.run("reset") == 2
    assert "It runs (kv-1, kv-2, kv-3) and will be stopped" in capsys.readouterr().err
    before = cluster.directory.require()
    assert cluster.run("reset", "--yes") == 0
    assert all(not processes.is_alive(node.pid, node.start) for node in before.nodes.values())
    assert [path.name for path in cluster.directory.root.iterdir()] == ["mine.txt"]
    assert cluster.run("reset", "--yes") == 0
    assert cluster.run("status", "--json") == 0
    assert capsys.readouterr().out.endswith("[]\n")


def test_logs_have_a_prefix_a_node(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    cluster.directory.log("kv-2").write_text("one\ntwo\nthree\n")
    capsys.readouterr()
    assert cluster.run("logs", "kv-2", "--lines", "2") == 0
    assert capsys.readouterr().out == "kv-2 | two\nkv-2 | three\n"
    assert cluster.run("logs", "kv", "--lines", "1") == 0
    assert {line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()} == {"kv-1", "kv-2", "kv-3"}


def test_health_follows_readiness(cluster: Cluster, capsys: Capture) -> None:
    cluster.mood("kv-1", "")
    assert cluster.up("--profile", "small") == 0
    admin = f"127.0.0.1:{cluster.base + 2}"
    assert main(["health", "--admin", admin]) == 0
    cluster.run("kill", "kv-1")
    assert main(["health", "--admin", admin]) == 1
    assert "refused" in capsys.readouterr().err
    assert main(["health", "--admin", "nonsense"]) == 2


def test_commands_before_any_cluster(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.run("down") == 0
    assert cluster.run("status") == 0
    assert cluster.run("stop", "kv-1") == 1
    assert cluster.run("logs") == 1
    assert not cluster.directory.root.exists()


def test_a_state_that_cannot_be_understood_is_an_error_that_names_the_file(cluster: Cluster, capsys: Capture) -> None:
    cluster.directory.root.mkdir()
    cluster.directory.state_file.write_text('{"format": 1, "nodes": 3}')
    for command in ("status", "down", "env"):
        assert cluster.run(command) == 1
        assert str(cluster.directory.state_file) in capsys.readouterr().err
    cluster.directory.state_file.unlink()


def test_the_doctor_finds_a_taken_port(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    capsys.readouterr()
    cluster.run("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["ports"]["level"] == "ok"
    assert "12 in use by this cluster" in findings["ports"]["detail"]
    assert findings["data directory"]["level"] == "ok"
    assert findings["disk sync"]["detail"].startswith("median ")
    assert set(findings) >= {"python", "open files", "disk space", "docker", "etcdctl"}
    assert {finding["level"] for finding in findings.values()} <= {"ok", "warning", "failure"}
