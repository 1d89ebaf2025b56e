"""The statistics of an engine as measures."""

from collections.abc import Iterator

from storage.lsm.statistics import LsmStatistics
from storage.measures import Measure


def measures(told: LsmStatistics) -> Iterator[Measure]:
    """What is worth a graph."""
    reads = told.reads
    for name, text, value in (
        ("tables", "Tables.", sum(level.tables for level in told.levels)),
        ("open_tables", "Tables whose file is open.", told.open_tables),
        ("memtable_bytes", "Bytes of the memtable in use.", told.memtable_bytes),
        ("frozen_memtable_bytes", "Bytes of memtables that wait to be flushed.", told.frozen_bytes),
        ("pending_compaction_bytes", "Bytes above what the levels should hold.", told.pending_compaction_bytes),
        ("block_cache_bytes", "Bytes of blocks in the cache.", told.cache_bytes),
    ):
        yield Measure(f"lsm_{name}", text, value)
    for name, text, count in (
        ("flushes", "Memtables flushed.", told.flushes),
        ("flushed_bytes", "Bytes that flushes wrote.", told.flushed_bytes),
        ("compactions", "Compactions.", told.compactions),
        ("compaction_read_bytes", "Bytes that compactions read.", told.compaction_read_bytes),
        ("compaction_written_bytes", "Bytes that compactions wrote.", told.compaction_written_bytes),
        ("stall_seconds", "Seconds that writers waited for the background.", told.stalled_ms / 1000),
        ("stops", "Times that writers stood still until the background had caught up.", told.stops),
        ("table_gets", "Gets that memtables and the cache of rows did not answer.", reads.table_gets),
        ("block_cache_hits", "Blocks that were in the cache.", reads.block_hits),
        ("block_cache_misses", "Blocks that had to be read.", reads.block_misses),
        ("block_cache_evictions", "Blocks that had to leave the cache.", told.cache_evictions),
        ("blocks_past_cache", "Blocks that long scans read past the cache.", reads.blocks_past_cache),
        ("filter_rejects", "Looks into a table that a filter spared.", reads.filter_rejects),
        ("filter_false_positives", "Looks that a filter let pass in vain.", reads.filter_false_positives),
        ("tables_reopened", "Reads that had to open their table's file again.", told.tables_reopened),
    ):
        yield Measure(f"lsm_{name}", text, count, is_counter=True)
