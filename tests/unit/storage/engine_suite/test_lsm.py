"""The shared suite on the log-structured merge tree, in each of its shapes."""

import random
from dataclasses import replace
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from runtime.failpoints import arm, disarm_all, sites
from runtime.sim import PowerLost, SeededRandomness
from storage.engine import DurableEngine
from storage.lsm import CompactionPolicy, Compression, LsmEngine, LsmOptions
from storage.merge_operators import Append
from tests.unit.storage.engine_suite.durable import CALM_WRITES_MIN, DurableEngineMachine
from tests.unit.storage.engine_suite.machine import CHANGES, Change

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

    @rule()
    def compact(self) -> None:
        number = self.first + len(self.states) - 1
        self.run(self.lsm.compact())
        self.flushed(number)

    @precondition(lambda self: self.calm >= CALM_WRITES_MIN)
    @rule(
        site=st.sampled_from([site for site in sites() if site.startswith("lsm.")]),
        skip=st.integers(0, 2),
        what=st.sampled_from(["flush", "compact", "checkpoint"]),
        changes=st.lists(CHANGES, min_size=1, max_size=4),
    )
    def crash_at(self, site: str, skip: int, what: str, changes: list[Change]) -> None:
        """The power is lost at a named place of a flush, a compaction, or a switch of the manifest."""

        def lose() -> None:
            self.disk.power_lost = True
            raise PowerLost

        self.crashes += 1
        for change in changes:
            self.write_one(change)
        number = self.first + len(self.states) - 1
        arm(site, lose, skip=skip, first=1)
        try:
            if what == "flush":
                self.run(self.lsm.flush())
            elif what == "compact":
                self.run(self.lsm.compact())
            else:
                self.run(self.lsm.checkpoint(f"copies/at-{self.crashes}"))
        except OSError as error:
            if not self.disk.power_lost:
                raise AssertionError("only a power loss may break it") from error
        else:
            if what != "checkpoint":
                self.flushed(number)
        finally:
            disarm_all()
        self.lose_power([])

    @property
    def lsm(self) -> LsmEngine:
        assert isinstance(self.engine, LsmEngine)
        return self.engine


class TieredMachine(LsmMachine):
    options = replace(SMALL, compaction=CompactionPolicy.TIERED, compression=Compression.LZ4)


class LoggedMachine(LsmMachine):
    options = replace(SMALL, wal=True, compression=Compression.ZSTD, wal_segment_bytes=70_000, batch_bytes_max=60_000)


TestLeveled = LsmMachine.TestCase
TestLeveled.settings = SETTINGS
TestTiered = TieredMachine.TestCase
TestTiered.settings = SETTINGS
TestLogged = LoggedMachine.TestCase
TestLogged.settings = SETTINGS
