"""What `orrery lsm` does: each action gives an object for scripts, lines for a terminal, and whether all is well."""

from dataclasses import asdict

from runtime import Disk
from runtime.real import SystemClock, SystemRandomness
from storage.lsm.catalog import TableMeta, runs_of, table_name
from storage.lsm.columns import Entry, Expiring, Operands
from storage.lsm.repair import EngineReport, find_manifest, repair_engine, verify_engine
from storage.lsm.table_reader import BlockCache, TableReader

Told = tuple[dict[str, object], list[str], bool]
TEXT_CHARACTERS_MAX = 60
"""Of a key or a value on a terminal."""


async def dump(disk: Disk, path: str) -> Told:
    """All tables, newest first."""
    reading, damage = await find_manifest(disk, path)
    tables = [meta for run in runs_of(list(reading.catalog.tables.values())) for meta in run]
    lines = [f"{'table':>10} {'level':>5} {'run':>8} {'bytes':>12} {'entries':>10} {'deleted':>8} {'ranges':>6}  keys"]
    lines += [
        f"{meta.number:>10} {meta.level:>5} {meta.run:>8} {meta.size_bytes:>12} {meta.entries:>10} "
        f"{meta.deletions:>8} {meta.range_deletes:>6}  {_text(meta.low)} .. {_text(meta.high)}"
        for meta in tables
    ]
    found: dict[str, object] = {
        "path": path,
        "operator": reading.catalog.operator or None,
        "next_number": reading.catalog.next_number,
        "log_lsn": reading.catalog.log_lsn,
        "tables": [_meta_object(meta) for meta in tables],
        "manifest_damage": damage,
    }
    return found, lines + [f"damage: {each}" for each in damage], not damage


async def dump_table(disk: Disk, path: str, number: int, limit: int) -> Told:
    """The first entries of one table. Raises Corruption."""
    full = f"{path}/{table_name(number)}"
    reader = await TableReader.open(await disk.open(full), full, BlockCache(0))
    pairs: list[tuple[bytes, Entry]] = []
    try:
        for columns in reader.columns(None, None):
            pairs += zip(columns.keys, columns.entries, strict=True)
            if len(pairs) >= limit:
                break
        range_deletes = reader.range_deletes
    finally:
        await reader.close()
    pairs = pairs[:limit]
    found: dict[str, object] = {
        "path": full,
        "range_deletes": [{"low": low.hex(), "high": high.hex()} for low, high in range_deletes],
        "entries": [{"key": key.hex(), **_entry_object(entry)} for key, entry in pairs],
    }
    lines = [f"range deleted: {_text(low)} .. {_text(high)}" for low, high in range_deletes]
    lines += [f"{_text(key)} = {_entry_text(entry)}" for key, entry in pairs]
    return found, lines, True


async def stats(disk: Disk, path: str) -> Told:
    """What each level holds."""
    reading, damage = await find_manifest(disk, path)
    metas = list(reading.catalog.tables.values())
    levels = []
    for level in sorted({meta.level for meta in metas}):
        own = [meta for meta in metas if meta.level == level]
        levels.append(
            {
                "level": level,
                "runs": len({meta.run for meta in own}),
                "tables": len(own),
                "bytes": sum(meta.size_bytes for meta in own),
                "entries": sum(meta.entries for meta in own),
                "deletions": sum(meta.deletions for meta in own),
                "oldest_ms": min(meta.created_ms for meta in own),
            }
        )
    lines = [f"{'level':>5} {'runs':>5} {'tables':>7} {'bytes':>14} {'entries':>12} {'deleted':>10}"]
    lines += [
        f"{each['level']:>5} {each['runs']:>5} {each['tables']:>7} {each['bytes']:>14} {each['entries']:>12} "
        f"{each['deletions']:>10}"
        for each in levels
    ]
    total = {
        "bytes": sum(meta.size_bytes for meta in metas),
        "entries": sum(meta.entries for meta in metas),
        "tables": len(metas),
    }
    lines.append(f"{total['tables']} tables, {total['bytes']} bytes, {total['entries']} entries")
    found: dict[str, object] = {
        "path": path,
        "operator": reading.catalog.operator or None,
        "levels": levels,
        **total,
        "manifest_bytes": reading.size_bytes,
        "manifest_damage": damage,
    }
    return found, lines + [f"damage: {each}" for each in damage], not damage


