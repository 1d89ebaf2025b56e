"""What `--without` switches off, one at a time: the judges must find that out.

Raft's own rules are fields of `cluster.raft.core.Safeguards`. Production has no way to switch one off, and shall have
none: what boots while `lacking` lasts is built with the rule patched away.
"""

import contextlib
import dataclasses
import functools
import unittest.mock
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from cluster.raft.core import Safeguards
from cluster.raft.driver import HostOptions
from cluster.replica.interface import Replicated
from cluster.replica.sessions import SessionTable
from runtime import Clock
from services.kv import main as kv_main
from services.kv import node as node_module
from services.kv.lease import lessor as lessor_module
from services.kv.lease.lessor import LeaderLink, Lessor, LessorTimes
from services.kv.lease.timekeeper import Timekeeper
from services.kv.mvcc.leases import Lease, LeaseTable
from services.kv.state_machine import Result

_admit = SessionTable.admit


def _admit_all(table: SessionTable, origin: int, incarnation: int, sequence: int, lowest: int) -> bool:
    """Applies a command as often as the log holds it: no session dedupe."""
    _admit(table, origin, incarnation, sequence, lowest)
    return True


class _StubbornTimekeeper(Timekeeper):
    """Every member counts from the grant, and who becomes leader goes by that: no lease guard.

    What the leader before had renewed, the next one does not know, and gives no time for it.
    """

    def start(self, leases: Iterable[Lease], now_s: float, grace_s: float) -> None:
        self.is_running = True
        for lease in leases:
            if lease.id not in self._deadlines:
                self._set(lease.id, now_s + lease.ttl_s, now_s)

    def stop(self) -> None:
        self.is_running = False

    def granted(self, lease: Lease, now_s: float) -> None:
        self._set(lease.id, now_s + lease.ttl_s, now_s)


class _WallClock:
    """Measures time by the clock that can be stepped."""

    def __init__(self, clock: Clock) -> None:
        self.wall_s = self.monotonic_s = clock.wall_s


class _SteppedLessor(Lessor):
    """Goes by the wall clock: no lease clock."""

    def __init__(
        self,
        replica: Replicated[Result],
        leases: Callable[[], LeaseTable],
        clock: Clock,
        times: LessorTimes,
        link: LeaderLink,
    ) -> None:
        super().__init__(replica, leases, _WallClock(clock), times, link)


_PATCHES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "session_dedupe": lambda: unittest.mock.patch.object(SessionTable, "admit", _admit_all),
    "lease_guard": lambda: unittest.mock.patch.object(lessor_module, "Timekeeper", _StubbornTimekeeper),
    "lease_clock": lambda: unittest.mock.patch.object(node_module, "Lessor", _SteppedLessor),
}
"""Safeguards that are no fields of Raft's."""

SEGMENT_BYTES = 4 << 10
"""Of the log, so that half a minute fills several."""
APPEND_BYTES = 32
"""Of entries in one message, so that catching up takes several."""
RAFT_SAFEGUARDS = tuple(field.name for field in dataclasses.fields(Safeguards))
SAFEGUARDS = (*RAFT_SAFEGUARDS, *_PATCHES)
"""What can be switched off."""


@contextlib.contextmanager
def lacking(without: str) -> Iterator[None]:
    """Members that boot while the block runs lack the safeguard of this name, one of SAFEGUARDS; with "", none."""
    safeguards = Safeguards(**{without: False}) if without in RAFT_SAFEGUARDS else Safeguards()
    with contextlib.ExitStack() as stack:
        if without in _PATCHES:
            stack.enter_context(_PATCHES[without]())
        stack.enter_context(
            unittest.mock.patch.object(
                kv_main,
                "HostOptions",
                functools.partial(
                    HostOptions,
                    safeguards=safeguards,
                    wal_segment_bytes=SEGMENT_BYTES,
                    entries_bytes_per_message_max=APPEND_BYTES,
                ),
            )
        )
        yield
