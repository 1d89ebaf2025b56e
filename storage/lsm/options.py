"""How an engine behaves: every limit has a name and a unit here."""

import enum
from dataclasses import dataclass

from storage.lsm.compression import Compression
from storage.lsm.table_format import DEFAULT_BLOCK_BYTES, DEFAULT_FILTER_BITS_PER_KEY

OPEN_TABLES_MAX = 256
"""Of one engine: a quarter of the descriptors that a process is mostly given, and sixteen gigabytes of full tables."""


class CompactionPolicy(enum.Enum):
    """Which tables are merged when. docs/decisions/0013-lsm-engine.md weighs them."""

    LEVELED = "leveled"
    """Each level is one sorted run, ten times the one above: few layers to read, more bytes written."""
    TIERED = "tiered"
    """Runs of about the same size are merged into one: fewer bytes written, more layers and more space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LsmOptions:
    """The defaults fit a service beside fifteen others on a laptop."""

    memtable_bytes_max: int = 64 << 20
    """What the memtable in use may take, keys, values and MEMTABLE_ENTRY_BYTES each, before it is frozen."""
    frozen_memtables_max: int = 3
    """Writers wait (see `throttle`) while more memtables than this wait to be flushed."""
    wal: bool = False
    """Whether the engine keeps a log of its own. Off: what was not flushed is gone after a crash."""
    compaction: CompactionPolicy = CompactionPolicy.LEVELED
    level0_tables_compact: int = 6
    """So many runs in level 0 (tiered: of about the same size) are merged."""
    level0_tables_slow: int = 14
    """From so many on writers are slowed down, in proportion."""
    level0_tables_stop: int = 24
    """At so many writers stand still until there are fewer."""
    pending_compaction_bytes_slow: int = 1 << 30
    """From so many bytes above what the levels should hold writers are slowed down."""
    pending_compaction_bytes_stop: int = 4 << 30
    """At so many writers stand still."""
    slowdown_ms: float = 5.0
    """What a slowed writer waits in `throttle`, every two megabytes, at the least: up to four times that while
    memtables wait, up to ten times near the stop."""
    level1_bytes: int = 256 << 20
    """What level 1 should hold at most."""
    level_growth: int = 10
    """Each further level should hold so many times more."""
    levels: int = 7
    table_bytes_max: int = 64 << 20
    """Compaction begins another table from this size on."""
    compaction_bytes_max: int = 2 << 30
    """A compaction takes no more input than this, unless the least possible input is more."""
    compaction_rate_bytes_s: int | None = None
    """Compactions write no faster than this. None: as fast as they can."""
    block_cache_bytes: int = 64 << 20
    row_cache_bytes: int = 48 << 20
    """Values that were found in tables are kept by key: a hot one costs a dict lookup. 0 switches it off."""
    open_tables_max: int = OPEN_TABLES_MAX
    """So many tables have their file open. Of the others index and filter stay in memory, and a read of a block that is
    not in the cache opens the file again, in place of the one that was read the longest ago."""
    block_bytes: int = DEFAULT_BLOCK_BYTES
    filter_bits_per_key: int = DEFAULT_FILTER_BITS_PER_KEY
    compression: Compression = Compression.NONE
    manifest_segment_bytes: int = 1 << 20
    """The manifest is written anew when it has grown beyond two of these."""
    wal_segment_bytes: int = 64 << 20
    batch_bytes_max: int = 24 << 20
    """With `wal`, a batch that takes more in the log is refused."""

    def __post_init__(self) -> None:
        """Raises ValueError that names the field which makes no sense."""
        for name in (
            "memtable_bytes_max",
            "frozen_memtables_max",
            "level0_tables_compact",
            "level1_bytes",
            "table_bytes_max",
            "open_tables_max",
            "block_bytes",
            "manifest_segment_bytes",
            "batch_bytes_max",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 2 <= self.levels <= 16:
            raise ValueError("levels must be from 2 to 16")
        if self.level_growth < 2:
            raise ValueError("level_growth must be at least 2")
        if not self.level0_tables_compact <= self.level0_tables_slow <= self.level0_tables_stop:
            raise ValueError("level0_tables_compact <= level0_tables_slow <= level0_tables_stop must hold")
        if self.pending_compaction_bytes_slow > self.pending_compaction_bytes_stop:
            raise ValueError("pending_compaction_bytes_slow must not be above pending_compaction_bytes_stop")
