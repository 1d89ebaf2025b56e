"""What the commands on a local cluster do: each function is a command, each argument one of its options."""

import sys
from typing import TYPE_CHECKING

from orrery.errors import OperatorError
from orrery.state import ClusterDirectory
from orrery.terminal import Progress, complain

if TYPE_CHECKING:
    from orrery.supervisor import Supervisor


def up(data_dir: str, **options: object) -> int:
    """Starts the cluster."""
    from orrery import up as command

    return command.up(ClusterDirectory(data_dir), **options)  # type: ignore[arg-type]  # as in main._parser


def status(data_dir: str, json: bool) -> int:
    """One row a process."""
    from orrery import status as command

    return command.status(ClusterDirectory(data_dir), as_json=json)


def env(data_dir: str) -> int:
    """Exports for real clients."""
    from orrery import status as command

    return command.env(ClusterDirectory(data_dir))


def logs(data_dir: str, which: str | None, follow: bool, lines: int, raw: bool) -> int:
    """What the processes print."""
    from orrery import logs as command

    return command.logs(ClusterDirectory(data_dir), which, lines, follow=follow, raw=raw)


def doctor(data_dir: str, json: bool) -> int:
    """What is wrong with this machine."""
    from orrery import doctor as command

    return command.doctor(ClusterDirectory(data_dir), as_json=json)


def down(data_dir: str) -> int:
    """Stops everything. Nothing to stop is no error."""
    supervisor = _supervisor(data_dir)
    if supervisor.directory.load() is None:
        print(f"There is no cluster in {supervisor.directory.root}.")
        return 0
    with supervisor.directory.locked():
        if not _stop_all(supervisor):
            print("Nothing runs.")
    return 0


def reset(data_dir: str, yes: bool) -> int:
    """Stops everything and wipes its data."""
    supervisor = _supervisor(data_dir)
    directory = supervisor.directory
    state = directory.load()
    if state is None:
        print(f"There is no cluster in {directory.root}; nothing to wipe.")
        return 0
    if not yes:
        running = supervisor.running(state)
        fact = f" It runs ({', '.join(running)}) and will be stopped." if running else ""
        question = f"This wipes all data of the cluster in {directory.root}.{fact}"
        if not sys.stdin.isatty():
            raise OperatorError(f"{question}\nSay --yes to do it.", code=2)
        if input(f"{question} Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was done.")
            return 1
    with directory.locked():
        _stop_all(supervisor)
        supervisor.wipe()
    print(f"Wiped {directory.root}.")
    return 0


def stop(data_dir: str, node: str) -> int:
    """Stops one process. One that is stopped already is no error."""
    supervisor = _supervisor(data_dir)
    supervisor.directory.require()
    with supervisor.directory.locked():
        state = supervisor.directory.require()
        supervisor.require_node(state, node)
        running = node in supervisor.running(state)
        forced = supervisor.stop(state, [node])
    print(f"{node} stopped." if running else f"{node} does not run.")
    for name in forced:
        complain(f"{name} did not stop in time and was ended by force")
    return 0


def start(data_dir: str, node: str, wait: float) -> int:
    """Starts one process. One that does not get ready for want of its peers is left running, and that is said."""
    supervisor = _supervisor(data_dir)
    supervisor.directory.require()
    report = Progress([node]).update
    with supervisor.directory.locked():
        state = supervisor.start(node, report)
    # Without the lock: when the whole cluster is down, this node waits for others that are yet to be started.
    if not supervisor.wait_ready(state, [node], report, within_s=wait, give_up=False):
        print(f"{node} runs, but is not ready after {wait:.0f} s; `orrery status` and `orrery logs {node}` tell more.")
    return 0


def kill(data_dir: str, node: str) -> int:
    """Ends one process as a crash would."""
    supervisor = _supervisor(data_dir)
    supervisor.directory.require()
    with supervisor.directory.locked():
        supervisor.kill(node)
    print(f"{node} killed; `orrery start {node}` starts it again.")
    return 0


def _supervisor(data_dir: str) -> "Supervisor":
    from orrery.supervisor import Supervisor

    return Supervisor(ClusterDirectory(data_dir))


def _stop_all(supervisor: "Supervisor") -> bool:
    """Stops what runs and says so; False when nothing ran."""
    state = supervisor.directory.require()
    running = supervisor.running(state)
    forced = supervisor.stop(state, list(state.nodes))
    for name in running:
        print(f"{name}  {'ended by force, it did not stop in time' if name in forced else 'stopped'}")
    return bool(running)
