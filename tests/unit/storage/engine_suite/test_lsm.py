"""The shared suite on the log-structured merge tree, in each of its shapes."""

import random
from dataclasses import replace
from typing import ClassVar

from hypothesis import settings

from runtime.sim import SeededRandomness
from storage.engine import DurableEngine
from storage.lsm import CompactionPolicy, Compression, LsmEngine, LsmOptions
from storage.merge_operators import Append
from tests.unit.storage.engine_suite.durable import DurableEngineMachine

SMALL = LsmOptions(
    memtable_bytes_max=20_000,
    level0_tables_compact=2,
    level0_tables_slow=4,
    level0_tables_stop=6,
    level1_bytes=30_000,
    level_growth=2,
    table_bytes_max=10_000,
    block_cache_bytes=5_000,
    row_cache_bytes=2_000,
    block_bytes=1_000,
    manifest_segment_bytes=2_000,
)
"""So small that fifty steps meet flushes, compactions through all levels, stalls and new manifests."""
SETTINGS = settings(max_examples=40, stateful_step_count=50, deadline=None, derandomize=True)


class StillClock:
    def wall_s(self) -> float:
        return 0.0

    def monotonic_s(self) -> float:
        return 0.0


class LsmMachine(DurableEngineMachine):
    options: ClassVar[LsmOptions] = SMALL

    async def open(self, path: str) -> DurableEngine:
        return await LsmEngine.open(
            self.disk,
            path,
            clock=StillClock(),
            random=SeededRandomness(random.Random(7)),
            options=self.options,
            operator=Append(),
        )


TestLeveled = LsmMachine.TestCase
TestLeveled.settings = SETTINGS


class TieredMachine(LsmMachine):
    options = replace(SMALL, compaction=CompactionPolicy.TIERED, compression=Compression.LZ4)


class LoggedMachine(LsmMachine):
    options = replace(SMALL, wal=True, compression=Compression.ZSTD, wal_segment_bytes=70_000, batch_bytes_max=60_000)


TestTiered = TieredMachine.TestCase
TestTiered.settings = SETTINGS
TestLogged = LoggedMachine.TestCase
TestLogged.settings = SETTINGS
