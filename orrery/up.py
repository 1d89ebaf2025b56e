"""`orrery up`."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from orrery import processes
from orrery.errors import OperatorError
from orrery.layout import nodes_of
from orrery.logs import last_lines
from orrery.loopback import is_loopback
from orrery.services import SERVICES
from orrery.state import ClusterDirectory, ClusterState
from orrery.status import Report, report, text_of
from orrery.supervisor import SHOWN_LOG_LINES, Supervisor
from orrery.terminal import Progress, complain, paint

if TYPE_CHECKING:
    from orrery.settings import Settings

WATCH_S = 0.3
"""Seconds between two looks at the processes in the foreground."""

REGISTERED_S_MAX = 5.0
"""How long processes that are ready may take until the registry says so, too."""


class Interrupted(Exception):
    """The operator or the terminal wants an end."""


def up(
    directory: ClusterDirectory,
    *,
    services: str | None,
    port_base: int | None,
    detach: bool,
    profile: str | None,
    host: str,
    insecure: bool,
    timeout: float,
    settings: Sequence[str] = (),
) -> int:
    """Starts what does not run, waits, tells how to reach it, and, in the foreground, stays until interrupted."""
    if not is_loopback(host) and not insecure:
        raise OperatorError(
            f"--host {host} can be reached from other machines, and nothing asks them who they are. "
            "Say --insecure if that is what you want.",
            code=2,
        )
    wanted = [name.strip() for name in services.split(",") if name.strip()] if services is not None else list(SERVICES)
    wishes = _parsed(settings)
    directory.create()
    supervisor = Supervisor(directory, ready_s_max=timeout)
    try:
        with _interruptible():
            with directory.locked():
                state = supervisor.prepare(wanted, host, port_base, profile, wishes)
                running = supervisor.running(state)
                if running and not detach:
                    raise OperatorError(
                        f"the cluster in {directory.root} runs already ({', '.join(running)}).\n"
                        "`orrery status` shows it, `orrery logs -f` follows it, `orrery down` stops it."
                    )
                started = supervisor.start_all(state, Progress(list(state.nodes)).update)
                if wishes:
                    directory.save(state)  # also when nothing was started
            _tell_unchanged(wishes, [name for name in running if state.nodes[name].service in wishes])
            if not started:
                print(f"The cluster in {directory.root} runs already.")
            _introduce(directory, state, within_s=REGISTERED_S_MAX if started else 0.0)
            if detach:
                return 0
            print(paint("Ctrl-C stops the cluster.", "dim", sys.stdout), flush=True)
            return _watch(directory, supervisor, state)
    except Interrupted:
        return _stop(directory, supervisor)


def _parsed(settings: Sequence[str]) -> "Settings":
    if not settings:
        return {}
    # Imported here alone: it reads a service's configuration, and few set anything.
    from orrery.settings import parse_settings

    return parse_settings(settings)


def _tell_unchanged(settings: "Settings", running: Sequence[str]) -> None:
    if settings and running:
        complain(
            f"what was set holds for {', '.join(running)} from their next start on: `orrery stop` and `start` them"
        )


def _introduce(directory: ClusterDirectory, state: ClusterState, within_s: float) -> None:
    print()
    print(text_of(_when_registered(directory, state, within_s)))
    print()
    where = "" if directory.root == Path.cwd() / ".orrery" else f" --data-dir {directory.root}"
    orrery = _own_name()
    lines = [f'eval "$({orrery} env{where})"']
    if "kv" in state.services:
        lines += [
            "etcdctl put greeting hello",
            "etcdctl get greeting",
            "etcdctl watch --prefix gre      # and put again from another terminal",
            "etcdctl endpoint status -w table",
        ]
    if "lock" in state.services:
        address = next(node.endpoints["lock"] for node in nodes_of(state) if node.service.name == "lock")
        lines.append(f'grpcurl -plaintext -d \'{{"name": "my-lock"}}\' {address} orrery.lock.v1.Locks/Inspect')
    if "registry" in state.services:
        node = next(node for node in nodes_of(state) if node.service.name == "registry")
        lines += [
            f"curl {node.endpoints['consul']}/v1/catalog/services",
            f"curl '{node.endpoints['consul']}/v1/health/service/kv?passing'",
            f"dig @{node.host} -p {node.dns_port} kv.service.consul SRV",
        ]
    lines.append(f"curl {nodes_of(state)[0].endpoints['admin']}/metrics")
    lines.append(f"{orrery} down{where}")
    print("Try:")
    for line in lines:
        print(f"  {paint(line, 'cyan', sys.stdout)}")
    print(flush=True)


def _when_registered(directory: ClusterDirectory, state: ClusterState, within_s: float) -> Report:
    """What is there, when the registry knows all of it, or the time is over: nothing depends on it."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = report(directory, state)
        has_registry = bool(found.registry.source or found.registry.problem)
        settled = not has_registry or all(row.health == "passing" for row in found.rows if row.pid)
        if settled or time.monotonic() > deadline_s:
            return found
        time.sleep(WATCH_S)


def _own_name() -> str:
    """How the operator called us, so that what is printed can be pasted."""
    return "orrery" if sys.argv[0].endswith(("main.py", "pytest")) else sys.argv[0]


def _watch(directory: ClusterDirectory, supervisor: Supervisor, started: ClusterState) -> int:
    """Tells of processes that end, until all were stopped or someone interrupts."""
    # All of them lived when they were ready, a moment ago: one that has ended since must be told of, too.
    lived = {name: node.pid for name, node in started.nodes.items()}
    while True:
        time.sleep(WATCH_S)
        processes.reap()
        state = directory.load()
        if state is None:
            print("The cluster was wiped by another command.")
            return 0
        alive = supervisor.running(state)
        for name, node in state.nodes.items():
            if name in alive:
                lived[name] = node.pid
            elif lived.pop(name, None) is not None:
                _tell_end(directory, supervisor, name, node.desired)
        if not alive and all(node.desired == "stopped" for node in state.nodes.values()):
            print("The cluster was stopped by another command.")
            return 0


def _tell_end(directory: ClusterDirectory, supervisor: Supervisor, name: str, desired: str) -> None:
    if desired != "running":
        print(f"{name} was {desired} by another command.", flush=True)
        return
    child = supervisor.children.get(name)
    code = child.returncode if child is not None else None
    shown = "\n".join(f"  {name} | {line}" for line in last_lines(directory.log(name), SHOWN_LOG_LINES))
    complain(f"{name} crashed (exit code {code}); `orrery start {name}` starts it again.\n{shown}")


def _stop(directory: ClusterDirectory, supervisor: Supervisor) -> int:
    """Stops everything. A second Ctrl-C during it is ignored: stopping is bounded anyway."""
    print("\nStopping.", flush=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with directory.locked():
        state = directory.load()
        if state is not None:
            for name in supervisor.stop(state, list(state.nodes)):
                complain(f"{name} did not stop in time and was ended by force")
    return 130


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turns SIGINT, SIGTERM and SIGHUP into Interrupted, so that each of them unwinds what was begun."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
