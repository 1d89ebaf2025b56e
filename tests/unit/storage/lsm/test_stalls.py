"""Writers are free, slowed in proportion, or stopped."""

from storage.lsm.options import LsmOptions
from storage.lsm.picking import Pressure
from storage.lsm.stalls import WAIT_BOUNDS_MS, Histogram, pace

OPTIONS = LsmOptions(
    frozen_memtables_max=2, level0_tables_compact=4, level0_tables_slow=10, level0_tables_stop=20, slowdown_ms=1.0
)


def test_the_pace_follows_what_is_worst() -> None:
    free = pace(2, Pressure(9, 0), OPTIONS)
    assert not free.stop
    assert free.delay_ms == 0
    delays = [pace(0, Pressure(runs, 0), OPTIONS).delay_ms for runs in range(10, 20)]
    assert delays[0] == 1.0
    assert delays == sorted(delays)
    assert delays[-1] < 10.0
    assert pace(0, Pressure(20, 0), OPTIONS).stop
    assert pace(3, Pressure(0, 0), OPTIONS).stop
    assert pace(0, Pressure(0, OPTIONS.pending_compaction_bytes_stop), OPTIONS).stop
    both = pace(0, Pressure(10, OPTIONS.pending_compaction_bytes_stop - 1), OPTIONS)
    assert both.delay_ms > 9
    assert "bytes" in both.reason


def test_durations_fall_into_their_buckets() -> None:
    histogram = Histogram()
    for duration_ms in (0.0, 0.1, 0.2, 49.0, 51.0, 1e9):
        histogram.observe(duration_ms)
    assert sum(histogram.counts) == 6
    assert histogram.counts[0] == 2
    assert histogram.counts[WAIT_BOUNDS_MS.index(50.0)] == 1
    assert histogram.counts[-1] == 1
    assert histogram.total_ms > 1e9