async def verify(disk: Disk, path: str) -> Told:
    """Every byte of manifest and tables."""
    report = await verify_engine(disk, path)
    return _report_object(report), _report_lines(report), report.whole


async def repair(disk: Disk, path: str) -> Told:
    """Repairs, and tells what was lost."""
    report = await repair_engine(disk, path, clock=SystemClock(), random=SystemRandomness())
    found = {
        "before": _report_object(report.before),
        "manifest_replaced": report.manifest_replaced,
        "dropped": report.dropped,
        "rewritten": report.rewritten,
    }
    lines = _report_lines(report.before)
    lines += [f"dropped: {name}: nothing of it was left" for name in report.dropped]
    lines += [f"rewritten: {name}: what its lost part deleted or replaced may be back" for name in report.rewritten]
    lines.append("repaired" if report.manifest_replaced else "nothing to repair")
    return found, lines, True


def _report_object(report: EngineReport) -> dict[str, object]:
    damages = [asdict(damage) for table in report.tables for damage in table.damages]
    return {
        "path": report.path,
        "whole": report.whole,
        "tables": len(report.tables),
        "keys": sum(table.keys for table in report.tables),
        "manifest_damage": report.manifest_damage,
        "missing": report.missing,
        "strays": report.strays,
        "damages": damages,
    }


def _report_lines(report: EngineReport) -> list[str]:
    lines = [f"manifest: {each}" for each in report.manifest_damage]
    lines += [f"missing: {name}" for name in report.missing]
    for table in report.tables:
        lines += [f"{damage.path}: offset {damage.offset}: {damage.block}: {damage.what}" for damage in table.damages]
        if table.damage_count > len(table.damages):
            lines.append(f"{table.path}: and {table.damage_count - len(table.damages)} more")
    lines += [f"stray: {name} (the next opening removes it)" for name in report.strays]
    keys = sum(table.keys for table in report.tables)
    lines.append(f"{len(report.tables)} tables, {keys} readable keys: {'whole' if report.whole else 'DAMAGED'}")
    return lines


def _meta_object(meta: TableMeta) -> dict[str, object]:
    return {
        "number": meta.number,
        "level": meta.level,
        "run": meta.run,
        "bytes": meta.size_bytes,
        "entries": meta.entries,
        "deletions": meta.deletions,
        "range_deletes": meta.range_deletes,
        "expiring": meta.expiring,
        "created_ms": meta.created_ms,
        "low": meta.low.hex(),
        "high": meta.high.hex(),
    }


def _entry_object(entry: Entry) -> dict[str, object]:
    if entry is None:
        return {"deleted": True}
    if isinstance(entry, Operands):
        return {"operands": [operand.hex() for operand in entry.operands]}
    if isinstance(entry, Expiring):
        return {"value": entry.value.hex(), "expires_ms": entry.expires_ms}
    return {"value": entry.hex()}


def _entry_text(entry: Entry) -> str:
    if entry is None:
        return "(deleted)"
    if isinstance(entry, Operands):
        return "operands " + ", ".join(map(_text, entry.operands))
    if isinstance(entry, Expiring):
        return f"{_text(entry.value)} until {entry.expires_ms} ms"
    return _text(entry)


def _text(data: bytes) -> str:
    shown = repr(data)[2:-1]
    return shown if len(shown) <= TEXT_CHARACTERS_MAX else shown[:TEXT_CHARACTERS_MAX] + "..."
