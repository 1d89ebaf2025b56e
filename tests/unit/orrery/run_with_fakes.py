"""The `orrery` command with fake_service.py in the place of the services, for tests that need it as a process."""

import sys
from pathlib import Path

from orrery import supervisor, up
from orrery.layout import Node
from orrery.main import main
from orrery.state import ClusterDirectory

FAKE = Path(__file__).with_name("fake_service.py")


def fake_command(directory: ClusterDirectory, node: Node) -> list[str]:
    return [sys.executable, "-S", str(FAKE), str(directory.config(node.name))]


if __name__ == "__main__":
    supervisor.serve_command = fake_command
    up.REGISTERED_S_MAX = 0.0
    sys.exit(main())
