"""Starts, watches and ends the processes of a local cluster. Decision: docs/decisions/0004-local-supervisor.md.

Nothing stays behind to supervise: the processes are on their own, the state file says which they are, and every
command looks at what is really there. So no command trusts that an earlier one finished.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orrery import processes
from orrery.admin_client import Unreachable, get
from orrery.errors import OperatorError
from orrery.keys import make_key
from orrery.layout import PORT_BASE, Node, configuration, decided, node_names, node_of, nodes_of, with_needs
from orrery.logs import last_lines
from orrery.loopback import is_loopback
from orrery.ports import problem_with
from orrery.services import SERVICES
from orrery.state import ClusterDirectory, ClusterState, NodeState, write_atomically
from orrery.toml import Value

READY_S_MAX = 60.0
"""How long a start may take before it counts as failed."""
STOP_S_MAX = 15.0
"""How long a process may take to stop by itself; above the bound of its own graceful shutdown."""
KILL_S_MAX = 5.0
"""How long the kernel may take to bury a killed process."""
POLL_S = 0.1
SHOWN_LOG_LINES = 12

Report = Callable[[str, str, str], None]
"""Called with a node, what it is doing, and a colour."""


def serve_command(directory: ClusterDirectory, node: Node) -> list[str]:
    """What runs a node."""
    config, log = str(directory.config(node.name)), str(directory.log(node.name))
    return [
        *(sys.executable, "-m", "orrery.main", "serve", node.service.name),
        *("--config", config, "--log-file", log),
        *([] if is_loopback(node.host) else ["--insecure"]),
    ]


def environment_for_nodes(environment: Mapping[str, str]) -> dict[str, str]:
    """A node's environment: ours without ORRERY_* except ORRERY_LOG__*.

    Its file says everything, and a variable that is meant for this command (ORRERY_DATA_DIR) or one process would
    otherwise override it in all of them alike.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("ORRERY_") or name.startswith("ORRERY_LOG__")
    }


