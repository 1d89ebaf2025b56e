"""`up` and what can go wrong with it, with real processes."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from orrery import processes
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


@contextmanager
def killed(process: "subprocess.Popen[str]") -> Iterator[None]:
    """A test that fails leaves nothing behind, and does not wait for it."""
    try:
        yield
    finally:
        process.kill()


def nothing_runs(cluster: Cluster) -> bool:
    state = cluster.directory.load()
    return state is None or not any(processes.is_alive(node.pid, node.start) for node in state.nodes.values())


def test_up_waits_shows_how_to_reach_it_and_can_be_repeated(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    out = capsys.readouterr().out
    for node in ("kv-1", "kv-2", "kv-3"):
        assert f"{node}  ready\n" in out
    assert f"etcd=http://127.0.0.1:{cluster.base + 10}" in out
    assert "etcdctl put greeting hello" in out
    assert f"curl http://127.0.0.1:{cluster.base + 2}/metrics" in out
    assert "\x1b" not in out
    before = [cluster.pid(f"kv-{number}") for number in (1, 2, 3)]
    assert cluster.up() == 0
    assert "runs already" in capsys.readouterr().out
    assert before == [cluster.pid(f"kv-{number}") for number in (1, 2, 3)]
    assert cluster.run("up") == 1  # in the foreground there is nothing to hold
    assert "runs already (kv-1, kv-2, kv-3)" in capsys.readouterr().err
    assert cluster.run("down") == 0
    assert nothing_runs(cluster)
    assert cluster.run("down") == 0
    assert "Nothing runs." in capsys.readouterr().out


def test_a_taken_port_is_named_with_its_owner_and_nothing_is_started(cluster: Cluster, capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", cluster.base + 11)):
        assert cluster.up() == 1
    error = capsys.readouterr().err
    assert f"port {cluster.base + 11} is taken by pid {os.getpid()}" in error
    assert "kv-2 as its peer port" in error
    assert cluster.directory.load() is None
    assert cluster.run("up", "--detach", "--port-base", str(cluster.base)) == 0


def test_a_node_that_fails_takes_the_others_of_this_start_with_it(cluster: Cluster, capsys: Capture) -> None:
    cluster.mood("kv-3", "crash")
    assert cluster.up() == 1
    error = capsys.readouterr().err
    assert "kv-3 ended with exit code 3 before it was ready" in error
    assert "kv-3 | it all went wrong" in error
    assert nothing_runs(cluster)
    capsys.readouterr()
    assert cluster.run("status") == 0
    assert "crashed" in capsys.readouterr().out
    cluster.mood("kv-3", "")
    assert cluster.up() == 0


def test_a_node_that_never_gets_ready_is_named_with_what_it_waits_for(cluster: Cluster, capsys: Capture) -> None:
    cluster.mood("kv-2", "unready")
    assert cluster.up("--timeout", "1.5") == 1
    captured = capsys.readouterr()
    assert "kv-2  waiting: leader known: none yet" in captured.out
    assert "kv-2 was not ready after 2 s: leader known: none yet" in captured.err
    assert nothing_runs(cluster)


def test_up_recovers_when_everything_was_killed_behind_its_back(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    token = cluster.directory.require().cluster_token
    before = [cluster.pid(f"kv-{number}") for number in (1, 2, 3)]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert cluster.up() == 0
    assert not set(before) & {cluster.pid(f"kv-{number}") for number in (1, 2, 3)}
    assert cluster.directory.require().cluster_token == token


def test_other_ports_for_a_cluster_that_runs_are_refused(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up() == 0
    assert cluster.run("up", "--detach", "--port-base", str(cluster.base + 1)) == 1
    assert f"was made with --port-base {cluster.base}" in capsys.readouterr().err


def test_the_small_profile_is_one_process(cluster: Cluster) -> None:
    assert cluster.up("--profile", "small") == 0
    assert list(cluster.directory.require().nodes) == ["kv-1"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_directory_is_named(tmp_path: Path, cluster: Cluster, capsys: Capture) -> None:
    tmp_path.chmod(0o500)
    try:
        assert cluster.up() == 1
    finally:
        tmp_path.chmod(0o700)
    assert "cannot be written: Permission denied" in capsys.readouterr().err


def test_a_directory_that_cannot_be_made_is_named(cluster: Cluster, capsys: Capture) -> None:
    cluster.directory.root.write_text("a file where the directory should be")
    assert cluster.up() == 1
    assert f"the data directory {cluster.directory.root} cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--services", "kv,nope"), "there is no service 'nope'; there are: kv"),
        (("--host", "0.0.0.0"), "Say --insecure"),
        (("--port-base", "65530"), "leaves no room"),
        (("--set", "kv.engin=lsm"), "--set kv.engin=lsm: unknown key; known here: kv.advertise"),
        (("--set", "kv.engine=tape"), "there are: memory, lsm, btree"),
        (("--set", "kvx.engine=lsm"), "there is no service 'kvx'; there are: kv"),
        (("--set", "kv.engine"), "say SERVICE.KEY=VALUE"),
        (("--set", "kv.tick_ms=0"), "Expected `int` >= 10"),
        (("--set", "kv.tick_ms=900"), "election_ms (1000) must be at least five times tick_ms (900)"),
        (("--set", "kv.listen=127.0.0.1:1"), "decides kv.listen by itself"),
        (("--set", "kv.kv=1"), "unknown key"),
        (("--services", "kv", "--set", "lock.drain_ms=1"), "lock is none of the services of this cluster"),
    ],
)
def test_wrong_wishes(cluster: Cluster, capsys: Capture, arguments: tuple[str, ...], message: str) -> None:
    assert cluster.run("up", "--detach", *arguments) == 2
    assert message in capsys.readouterr().err
    assert nothing_runs(cluster)


def test_in_the_foreground_an_interrupt_stops_everything(cluster: Cluster) -> None:
    runner = Path(__file__).with_name("run_with_fakes.py")
    command = [sys.executable, str(runner), "up", "--data-dir", str(cluster.directory.root)]
    command += ["--port-base", str(cluster.base)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as foreground, killed(foreground):
        assert foreground.stdout is not None
        for line in foreground.stdout:
            if "Ctrl-C stops" in line:
                break
        assert not nothing_runs(cluster)
        foreground.send_signal(signal.SIGINT)
        assert "Stopping." in foreground.stdout.read()
        assert foreground.wait(10) == 130
    assert nothing_runs(cluster)
    assert {node.desired for node in cluster.directory.require().nodes.values()} == {"stopped"}


def test_in_the_foreground_a_crash_is_told_and_down_elsewhere_ends_it(cluster: Cluster) -> None:
    runner = Path(__file__).with_name("run_with_fakes.py")
    command = [sys.executable, str(runner), "up", "--data-dir", str(cluster.directory.root)]
    command += ["--port-base", str(cluster.base)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **pipes) as foreground, killed(foreground):  # type: ignore[call-overload]
        for line in foreground.stdout:
            if "Ctrl-C stops" in line:
                break
        os.kill(cluster.pid("kv-2"), signal.SIGSEGV)
        for line in foreground.stdout:
            if "kv-2 crashed" in line:
                break
        assert cluster.run("down") == 0
        assert "stopped by another command" in foreground.stdout.read()
        assert foreground.wait(10) == 0


def test_a_service_brings_those_that_it_needs(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up("--services", "lock") == 0
    assert list(cluster.directory.require().nodes) == ["kv-1", "kv-2", "kv-3", "lock-1", "lock-2"]
    assert f"lock=127.0.0.1:{cluster.base + 50}" in capsys.readouterr().out
    assert cluster.run("env") == 0
    assert f"ORRERY_LOCK_ENDPOINTS=127.0.0.1:{cluster.base + 50}," in capsys.readouterr().out


def test_what_is_set_stays_set_and_is_told_to_be_for_the_next_start(cluster: Cluster, capsys: Capture) -> None:
    def engines() -> set[str]:
        files = (cluster.directory.root / "config").glob("*.toml")
        return {tomllib.loads(file.read_text())["kv"]["engine"] for file in files}

    assert cluster.up("--set", "kv.engine=lsm", "--set", "kv.tick_ms=50", "--set", "kv.engine=btree") == 0
    assert engines() == {"btree"}
    assert cluster.run("down") == 0
    assert cluster.up() == 0
    assert engines() == {"btree"}
    capsys.readouterr()
    assert cluster.up("--set", "kv.engine=lsm") == 0
    assert "holds for kv-1, kv-2, kv-3 from their next start on" in capsys.readouterr().err
    assert engines() == {"btree"}
    assert cluster.run("stop", "kv-1") == 0
    assert cluster.run("start", "kv-1") == 0
    assert engines() == {"btree", "lsm"}
    assert cluster.directory.require().settings == {"kv": {"kv.engine": "lsm", "kv.tick_ms": 50}}


def test_a_port_that_is_taken_for_udp_is_named(cluster: Cluster, capsys: Capture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", cluster.base + 13))
        assert cluster.up() == 1
    error = capsys.readouterr().err
    assert f"UDP port {cluster.base + 13} is taken by pid {os.getpid()}" in error
    assert "kv-2 as its membership port" in error


def test_the_key_is_made_once_and_for_its_owner_alone(cluster: Cluster) -> None:
    assert cluster.up() == 0
    keys = cluster.directory.membership_keys
    made = keys.read_text()
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.parent.stat().st_mode) == 0o700
    assert cluster.run("down") == 0
    assert cluster.up() == 0
    assert keys.read_text() == made
    assert cluster.run("reset", "--yes") == 0
    assert not keys.exists()


def test_the_registry_is_shown_with_what_to_ask_it(cluster: Cluster, capsys: Capture) -> None:
    assert cluster.up("--services", "registry", "--profile", "small") == 0
    assert list(cluster.directory.require().nodes) == ["kv-1", "registry-1"]
    out = capsys.readouterr().out
    address = f"http://127.0.0.1:{cluster.base + 70}"
    assert f"registry=127.0.0.1:{cluster.base + 70} consul={address} dns=127.0.0.1:{cluster.base + 74}" in out
    assert f"curl {address}/v1/catalog/services\n" in out
    assert f"dig @127.0.0.1 -p {cluster.base + 74} kv.service.consul SRV\n" in out
