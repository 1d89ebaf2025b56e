"""Catches code under simulation that reaches past the doors.

While a world runs, the standard library's clocks, entropy, threads and sockets are replaced by functions that raise
Leak and name the caller. A few libraries that may ask for the time get virtual time instead: what they do with it
(a log record's time) decides nothing. Process ids are those of simulated lives. Modules that took a function by
`from time import time` before are not seen; what they leak shows as different traces of the same seed, if it matters.
"""

import contextlib
import os
import random
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from runtime.sim.clock import EPOCH_S
from runtime.sim.errors import Leak
from runtime.sim.loop import SimLoop

MAY_ASK_THE_TIME = ("logging", "prometheus_client", "concurrent.futures", "threading", "warnings", "_pytest", "pytest")
"""Packages that get virtual time."""

PID_MIN = 1000
"""Every life of every host has a process id of its own, from this one on: the world's."""

_CLOCKS: tuple[tuple[str, float], ...] = (
    ("time", EPOCH_S),
    ("monotonic", 0.0),
    ("perf_counter", 0.0),
    ("process_time", 0.0),
)
_RANDOM = (
    "random",
    "randrange",
    "randint",
    "choice",
    "choices",
    "shuffle",
    "sample",
    "uniform",
    "getrandbits",
    "gauss",
)


@contextlib.contextmanager
def guarded(loop: SimLoop) -> Iterator[None]:
    """Watches while the block runs."""
    before: list[tuple[Any, str, Any]] = []

    def replace(module: Any, name: str, function: Callable[..., Any]) -> None:
        before.append((module, name, getattr(module, name)))
        setattr(module, name, function)

    for name, start_s in _CLOCKS:
        replace(time, name, _clock(loop, f"time.{name}", start_s, nanoseconds=False))
        replace(time, f"{name}_ns", _clock(loop, f"time.{name}_ns", start_s, nanoseconds=True))
    replace(time, "sleep", _forbidden(loop, "time.sleep"))
    replace(os, "getpid", lambda: PID_MIN + loop.current.index)
    replace(os, "urandom", _forbidden(loop, "os.urandom"))
    for name in ("uuid1", "uuid4"):
        replace(uuid, name, _forbidden(loop, f"uuid.{name}"))
    for name in _RANDOM:
        replace(random, name, _forbidden(loop, f"random.{name}"))
    replace(threading.Thread, "start", _forbidden(loop, "threading.Thread.start"))
    replace(socket, "socket", _forbidden(loop, "socket.socket"))
    replace(socket, "getaddrinfo", _forbidden(loop, "socket.getaddrinfo"))
    try:
        yield
    finally:
        for module, name, function in reversed(before):
            setattr(module, name, function)


def _caller() -> tuple[str, str]:
    frame = sys._getframe(2)
    return str(frame.f_globals.get("__name__", "?")), f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _clock(loop: SimLoop, name: str, start_s: float, *, nanoseconds: bool) -> Callable[[], float]:
    def read() -> float:
        module, place = _caller()
        if not module.startswith(MAY_ASK_THE_TIME):
            raise _leak(loop, name, place)
        now_s = start_s + loop.virtual_s
        return int(now_s * 1e9) if nanoseconds else now_s

    return read


def _forbidden(loop: SimLoop, name: str) -> Callable[..., Any]:
    def refuse(*arguments: object, **options: object) -> Any:
        _, place = _caller()
        raise _leak(loop, name, place)

    return refuse


def _leak(loop: SimLoop, name: str, place: str) -> Leak:
    leak = Leak(f"{name} was called from {place}: use the doors of runtime")
    # Raised for the caller's traceback, and noted for the run, in case that the caller swallows it.
    loop.fail(leak)
    return leak
