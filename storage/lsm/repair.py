"""Examines a whole engine, and makes one that opens again out of a damaged one.

What is damaged costs what was in it: a table with bad blocks is written again from the good ones. That may bring back
what the lost part had deleted or replaced, which the report says by naming the table. A manifest that is damaged is
replaced by its copy. With both gone nobody knows which table is newer, and nothing is guessed.
"""

from dataclasses import dataclass, field

from runtime.clock import Clock
from runtime.disk import Disk
from runtime.randomness import Randomness
from storage.engine import Corruption
from storage.lsm.building import BuildOptions, Place, build
from storage.lsm.catalog import Catalog, Edit, TableMeta, table_name, table_number
from storage.lsm.compression import Compression
from storage.lsm.manifest import COPY_DIRECTORY, DIRECTORY, replace_manifest
from storage.lsm.manifest_reading import ManifestReading, read_manifest
from storage.lsm.options import LsmOptions
from storage.lsm.table_reader import BlockCache
from storage.lsm.tables import Tables
from storage.lsm.verify import TableExamination, TableReport, verify_table
from structures.range_set import RangeSet


@dataclass(slots=True)
class EngineReport:
    """What an examination found."""

    path: str
    manifest_damage: list[str] = field(default_factory=list)
    """What is wrong with the manifest and its copy."""
    missing: list[str] = field(default_factory=list)
    """Tables that the manifest names and the directory lacks."""
    tables: list[TableReport] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    """Table files that the manifest does not name: the next opening removes them. No damage."""

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.manifest_damage and not self.missing and all(table.whole for table in self.tables)


@dataclass(slots=True)
class RepairReport:
    """What a repair did."""

    before: EngineReport
    manifest_replaced: bool = False
    dropped: list[str] = field(default_factory=list)
    """Tables of which nothing was left."""
    rewritten: list[str] = field(default_factory=list)
    """Tables that were written again without what was damaged."""


async def find_manifest(disk: Disk, path: str) -> tuple[ManifestReading, list[str]]:
    """The manifest, or its copy when that tells more; and what is wrong with them. Raises Corruption."""
    damage: list[str] = []
    readings: list[ManifestReading] = []
    for directory in (DIRECTORY, COPY_DIRECTORY):
        try:
            reading = await read_manifest(disk, f"{path}/{directory}")
        except FileNotFoundError:
            damage.append(f"{path}/{directory}: missing")
            continue
        if reading.damage is not None:
            damage.append(reading.damage)
        if reading.known:
            readings.append(reading)
    if not readings:
        raise Corruption(
            path, 0, "; ".join([*damage, "neither the manifest nor its copy tells which tables there are"])
        )
    whole = [reading for reading in readings if reading.damage is None]
    if whole:
        return whole[0], damage
    # Numbers only grow: whoever gives out the higher one was written later.
    return max(readings, key=lambda reading: reading.catalog.next_number), damage


async def verify_engine(disk: Disk, path: str) -> EngineReport:
    """Reads every byte of manifest and tables, and changes nothing. Raises Corruption when no manifest can be read."""
    reading, damage = await find_manifest(disk, path)
    report = EngineReport(path, manifest_damage=damage)
    there = await disk.list(path)
    for meta in reading.catalog.tables.values():
        if meta.name not in there:
            report.missing.append(meta.name)
            continue
        full = f"{path}/{meta.name}"
        file = await disk.open(full)
        try:
            report.tables.append(await verify_table(file, full, table_id=meta.table_id))
        finally:
            await file.close()
    known = {meta.name for meta in reading.catalog.tables.values()}
    report.strays = [name for name in there if table_number(name) is not None and name not in known]
    return report


async def repair_engine(
    disk: Disk, path: str, *, clock: Clock, random: Randomness, options: LsmOptions | None = None
) -> RepairReport:
    """Makes the engine open again. No other process may have it open. Raises Corruption when nothing can be known."""
    options = options or LsmOptions()
    before = await verify_engine(disk, path)
    report = RepairReport(before)
    reading, _damage = await find_manifest(disk, path)
    catalog = reading.catalog
    damaged = {table.path.rpartition("/")[2]: table for table in before.tables if not table.whole}
    strays = [number for name in before.strays if (number := table_number(name)) is not None]
    first_number = max([catalog.next_number, *(number + 1 for number in strays)])
    tables = Tables(disk, path, BlockCache(0), random, first_number)
    removed: list[int] = []
    added: list[TableMeta] = []
    for meta in catalog.tables.values():
        if meta.name in before.missing:
            removed.append(meta.number)
            report.dropped.append(meta.name)
        elif meta.name in damaged:
            removed.append(meta.number)
            made = await _write_again(tables, disk, meta, damaged[meta.name], catalog, options)
            added += made
            (report.rewritten if made else report.dropped).append(meta.name)
    if not removed and not before.manifest_damage:
        return report
    repaired = Catalog(dict(catalog.tables), catalog.next_number, catalog.log_lsn, catalog.operator)
    repaired.apply(Edit(removed=tuple(removed), added=tuple(added), next_number=tables.peek_number()))
    await replace_manifest(
        disk, path, repaired, clock=clock, random=random, segment_bytes=options.manifest_segment_bytes
    )
    report.manifest_replaced = True
    return report


async def _write_again(
    tables: Tables, disk: Disk, meta: TableMeta, damage: TableReport, catalog: Catalog, options: LsmOptions
) -> list[TableMeta]:
    """A table out of what is readable of another one. Leaves the damaged file to the next opening."""
    path = f"{tables.path}/{table_name(meta.number)}"
    file = await disk.open(path)
    try:
        examination = TableExamination(file, path, table_id=meta.table_id)
        building = BuildOptions(
            table_bytes_max=1 << 62,
            block_bytes=options.block_bytes,
            filter_bits_per_key=options.filter_bits_per_key,
            compression=Compression.NONE,
            operator=catalog.operator or "",
        )
        ranges = RangeSet(damage.range_deletes or ())
        place = Place(level=meta.level, run=meta.run, now_ms=meta.created_ms)
        return await build(tables, examination.columns(), ranges, building, place, rate=None)
    finally:
        await file.close()
