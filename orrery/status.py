"""`orrery status` and `orrery env`: what is there."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from orrery.admin_client import Unreachable, get
from orrery.layout import Node, node_of, nodes_of
from orrery.processes import is_alive
from orrery.state import ClusterDirectory, ClusterState
from orrery.supervisor import waiting_for
from orrery.terminal import duration, table

ASKED_AT_ONCE_MAX = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A process, as `status --json` shows it. The names and types are a contract with scripts."""

    service: str
    node: str
    pid: int | None
    """None when it does not run."""
    state: str
    """`running`: alive and ready. `unready`: alive. `stopped`, `killed`: by the operator. `crashed`: by itself."""
    role: str
    """`leader`, `follower`, ...; empty when it does not run or the service has no such notion."""
    endpoints: dict[str, str]
    data_dir: str
    uptime_s: float


def rows_of(directory: ClusterDirectory, state: ClusterState) -> list[Row]:
    """Asks all processes, side by side."""
    with ThreadPoolExecutor(ASKED_AT_ONCE_MAX) as pool:
        return list(pool.map(lambda node: _row(directory, state, node), nodes_of(state)))


def _row(directory: ClusterDirectory, state: ClusterState, node: Node) -> Row:
    known = state.nodes[node.name]
    alive = is_alive(known.pid, known.start)
    role = ""
    if alive:
        shown = "running" if waiting_for(node) is None else "unready"
        role = str(info_of(node).get("role", ""))
    else:
        shown = "crashed" if known.desired == "running" else known.desired
    return Row(
        service=known.service,
        node=node.name,
        pid=known.pid if alive else None,
        state=shown,
        role=role,
        endpoints=node.endpoints,
        data_dir=str(directory.data(node.name)),
        uptime_s=round(max(0.0, time.time() - known.started_wall_s), 1) if alive else 0.0,
    )


def info_of(node: Node) -> dict[str, object]:
    """What a process says of itself; empty when it does not answer."""
    try:
        status, body = get(node.host, node.admin_port, "/info", timeout_s=1.0)
        document = json.loads(body) if status == 200 else {}
    except (Unreachable, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def status(directory: ClusterDirectory, *, as_json: bool) -> int:
    """Prints a row a process. No cluster is an empty list, not an error: scripts ask before they start one."""
    state = directory.load()
    rows = rows_of(directory, state) if state is not None else []
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif not rows:
        print(f"There is no cluster in {directory.root}; `orrery up` makes one.")
    else:
        print(table_of(rows))
    return 0


def table_of(rows: list[Row]) -> str:
    """The rows for a person."""
    header = ("SERVICE", "NODE", "PID", "STATE", "ROLE", "ENDPOINTS", "UPTIME", "DATA")
    cells = [
        (
            row.service,
            row.node,
            str(row.pid or "-"),
            row.state,
            row.role or "-",
            " ".join(f"{name}={address}" for name, address in row.endpoints.items()),
            duration(row.uptime_s) if row.pid else "-",
            row.data_dir,
        )
        for row in rows
    ]
    return table(header, cells, sys.stdout)


def environment(state: ClusterState) -> dict[str, str]:
    """The variables of the services that exist."""
    variables = {}
    if "kv" in state.services:
        nodes = [node_of(state, name) for name, node in state.nodes.items() if node.service == "kv"]
        variables["ETCDCTL_API"] = "3"
        variables["ETCDCTL_ENDPOINTS"] = ",".join(node.endpoints["etcd"] for node in nodes)
    if "lock" in state.services:
        nodes = [node_of(state, name) for name, node in state.nodes.items() if node.service == "lock"]
        variables["ORRERY_LOCK_ENDPOINTS"] = ",".join(node.endpoints["lock"] for node in nodes)
    return variables


def env(directory: ClusterDirectory) -> int:
    """Prints exports for `eval "$(orrery env)"`. Values are our own addresses: nothing in them needs quoting."""
    for name, value in environment(directory.require()).items():
        print(f"export {name}={value}")
    return 0
