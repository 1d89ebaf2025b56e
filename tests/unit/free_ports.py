"""Ports for servers that a test starts by number.

They lie below the range from which the kernel gives ports to connections (from 32768 on, on Linux), so that nobody is
given one by chance between the look and the listening; and each worker of a parallel run has its own.
"""

import itertools
import os
import socket

WORKERS_MAX = 8
"""As `make test` has at the most."""
BLOCK = 100
"""Ports of a local cluster."""
_BLOCKS = range(12_000, 20_000, BLOCK)
_PORTS = range(20_000, 32_000)

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS_MAX


def _own(ports: range) -> "itertools.cycle[int]":
    """Those of this worker, over and over, from somewhere on: another run of the tests may be going on beside this."""
    own = ports[_worker::WORKERS_MAX]
    first = os.getpid() % len(own)
    return itertools.cycle([*own[first:], *own[:first]])


_ports = _own(_PORTS)
_blocks = _own(_BLOCKS)


def _is_free(port: int) -> bool:
    try:
        with (
            socket.create_server(("127.0.0.1", port)),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            datagrams.bind(("127.0.0.1", port))
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port on which nobody listens, by TCP or UDP."""
    return next(port for port in itertools.islice(_ports, len(_PORTS)) if _is_free(port))


def free_block() -> int:
    """The first of BLOCK ports on none of which anybody listens."""
    for base in itertools.islice(_blocks, len(_BLOCKS)):
        if all(_is_free(base + offset) for offset in range(BLOCK)):
            return base
    raise AssertionError("no free ports")
