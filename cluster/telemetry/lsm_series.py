"""What an LSM engine tells of itself, as Prometheus series: read from its statistics when somebody asks.

Every series has the label `engine`, since a process may have several.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from storage.lsm import LsmStatistics
from storage.lsm.stalls import WAIT_BOUNDS_MS

_GAUGES = {
    "memtable_bytes": "Bytes in the memtable in use, about.",
    "frozen_memtables": "Memtables that wait to be flushed, or are shown by snapshots.",
    "frozen_bytes": "Bytes in those, about.",
    "snapshots": "Open snapshots.",
    "pending_compaction_bytes": "Bytes above what the levels should hold.",
    "manifest_bytes": "Bytes of the manifest.",
    "log_bytes": "Bytes of the engine's own log.",
    "cache_bytes": "Bytes in the block cache.",
}
_COUNTERS = {
    "flushes": "Flushes.",
    "flushed_bytes": "Bytes of tables that flushes wrote.",
    "compactions": "Compactions that wrote.",
    "moves": "Compactions that only changed the level of a table.",
    "compaction_read_bytes": "Bytes of tables that compactions read.",
    "compaction_written_bytes": "Bytes of tables that compactions wrote.",
    "stops": "Times that writers stood still until the engine had caught up.",
    "cache_evictions": "Blocks that had to leave the cache.",
}


class LsmSeries(Collector):
    """Register it with the process's registry; `engines` gives the engines by name when asked."""

    def __init__(self, engines: Callable[[], dict[str, LsmStatistics]]) -> None:
        self._engines = engines

    def describe(self) -> list[Metric]:
        """Nothing: asking the engines at registration would be too early."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All series of all engines."""
        engines = self._engines()
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"orrery_lsm_{name}", text, labels=["engine"])
            for engine, statistics in engines.items():
                gauge.add_metric([engine], getattr(statistics, name))
            yield gauge
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"orrery_lsm_{name}", text, labels=["engine"])
            for engine, statistics in engines.items():
                counter.add_metric([engine], getattr(statistics, name))
            yield counter
        levels = {
            name: GaugeMetricFamily(f"orrery_lsm_level_{name}", text, labels=["engine", "level"])
            for name, text in {
                "runs": "Sorted runs of a level.",
                "tables": "Tables of a level.",
                "size_bytes": "Bytes of a level.",
                "entries": "Entries of a level.",
            }.items()
        }
        stalls = HistogramMetricFamily(
            "orrery_lsm_stall_seconds",
            "What writers waited for the engine, each time they gave way.",
            labels=["engine"],
        )
        for engine, statistics in engines.items():
            for level in statistics.levels:
                for name, family in levels.items():
                    family.add_metric([engine, str(level.level)], getattr(level, name))
            counts = list(accumulate(statistics.stalls))
            bounds = [*(str(bound_ms / 1000) for bound_ms in WAIT_BOUNDS_MS), "+Inf"]
            stalls.add_metric([engine], list(zip(bounds, counts, strict=True)), statistics.stalled_ms / 1000)
        yield from levels.values()
        yield stalls