class Supervisor:
    """The operations on one local cluster. Errors are OperatorError, ready to be shown."""

    def __init__(
        self,
        directory: ClusterDirectory,
        ready_s_max: float = READY_S_MAX,
    ) -> None:
        self.directory = directory
        self._ready_s_max = ready_s_max
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        """What this very command started: to be waited for, or they would stay zombies."""

    # Looking.

    def alive(self, node: NodeState) -> bool:
        """Whether a node's process runs."""
        return processes.is_alive(node.pid, node.start)

    def running(self, state: ClusterState) -> list[str]:
        """The nodes whose process runs."""
        return [name for name, node in state.nodes.items() if self.alive(node)]

    # Starting.

    def prepare(
        self,
        services: Sequence[str],
        host: str,
        port_base: int | None,
        profile: str | None,
        settings: Mapping[str, Mapping[str, Value]] | None = None,
    ) -> ClusterState:
        """The cluster to be started: the one of this directory, or a new one that matches the wishes.

        Ports and profile of a cluster that has data stay what they were: members know each other by them. `settings`
        are added to those that the cluster has.
        """
        for service in services:
            if service not in SERVICES:
                raise OperatorError(f"there is no service {service!r}; there are: {', '.join(SERVICES)}", code=2)
        known = self.directory.load()
        if known is not None and (self.running(known) or any((self.directory.root / "data").glob("*/*"))):
            wishes = {"--port-base": (port_base, known.port_base), "--profile": (profile, known.profile)}
            for option, (wish, fact) in wishes.items():
                if wish is not None and wish != fact:
                    raise OperatorError(
                        f"the cluster in {self.directory.root} was made with {option} {fact}; "
                        "use another --data-dir, or `orrery reset` to wipe it"
                    )
            port_base, profile, host = known.port_base, known.profile, known.host
        token = known.cluster_token if known is not None else secrets.token_hex(8)
        state = ClusterState(host, port_base or PORT_BASE, profile or "standard", token)
        state.settings = dict(known.settings) if known is not None else {}
        wanted = [*(known.services if known is not None else ()), *services]
        for service in with_needs(wanted):
            for name in node_names(service, state.profile):
                before = known.nodes.get(name) if known is not None else None
                state.nodes[name] = before or NodeState(service)
        nodes_of(state)  # the ports must exist
        self._take_settings(state, settings or {})
        return state

    def _take_settings(self, state: ClusterState, settings: Mapping[str, Mapping[str, Value]]) -> None:
        for service, values in settings.items():
            # Imported here alone: it reads a service's configuration, and few set anything.
            from orrery.settings import require_free, require_valid

            nodes = [node for node in nodes_of(state) if node.service.name == service]
            if not nodes:
                raise OperatorError(f"--set: {service} is none of the services of this cluster", code=2)
            for node in nodes:
                require_free(values, decided(self.directory, state, node))
            state.settings[service] = {**state.settings.get(service, {}), **values}
            for node in nodes:
                require_valid(node.service, configuration(self.directory, state, node))

    def start_all(self, state: ClusterState, report: Report) -> list[str]:
        """Starts every node that does not run, waits until all are ready, and returns the names of those started.

        When one fails, those started here are stopped again, and OperatorError shows the end of its log.
        """
        names = [name for name in state.nodes if not self.alive(state.nodes[name])]
        self._require_ports([node_of(state, name) for name in names])
        try:
            for name in names:
                self.spawn(state, name)
                report(name, "starting", "")
            self.wait_ready(state, list(state.nodes), report)
        except BaseException as error:
            # One that has ended by itself stays wanted, so that `status` calls it crashed.
            self.stop(state, [name for name in names if self.alive(state.nodes[name])])
            if isinstance(error, NodeFailed):
                raise OperatorError(f"{error}\nNothing was left running of what this command started.") from error
            raise
        return names

    def spawn(self, state: ClusterState, name: str) -> None:
        """Starts one node and remembers it."""
        node = node_of(state, name)
        self.directory.data(name).mkdir(parents=True, exist_ok=True)
        make_key(self.directory.membership_keys)
        write_atomically(self.directory.config(name), configuration(self.directory, state, node))
        root = Path(__file__).resolve().parents[1]
        command = serve_command(self.directory, node)
        child = processes.spawn(command, self.directory.log(name), environment_for_nodes(os.environ), root)
        self.children[name] = child
        known = state.nodes[name]
        known.desired, known.pid, known.started_wall_s = "running", child.pid, time.time()
        known.start = processes.start_of(child.pid) or "ended"
        self.directory.save(state)

    def start(self, name: str, report: Report) -> ClusterState:
        """Starts one node, and does not wait: one without its peers gets ready only when they are started, too."""
        state = self.directory.require()
        node = node_of(state, name)
        if self.alive(state.nodes[name]):
            raise OperatorError(f"{name} runs already (pid {state.nodes[name].pid})")
        self._require_ports([node])
        self.spawn(state, name)
        report(name, "starting", "")
        return state

    def wait_ready(
        self,
        state: ClusterState,
        names: Sequence[str],
        report: Report,
        *,
        within_s: float | None = None,
        give_up: bool = True,
    ) -> bool:
        """Polls until all are ready. Raises NodeFailed for one that ended, or, with `give_up`, takes too long."""
        deadline_s = time.monotonic() + (self._ready_s_max if within_s is None else within_s)
        waiting = dict.fromkeys(names, "not asked yet")
        while waiting:
            for name in tuple(waiting):
                self._reap()
                if not self.alive(state.nodes[name]):
                    report(name, "failed", "red")
                    code = self.children[name].returncode if name in self.children else None
                    how = f" with exit code {code}" if code is not None and code >= 0 else ""
                    how = f" by signal {-code}" if code is not None and code < 0 else how
                    raise NodeFailed(name, f"{name} ended{how} before it was ready", self._log_end(name))
                why = waiting_for(node_of(state, name))
                if why is None:
                    del waiting[name]
                    report(name, "ready", "green")
                else:
                    waiting[name] = why
                    report(name, f"waiting: {why}", "")
            if waiting and time.monotonic() > deadline_s:
                if not give_up:
                    return False
                name, why = next(iter(waiting.items()))
                seconds = self._ready_s_max if within_s is None else within_s
                raise NodeFailed(name, f"{name} was not ready after {seconds:.0f} s: {why}", self._log_end(name))
            if waiting:
                time.sleep(POLL_S)
        return True

    # Ending.

    def stop(self, state: ClusterState, names: Sequence[str]) -> list[str]:
        """Stops nodes side by side, by force those that do not stop in time; returns the latter."""
        for name in names:
            node = state.nodes[name]
            node.desired = "stopped"
            processes.send(node.pid, node.start, signal.SIGTERM)
        self.directory.save(state)
        forced = []
        deadline_s = time.monotonic() + STOP_S_MAX
        for name in names:
            node = state.nodes[name]
            if not self._wait_gone(name, node, max(0.0, deadline_s - time.monotonic())):
                forced.append(name)
                processes.send(node.pid, node.start, signal.SIGKILL)
                self._wait_gone(name, node, KILL_S_MAX)
        return forced

    def require_node(self, state: ClusterState, name: str) -> None:
        """Raises OperatorError, naming the known ones, when there is no such node."""
        node_of(state, name)

    def kill(self, name: str) -> None:
        """Ends a node as a crash would. It stays dead until it is started."""
        state = self.directory.require()
        node_of(state, name)
        node = state.nodes[name]
        if not self.alive(node):
            raise OperatorError(f"{name} does not run")
        node.desired = "killed"
        self.directory.save(state)
        processes.send(node.pid, node.start, signal.SIGKILL)
        if not self._wait_gone(name, node, KILL_S_MAX):
            raise OperatorError(f"{name} (pid {node.pid}) was killed, but the kernel has not ended it yet")

    def wipe(self) -> None:
        """Removes what Orrery put into the directory, and the directory when nothing else is in it."""
        for name in ("config", "logs", "data", "secrets"):
            if (self.directory.root / name).exists():
                shutil.rmtree(self.directory.root / name)
        self.directory.state_file.unlink(missing_ok=True)
        self.directory.lock_file.unlink(missing_ok=True)
        if not any(self.directory.root.iterdir()):
            self.directory.root.rmdir()

    # Between.

    def _require_ports(self, nodes: Sequence[Node]) -> None:
        problems = [
            f"{problem} (wanted by {node.name} as its {port.purpose} port)"
            for node in nodes
            for port in node.ports
            if (problem := problem_with(node.host, port.number, datagrams=port.has_datagrams)) is not None
        ]
        if problems:
            raise OperatorError("\n".join(problems) + "\nFree it, or choose others with --port-base.")

    def _reap(self) -> None:
        processes.reap()

    def _wait_gone(self, name: str, node: NodeState, within_s: float) -> bool:
        gone = processes.wait_gone(node.pid, node.start, within_s)
        child = self.children.get(name)
        if gone and child is not None and child.pid == node.pid:
            child.wait()
        return gone

    def _log_end(self, name: str) -> list[str]:
        return last_lines(self.directory.log(name), SHOWN_LOG_LINES)


class NodeFailed(OperatorError):
    """A node did not come up. Its text includes the end of the node's log."""

    def __init__(self, node: str, what: str, log: Sequence[str]) -> None:
        shown = "\n".join(f"  {node} | {line}" for line in log) or f"  {node} printed nothing"
        super().__init__(f"{what}. The end of its log:\n{shown}")


def waiting_for(node: Node) -> str | None:
    """What a node waits for before it is ready; None when it is."""
    try:
        status, body = get(node.host, node.admin_port, "/readyz", timeout_s=1.0)
    except Unreachable:
        return "its admin port"
    if status == 200:
        return None
    failing = [line[4:] for line in body.decode(errors="replace").splitlines() if line.startswith("[-] ")]
    return "; ".join(failing) or f"/readyz answers {status}"
