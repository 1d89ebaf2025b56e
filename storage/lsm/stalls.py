"""How fast writers may go on: decisions without I/O, and the histogram of what was waited."""

from bisect import bisect_left
from dataclasses import dataclass

from storage.lsm.options import LsmOptions
from storage.lsm.picking import Pressure

WAIT_BOUNDS_MS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0)
"""Upper bounds of the histogram's buckets; the last one, beyond them, is open."""
SLOWDOWN_FACTOR_MAX = 10.0
"""Just before the stop a call waits so many times longer than at the start of the slowdown."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a writer has to do."""

    stop: bool
    """Wait until something has changed."""
    delay_ms: float
    """Else wait so long, which may be 0."""
    reason: str


FREE = Pace(stop=False, delay_ms=0.0, reason="")


def pace(frozen_memtables: int, pressure: Pressure, options: LsmOptions) -> Pace:
    """What the engine's state asks of writers."""
    if frozen_memtables > options.frozen_memtables_max:
        return Pace(True, 0.0, f"{frozen_memtables} memtables wait to be flushed")
    shares = (
        (pressure.level0_runs, options.level0_tables_slow, options.level0_tables_stop, "runs in level 0"),
        (
            pressure.pending_bytes,
            options.pending_compaction_bytes_slow,
            options.pending_compaction_bytes_stop,
            "bytes wait for compaction",
        ),
    )
    slowest = FREE
    for value, slow, stop, what in shares:
        if value >= stop:
            return Pace(True, 0.0, f"{value} {what}")
        if value >= slow:
            share = (value - slow) / (stop - slow)
            delay_ms = options.slowdown_ms * (1 + share * (SLOWDOWN_FACTOR_MAX - 1))
            if delay_ms > slowest.delay_ms:
                slowest = Pace(False, delay_ms, f"{value} {what}")
    return slowest


class Histogram:
    """Counts durations in the buckets of WAIT_BOUNDS_MS."""

    __slots__ = ("counts", "total_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(WAIT_BOUNDS_MS) + 1)
        self.total_ms = 0.0

    def observe(self, duration_ms: float) -> None:
        """Adds one."""
        self.counts[bisect_left(WAIT_BOUNDS_MS, duration_ms)] += 1
        self.total_ms += duration_ms
