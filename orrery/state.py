"""What the local supervisor remembers, in `state.json` of the cluster's directory.

It is replaced atomically. A process is remembered by its id and its start, so that an id which the kernel gave to
somebody else since is told apart (see `orrery.processes`).
"""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, cast

from orrery.errors import OperatorError
from orrery.toml import Value

FORMAT = 1
LOCK_WAIT_S_MAX = 90.0
"""How long a command waits for another one that changes the same cluster; longer than a start may take."""

Desired = Literal["running", "stopped", "killed"]


@dataclass(slots=True)
class NodeState:
    """One process, as the operator wants it and as it was last started."""

    service: str
    desired: Desired = "stopped"
    pid: int | None = None
    start: str = ""
    """Identifies the process among all that ever had its id; see `processes.start_of`."""
    started_wall_s: float = 0.0


@dataclass(slots=True)
class ClusterState:
    """A local cluster."""

    host: str
    port_base: int
    profile: str
    cluster_token: str
    """Random, made at the first start: processes of two clusters never join by mistake."""
    nodes: dict[str, NodeState] = field(default_factory=dict)
    settings: dict[str, dict[str, Value]] = field(default_factory=dict)
    """What `--set` wants otherwise: by service, then by the key's path in its configuration."""

    @property
    def services(self) -> list[str]:
        """The services that exist, in order."""
        return list(dict.fromkeys(node.service for node in self.nodes.values()))


class ClusterDirectory:
    """The directory of one local cluster, and where things are in it."""

    def __init__(self, root: str) -> None:
        self.root = Path(root).absolute()
        self.state_file = self.root / "state.json"
        self.lock_file = self.root / "lock"
        self.secrets = self.root / "secrets"
        """What is random, made at the first start, and readable by the operator alone."""
        self.membership_keys = self.secrets / "membership.keys"

    def config(self, node: str) -> Path:
        """The configuration that the supervisor writes for a node."""
        return self.root / "config" / f"{node}.toml"

    def log(self, node: str) -> Path:
        """What a node prints."""
        return self.root / "logs" / f"{node}.log"

    def data(self, node: str) -> Path:
        """What a node owns."""
        return self.root / "data" / node

    def create(self) -> None:
        """Makes the directories. Raises OperatorError when they cannot be written."""
        try:
            for name in ("config", "logs", "data"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise OperatorError(
                f"the data directory {self.root} cannot be written: {error.strerror}\n"
                "Choose another one with --data-dir or ORRERY_DATA_DIR."
            ) from error

    def load(self) -> ClusterState | None:
        """The state, or None when no cluster was made here. Raises OperatorError when it cannot be understood."""
        try:
            document = json.loads(self.state_file.read_text(encoding="utf-8"))
            if document.pop("format") != FORMAT:
                raise ValueError("it was written by another version of Orrery")
            nodes = {name: NodeState(**node) for name, node in document.pop("nodes").items()}
            return ClusterState(**document, nodes=nodes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise OperatorError(f"{self.state_file} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OperatorError(
                f"{self.state_file} cannot be understood: {error}\n"
                "Stop the processes that run from it by hand, then remove the file; the nodes' data is not in it."
            ) from error

    def require(self) -> ClusterState:
        """The state. Raises OperatorError when there is none."""
        state = self.load()
        if state is None:
            raise OperatorError(f"there is no cluster in {self.root}; `orrery up` makes one")
        return state

    def save(self, state: ClusterState) -> None:
        """Replaces the state atomically."""
        document = {"format": FORMAT, **cast("dict[str, object]", asdict(state))}
        write_atomically(self.state_file, json.dumps(document, indent=2) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds off other commands that change this cluster. Raises OperatorError when one does not finish."""
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline_s = time.monotonic() + LOCK_WAIT_S_MAX
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline_s:
                        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                        raise OperatorError(
                            f"another orrery command (pid {holder}) is changing the cluster in {self.root}"
                        ) from error
                    time.sleep(0.05)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's content; a reader sees the old or the new, and so does whoever comes after a crash."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
