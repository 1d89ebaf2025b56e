"""What reads count as they go, for all tables of an engine together."""

from dataclasses import dataclass


@dataclass(slots=True)
class ReadCounters:
    """Gets and scans, those of snapshots included. What merges read in the background is not in it."""

    table_gets: int = 0
    """Gets that were answered neither by memtables nor by the rows found lately. Those that were are not counted: it
    would make them a tenth slower."""
    block_hits: int = 0
    """Blocks that were in the cache."""
    block_misses: int = 0
    """Blocks that were read, one at a time, and offered to the cache."""
    blocks_past_cache: int = 0
    """Blocks that long scans read, many at a time and past the cache."""
    filter_rejects: int = 0
    """Looks into a table that its filter spared."""
    filter_false_positives: int = 0
    """Looks into a table that its filter let pass although the key was not there."""
