"""Whether a port can be had, and who has it otherwise."""

import errno
import socket
from pathlib import Path

from orrery.processes import describe

_PROC = Path("/proc")
_LISTENING = "0A"


def problem_with(host: str, port: int) -> str | None:
    """Why a server could not listen there, as a person says it; None when it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do; without it, connections that linger after a restart would count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return f"port {port} on {host} cannot be used: {error.strerror or error}"
        owner = owner_of(port)
        if owner is None:
            return f"port {port} is taken"
        pid, command = owner
        return f"port {port} is taken by pid {pid}" + (f" ({command})" if command else "")
    return None


def owner_of(port: int) -> tuple[int, str] | None:
    """The process that listens on a port, and its command line; None where /proc does not tell."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if any(str(link.readlink()) in inodes for link in (entry / "fd").iterdir()):
                return int(entry.name), describe(int(entry.name))
        except OSError:
            continue  # it ended, or belongs to another user
    return None
