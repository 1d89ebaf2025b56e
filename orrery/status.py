"""`orrery status` and `orrery env`: what is there."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

from orrery.admin_client import Unreachable, get
from orrery.layout import Node, nodes_of
from orrery.processes import is_alive
from orrery.registry_health import RegistryHealth, ask_registry
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
    health: str
    """What the registry says: `passing`, `warning`, `critical`; empty when it does not answer, or does not know it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is there, as the processes say it and as the registry does."""

    rows: list[Row]
    registry: RegistryHealth


def report(directory: ClusterDirectory, state: ClusterState) -> Report:
    """Asks all processes, and the registry, side by side."""
    nodes = nodes_of(state)
    living = [name for name, node in state.nodes.items() if is_alive(node.pid, node.start)]
    with ThreadPoolExecutor(ASKED_AT_ONCE_MAX) as pool:
        asked = pool.submit(ask_registry, nodes, living)
        rows = list(pool.map(lambda node: _row(directory, state, node), nodes))
        registry = asked.result()
    return Report([replace(row, health=registry.by_node.get(row.node, "")) for row in rows], registry)


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
        health="",
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
    if as_json:
        rows = report(directory, state).rows if state is not None else []
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif state is None or not state.nodes:
        print(f"There is no cluster in {directory.root}; `orrery up` makes one.")
    else:
        print(text_of(report(directory, state)))
    return 0


def text_of(report: Report) -> str:
    """The rows for a person, and where the health is from."""
    text = _table_of(report.rows)
    if report.registry.source:
        return f"{text}\n\nHEALTH is what the registry at {report.registry.source} says."
    if report.registry.problem:
        return f"{text}\n\nThe registry does not answer ({report.registry.problem}): this is what the processes say."
    return text


def _table_of(rows: list[Row]) -> str:
    header = ("SERVICE", "NODE", "PID", "STATE", "HEALTH", "ROLE", "ENDPOINTS", "UPTIME", "DATA")
    cells = [
        (
            row.service,
            row.node,
            str(row.pid or "-"),
            row.state,
            row.health or "-",
            row.role or "-",
            " ".join(f"{name}={address}" for name, address in row.endpoints.items()),
            duration(row.uptime_s) if row.pid else "-",
            row.data_dir,
        )
        for row in rows
    ]
    return table(header, cells, sys.stdout)


def environment(state: ClusterState) -> dict[str, str]:
    """The variables of the services that exist. Where only one process can be named, it is one that runs, if any."""
    by_service: dict[str, list[Node]] = {}
    for node in nodes_of(state):
        by_service.setdefault(node.service.name, []).append(node)
    variables = {}
    if nodes := by_service.get("kv"):
        variables["ETCDCTL_API"] = "3"
        variables["ETCDCTL_ENDPOINTS"] = ",".join(node.endpoints["etcd"] for node in nodes)
    if nodes := by_service.get("lock"):
        variables["ORRERY_LOCK_ENDPOINTS"] = ",".join(node.endpoints["lock"] for node in nodes)
    if nodes := by_service.get("registry"):
        one = next((node for node in nodes if is_alive(*_process_of(state, node))), nodes[0])
        variables["CONSUL_HTTP_ADDR"] = one.endpoints["consul"]
        variables["ORRERY_REGISTRY_ENDPOINTS"] = ",".join(node.endpoints["registry"] for node in nodes)
        variables["ORRERY_DNS"] = one.endpoints["dns"]
    return variables


def _process_of(state: ClusterState, node: Node) -> tuple[int | None, str]:
    known = state.nodes[node.name]
    return known.pid, known.start


def env(directory: ClusterDirectory) -> int:
    """Prints exports for `eval "$(orrery env)"`. Values are our own addresses: nothing in them needs quoting."""
    for name, value in environment(directory.require()).items():
        print(f"export {name}={value}")
    return 0
