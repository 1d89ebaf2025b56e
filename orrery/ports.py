"""Whether a port can be had, and who has it otherwise."""

import errno
import socket
from pathlib import Path

from orrery.processes import describe

_PROC = Path("/proc")
_LISTENING = "0A"
_UNCONNECTED = "07"
"""The states of the kernel's tables: TCP_LISTEN, and what a bound UDP socket is in."""


def problem_with(host: str, port: int, *, datagrams: bool = False) -> str | None:
    """Why a server could not listen there, as a person says it; None when it could.

    Looks at TCP, and with `datagrams` at UDP, too.
    """
    for kind in (socket.SOCK_STREAM, *([socket.SOCK_DGRAM] if datagrams else [])):
        try:
            _listen(host, port, kind)
        except OSError as error:
            name = f"port {port}" if kind == socket.SOCK_STREAM else f"UDP port {port}"
            if error.errno != errno.EADDRINUSE:
                return f"{name} on {host} cannot be used: {error.strerror or error}"
            owner = owner_of(port, kind)
            if owner is None:
                return f"{name} is taken"
            pid, command = owner
            return f"{name} is taken by pid {pid}" + (f" ({command})" if command else "")
    return None


def _listen(host: str, port: int, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_DGRAM:
            probe.bind((host, port))
            return
        # As servers do; without it, connections that linger after a restart would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)


def owner_of(port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> tuple[int, str] | None:
    """The process that listens on a port, and its command line; None where /proc does not tell."""
    name, state = ("tcp", _LISTENING) if kind == socket.SOCK_STREAM else ("udp", _UNCONNECTED)
    inodes = set()
    for table in (name, f"{name}6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == state and int(fields[1].rpartition(":")[2], 16) == port:
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
