"""The tables that make the content at one moment, and who still needs them.

A version never changes: a flush or a compaction makes the next one. Whoever reads over some time (a snapshot, an
iterator) holds the version that it began with, and the version holds its tables: a table's file goes when it is in no
version that anybody holds.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from storage.engine import MergeOperator
from storage.lsm.catalog import TableMeta, runs_of
from storage.lsm.columns import Columns
from storage.lsm.lookup import Lookup
from storage.lsm.read_counters import ReadCounters
from storage.lsm.sorted_run import SortedRun
from storage.lsm.table_reader import TableReader


class Table:
    """An open table."""

    __slots__ = ("_discard", "_holders", "meta", "obsolete", "reader")

    def __init__(self, meta: TableMeta, reader: TableReader, discard: Callable[["Table"], None]) -> None:
        self.meta = meta
        self.reader = reader
        self.obsolete = False
        """Whether the manifest has forgotten it: then its file goes with its last holder."""
        self._holders = 0
        self._discard = discard

    def hold(self) -> None:
        """Adds a holder."""
        self._holders += 1

    def release(self) -> None:
        """Takes a holder away; the last one gives the table to whoever closes and removes."""
        self._holders -= 1
        if self._holders == 0:
            self._discard(self)


class Version:
    """Made with one holder: whoever made it."""

    __slots__ = ("_holders", "expiring", "find", "runs", "tables")

    def __init__(
        self, tables: Iterable[Table], operator: MergeOperator | None, reads: ReadCounters | None = None
    ) -> None:
        """Looks of `find` are counted in `reads`."""
        self.tables = {table.meta.number: table for table in tables}
        self.runs = tuple(self.run_of(metas) for metas in runs_of(self.metas))
        """Layers, newest first."""
        self.find = Lookup(self.runs, operator, reads).find
        """What its layers together say of a key. Raises Corruption and NoMergeOperator."""
        self.expiring = any(meta.expiring for meta in self.metas)
        """Whether any entry may expire."""
        self._holders = 1
        for table in self.tables.values():
            table.hold()

    @property
    def metas(self) -> list[TableMeta]:
        """What is known of its tables."""
        return [table.meta for table in self.tables.values()]

    def hold(self) -> "Version":
        """Adds a holder."""
        assert self._holders > 0, "nobody held this version: its tables may be gone"
        self._holders += 1
        return self

    def release(self) -> None:
        """Takes a holder away."""
        self._holders -= 1
        if self._holders == 0:
            for table in self.tables.values():
                table.release()

    def run_of(self, metas: Iterable[TableMeta]) -> SortedRun:
        """Tables of one run as a layer; `metas` ascend."""
        return SortedRun([self.tables[meta.number].reader for meta in metas])


async def bulk(run: SortedRun) -> AsyncGenerator[Columns, None]:
    """All of a run, for work in the background. Raises Corruption."""
    for table in run.tables:
        async with aclosing(table.bulk()) as found:
            async for columns in found:
                yield columns
