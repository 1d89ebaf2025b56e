"""A cluster of fake processes in a temporary directory, on free ports; none of them survives its test."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery import processes
from orrery import supervisor as supervisor_module
from orrery import up as up_module
from orrery.layout import Node
from orrery.main import main
from orrery.state import ClusterDirectory
from tests.unit.free_ports import free_block

FAKE = Path(__file__).with_name("fake_service.py")


class Cluster:
    """A directory, a port base, and the command bound to them."""

    def __init__(self, root: Path) -> None:
        self.directory = ClusterDirectory(str(root))
        self.base = free_block()

    def mood(self, node: str, mood: str) -> None:
        self.directory.root.mkdir(exist_ok=True)
        (self.directory.root / f"mood-{node}").write_text(mood)

    def run(self, command: str, *arguments: str) -> int:
        return main([command, "--data-dir", str(self.directory.root), *arguments])

    def up(self, *arguments: str) -> int:
        """Starts kv alone, unless other services are named."""
        services = () if "--services" in arguments else ("--services", "kv")
        return self.run("up", "--detach", "--port-base", str(self.base), *services, *arguments)

    def pid(self, node: str) -> int:
        pid = self.directory.require().nodes[node].pid
        assert pid is not None
        return pid

    def end(self) -> None:
        state = self.directory.load()
        for node in state.nodes.values() if state is not None else ():
            if processes.send(node.pid, node.start, signal.SIGKILL):
                processes.wait_gone(node.pid, node.start, 5.0)
        processes.reap()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    def fake(directory: ClusterDirectory, node: Node) -> list[str]:
        return [sys.executable, "-S", str(FAKE), str(directory.config(node.name))]

    monkeypatch.setattr(supervisor_module, "serve_command", fake)
    # The fakes register nowhere, so most tests would wait for nothing.
    monkeypatch.setattr(up_module, "REGISTERED_S_MAX", 0.0)
    made = Cluster(tmp_path / "cluster")
    yield made
    made.end()
