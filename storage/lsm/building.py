"""Writes ascending columns into one run of new tables."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from runtime.disk import File
from runtime.failpoints import failpoint, register
from storage.lsm.catalog import TableMeta
from storage.lsm.columns import Columns
from storage.lsm.compression import Compression
from storage.lsm.rate_limit import RateLimit
from storage.lsm.table_writer import TableWriter
from storage.lsm.tables import Tables
from structures.range_set import RangeSet

WRITE_BYTES = 1 << 20
"""Blocks are gathered into writes of this size."""

BEFORE_TABLE_SYNC = register("lsm.table.before_sync")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What tables are written with."""

    table_bytes_max: int
    block_bytes: int
    filter_bits_per_key: int
    compression: Compression
    operator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the tables go."""

    level: int
    run: int
    now_ms: int


async def build(
    tables: Tables,
    merged: AsyncIterator[Columns],
    range_deletes: RangeSet,
    options: BuildOptions,
    place: Place,
    *,
    rate: RateLimit | None,
) -> list[TableMeta]:
    """Writes and syncs tables; none when there is nothing to write. Works on the loop in slices of milliseconds.

    `range_deletes` go into the tables that cover their keys: the bounds of a run's tables never overlap.
    """
    metas: list[TableMeta] = []
    low: bytes | None = None
    making: _Making | None = None
    try:
        async for columns in merged:
            if not columns.keys:
                continue
            if making is not None and making.writer.size_bytes >= options.table_bytes_max:
                high = columns.keys[0]
                metas.append(await making.finish(range_deletes.clipped(low, high)))
                making, low = None, high
            if making is None:
                making = await _Making.begin(tables, options, place, rate)
            await making.add(columns)
        rest = range_deletes.clipped(low, None)
        if making is None and rest:
            making = await _Making.begin(tables, options, place, rate)
        if making is not None:
            metas.append(await making.finish(rest))
            making = None
    finally:
        if making is not None:
            await making.file.close()
    if metas:
        await tables.sync_directory()
    return metas


class _Making:
    """A table that is being written."""

    def __init__(
        self, number: int, table_id: int, file: File, options: BuildOptions, place: Place, rate: RateLimit | None
    ) -> None:
        self.file = file
        self.writer = TableWriter(
            table_id=table_id,
            compression=options.compression,
            block_bytes=options.block_bytes,
            filter_bits_per_key=options.filter_bits_per_key,
            operator=options.operator,
            created_ms=place.now_ms,
        )
        self._number = number
        self._table_id = table_id
        self._place = place
        self._rate = rate
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._offset = 0

    @staticmethod
    async def begin(tables: Tables, options: BuildOptions, place: Place, rate: RateLimit | None) -> "_Making":
        number = tables.next_number()
        return _Making(number, tables.new_id(), await tables.create(number), options, place, rate)

    async def add(self, columns: Columns) -> None:
        await self._take(self.writer.add(columns))

    async def finish(self, range_deletes: list[tuple[bytes, bytes]]) -> TableMeta:
        writer = self.writer
        writer.add_range_deletes(range_deletes)
        for parts in writer.finish():
            await self._take(parts)
        failpoint(BEFORE_TABLE_SYNC)
        await self._write(sync=True)
        await self.file.close()
        properties = writer.properties
        lows = [low for low, _ in range_deletes[:1]]
        highs = [high for _, high in range_deletes[-1:]]
        if properties.count:
            lows.append(properties.smallest)
            highs.append(properties.largest + b"\0")
        return TableMeta(
            number=self._number,
            table_id=self._table_id,
            level=self._place.level,
            run=self._place.run,
            size_bytes=writer.written_bytes,
            entries=properties.count,
            low=min(lows),
            high=max(highs),
            range_deletes=properties.range_deletes,
            deletions=properties.deletions,
            expiring=properties.expiring > 0,
            created_ms=self._place.now_ms,
        )

    async def _take(self, parts: list[bytes]) -> None:
        self._parts += parts
        self._parts_bytes += sum(map(len, parts))
        if self._parts_bytes >= WRITE_BYTES:
            await self._write(sync=False)
        else:
            # Others have their turn between two slices.
            await asyncio.sleep(0)

    async def _write(self, *, sync: bool) -> None:
        parts, size = self._parts, self._parts_bytes
        self._parts, self._parts_bytes = [], 0
        if self._rate is not None:
            await self._rate.take(size)
        await self.file.pwrite(parts, self._offset, sync=sync)
        self._offset += size
