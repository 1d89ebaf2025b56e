"""Processes of the host: who they are, whether they live, and signals that never reach a stranger.

A process id is reused. What does not come again is the pair of the id and the moment of the start, so both are
remembered and compared before each signal; on Linux the signal then goes through a pidfd, which was opened before the
comparison and stays bound to that very process.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_IS_LINUX: bool = (_PROC / "self/stat").exists()
_WAIT_STEP_S = 0.02
_started: list[subprocess.Popen[bytes]] = []
"""Keeps what this command started from being collected: Popen takes a child that outlives it for a mistake."""


@cache
def _boot() -> str:
    """Start times in /proc count from the boot, so the boot belongs to them."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""


def start_of(pid: int) -> str | None:
    """What identifies the process that has this id now; None when none has it, or it has ended and is a zombie."""
    if _IS_LINUX:
        try:
            fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        # proc_pid_stat(5): after the name come the state (field 3) and, 19 further, the start in clock ticks.
        if fields[0] in (b"Z", b"X"):
            return None
        return f"{_boot()}:{fields[19].decode()}"
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = found.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def is_alive(pid: int | None, start: str) -> bool:
    """Whether the very process that was started then still runs."""
    return pid is not None and start_of(pid) == start


def send(pid: int | None, start: str, number: signal.Signals) -> bool:
    """Sends a signal to that very process; False when it runs no more."""
    if pid is None:
        return False
    try:
        if _IS_LINUX:
            descriptor = os.pidfd_open(pid)
            try:
                if start_of(pid) != start:
                    return False
                signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
            return True
        if start_of(pid) != start:
            return False
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_gone(pid: int | None, start: str, within_s: float) -> bool:
    """Waits until that process has ended; False when it still runs after `within_s` seconds."""
    deadline_s = time.monotonic() + within_s
    while is_alive(pid, start):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_WAIT_STEP_S)
    return True


def spawn(
    command: Sequence[str], log: Path, environment: Mapping[str, str], directory: Path
) -> subprocess.Popen[bytes]:
    """Starts a process that survives this one and its terminal. What it prints is appended to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
        )
    _started.append(child)
    return child


def reap() -> None:
    """Takes note of the children that have ended; until then they are zombies."""
    for child in _started:
        child.poll()
    _started[:] = [child for child in _started if child.returncode is None]


def describe(pid: int) -> str:
    """A process's command line for a person, cut to 80 characters; empty when it cannot be seen."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    line = b" ".join(words).decode(errors="replace").strip()
    return line if len(line) <= 80 else line[:77] + "..."
