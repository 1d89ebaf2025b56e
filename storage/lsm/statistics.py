"""What an engine tells of itself."""

from dataclasses import dataclass, field

from storage.lsm.read_counters import ReadCounters
from storage.lsm.stalls import Histogram


@dataclass(frozen=True, slots=True)
class LevelStatistics:
    """One level."""

    level: int
    runs: int
    tables: int
    size_bytes: int
    entries: int
    oldest_ms: int
    """Wall time at which its oldest table was made; 0 when it is empty."""


@dataclass(frozen=True, slots=True)
class LsmStatistics:
    """Counts since the engine was opened, and what there is now."""

    levels: tuple[LevelStatistics, ...]
    memtable_bytes: int
    """Of the memtable in use, about."""
    frozen_memtables: int
    frozen_bytes: int
    snapshots: int
    """Open ones."""
    flushes: int
    flushed_bytes: int
    compactions: int
    moves: int
    """Compactions that only changed a table's level."""
    compaction_read_bytes: int
    compaction_written_bytes: int
    pending_compaction_bytes: int
    manifest_bytes: int
    log_bytes: int
    """Of the engine's own log, 0 without one."""
    cache_bytes: int
    cache_evictions: int
    reads: ReadCounters
    open_tables: int
    """Tables whose file is open; see `LsmOptions.open_tables_max`."""
    tables_reopened: int
    """Reads that had to open their table's file again."""
    stalls: tuple[int, ...]
    """Waits of writers in `throttle`, in the buckets of `stalls.WAIT_BOUNDS_MS` and one beyond."""
    stalled_ms: float
    stops: int
    """Waits until the engine had caught up, rather than a short delay."""
    rate_limited_s: float
    """What compactions waited for their rate."""

    @property
    def write_amplification(self) -> float:
        """Bytes written to tables per byte flushed; 1.0 before anything was compacted."""
        if not self.flushed_bytes:
            return 1.0
        return (self.flushed_bytes + self.compaction_written_bytes) / self.flushed_bytes


@dataclass(slots=True)
class Counters:
    """What the parts of the engine count."""

    flushes: int = 0
    flushed_bytes: int = 0
    compactions: int = 0
    moves: int = 0
    compaction_read_bytes: int = 0
    compaction_written_bytes: int = 0
    stops: int = 0
    stalls: Histogram = field(default_factory=Histogram)
