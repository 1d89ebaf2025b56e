"""Which tables are merged next: decisions without I/O.

Leveled: level 0 holds what was flushed, runs that overlap; each deeper level is one run, `level_growth` times the size
of the one above. Whatever is furthest above its size gives way into the next level (O'Neil et al., "The Log-Structured
Merge-Tree", 1996; the picking of the table with the least overlap is RocksDB's kMinOverlappingRatio).

Tiered: runs of about the same size are merged into one, newest first (RocksDB calls it universal compaction); a run
keeps the age of the newest that went into it, so only runs that are neighbours in age are ever merged.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from storage.lsm.catalog import TableMeta, runs_of
from storage.lsm.options import CompactionPolicy, LsmOptions

SIZE_RATIO = 1.25
"""Tiered: a run is taken along when it is no larger than this times what was taken before it."""
DELETIONS_SHARE = 2
"""Leveled: a table of which at least one entry in so many deletes is taken down when nothing else is to be done."""
SPACE_RATIO_MAX = 2.0
"""Tiered: everything is merged when the newer runs take more than this times the oldest."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One compaction."""

    inputs: tuple[TableMeta, ...]
    """All that goes away."""
    level: int
    """Where the output goes."""
    run: int
    """The age of the output within level 0; 0 deeper."""
    move: bool
    """Whether the inputs only change their level: nothing is read or written."""
    bottom: bool
    """Whether nothing older overlaps: what is deleted need not be remembered."""
    reason: str


@dataclass(frozen=True, slots=True)
class Pressure:
    """How far the levels are behind."""

    level0_runs: int
    pending_bytes: int
    """Bytes above what the levels should hold."""


def pick(tables: Iterable[TableMeta], options: LsmOptions) -> Plan | None:
    """The most urgent compaction, or None when all is in shape. O(n log n) for n tables."""
    levels = _levels(tables, options.levels)
    if options.compaction is CompactionPolicy.TIERED:
        return _pick_tiered(levels, options)
    return _pick_leveled(levels, options)


def pick_everything(tables: Sequence[TableMeta], options: LsmOptions) -> Plan | None:
    """The compaction that leaves one run with nothing superfluous in it. None when there is nothing."""
    if not tables:
        return None
    deepest = max(meta.level for meta in tables)
    level = deepest if options.compaction is CompactionPolicy.TIERED else max(1, deepest)
    run = max(meta.run for meta in tables) if level == 0 else 0
    return Plan(tuple(tables), level, run, move=False, bottom=True, reason="all")


def pressure(tables: Iterable[TableMeta], options: LsmOptions) -> Pressure:
    """What stall control looks at."""
    levels = _levels(tables, options.levels)
    runs = len({meta.run for meta in levels[0]})
    if options.compaction is CompactionPolicy.TIERED:
        return Pressure(runs, 0)
    pending = sum(meta.size_bytes for meta in levels[0]) if runs >= options.level0_tables_compact else 0
    carried = pending
    for level in range(1, options.levels - 1):
        above = carried + _size(levels[level]) - level_target(level, options)
        carried = max(0, above)
        pending += carried
    return Pressure(runs, pending)


def level_target(level: int, options: LsmOptions) -> int:
    """Bytes that a level, 1 or deeper, should hold at most."""
    return options.level1_bytes * int(options.level_growth ** (level - 1))


def _levels(tables: Iterable[TableMeta], count: int) -> list[list[TableMeta]]:
    levels: list[list[TableMeta]] = [[] for _ in range(count)]
    for meta in tables:
        # An engine that was written with more levels keeps what it has there; it moves no further.
        while meta.level >= len(levels):
            levels.append([])
        levels[meta.level].append(meta)
    for level in levels[1:]:
        level.sort(key=lambda meta: meta.low)
    return levels


def _size(tables: Iterable[TableMeta]) -> int:
    return sum(meta.size_bytes for meta in tables)


def _pick_leveled(levels: list[list[TableMeta]], options: LsmOptions) -> Plan | None:
    scores = [len({meta.run for meta in levels[0]}) / options.level0_tables_compact]
    scores += [_size(levels[level]) / level_target(level, options) for level in range(1, options.levels - 1)]
    level = max(range(len(scores)), key=scores.__getitem__)
    if scores[level] < 1:
        return _pick_deletions(levels, options)
    if level == 0:
        return _into(_oldest_runs(levels, options), levels, 1, f"level 0 holds {scores[0]:.1f} times its runs")
    source = _least_overlapping(levels[level], levels[level + 1])
    return _into([source], levels, level + 1, f"level {level} is {scores[level]:.2f} times its size")


def _pick_deletions(levels: list[list[TableMeta]], options: LsmOptions) -> Plan | None:
    """When nothing else is to be done: a table that mostly deletes goes down, since what it deletes takes space."""
    for level in range(1, options.levels - 1):
        for meta in levels[level]:
            mostly = (meta.deletions + meta.range_deletes) * DELETIONS_SHARE >= max(1, meta.entries)
            if mostly and any(_overlapping(deeper, meta.low, meta.high) for deeper in levels[level + 1 :]):
                return _into([meta], levels, level + 1, f"table {meta.number} mostly deletes")
    return None


def _oldest_runs(levels: list[list[TableMeta]], options: LsmOptions) -> list[TableMeta]:
    """As many of the runs of level 0 as one compaction may take, the oldest first."""
    taken: list[TableMeta] = []
    for run in reversed(runs_of(levels[0])):
        if taken and _size(taken) + _size(run) > options.compaction_bytes_max:
            break
        taken += run
    return taken


def _least_overlapping(sources: list[TableMeta], targets: list[TableMeta]) -> TableMeta:
    """The table for which the fewest bytes beneath must be written again, relative to its own."""

    def cost(meta: TableMeta) -> tuple[float, int]:
        beneath = _size(_overlapping(targets, meta.low, meta.high))
        # Deletions free space beneath, so that they are worth going down early.
        weight = meta.size_bytes * (1 + meta.deletions / max(1, meta.entries))
        return beneath / max(1.0, weight), meta.number

    return min(sources, key=cost)


def _into(sources: list[TableMeta], levels: list[list[TableMeta]], level: int, reason: str) -> Plan:
    low = min(meta.low for meta in sources)
    high = max(meta.high for meta in sources)
    targets = _overlapping(levels[level], low, high)
    inputs = sources + targets
    low = min(meta.low for meta in inputs)
    high = max(meta.high for meta in inputs)
    bottom = not any(_overlapping(deeper, low, high) for deeper in levels[level + 1 :])
    sources = sorted(sources, key=lambda meta: meta.low)
    apart = all(left.high <= right.low for left, right in pairwise(sources))
    superfluous = bottom and any(meta.deletions or meta.range_deletes for meta in sources)
    return Plan(tuple(inputs), level, 0, move=not targets and apart and not superfluous, bottom=bottom, reason=reason)


def _overlapping(run: list[TableMeta], low: bytes, high: bytes) -> list[TableMeta]:
    """The tables of a sorted run that share keys with low <= key < high."""
    start = bisect_right(run, low, key=lambda meta: meta.high)
    end = bisect_left(run, high, key=lambda meta: meta.low)
    return run[start:end]


def _pick_tiered(levels: list[list[TableMeta]], options: LsmOptions) -> Plan | None:
    runs = runs_of([meta for level in levels for meta in level])
    if len(runs) < options.level0_tables_compact:
        return None
    sizes = [_size(run) for run in runs]
    if sum(sizes[:-1]) > SPACE_RATIO_MAX * sizes[-1]:
        return _merge_runs(runs, 0, len(runs), "the newer runs take too much space")
    for start in range(len(runs)):
        end = start + 1
        taken = sizes[start]
        while end < len(runs) and sizes[end] <= SIZE_RATIO * taken:
            taken += sizes[end]
            end += 1
        if end - start >= options.level0_tables_compact:
            return _merge_runs(runs, start, end, f"{end - start} runs are of about the same size")
    surplus = len(runs) - options.level0_tables_compact
    if surplus >= 1:
        return _merge_runs(runs, 0, surplus + 1, f"there are {len(runs)} runs")
    return None


def _merge_runs(runs: list[list[TableMeta]], start: int, end: int, reason: str) -> Plan:
    inputs = [meta for run in runs[start:end] for meta in run]
    level = max(meta.level for meta in inputs)
    newest = max(meta.run for meta in inputs)
    run = newest if level == 0 else 0
    return Plan(tuple(inputs), level, run, move=False, bottom=end == len(runs), reason=reason)
