"""Merges layers of different ages into one stream of columns, in bulk.

Theory of operation: every source has a chunk of ascending columns in hand. The smallest of the chunks' last keys is
the bound: up to it, all is known of every key, so the slice of each chunk up to the bound makes a window. A window that
only one source has anything in passes through as it is. Otherwise the slices go into one dict from the oldest to the
newest, so that the newer entry wins, and its keys are sorted, which is a merge, since they are a few ascending runs.
Python runs per window and per slice; per key only for operands, for what expires, and where a window is not plain.

`Merger` decides and does no reading: `merge` drives it with layers, `merge_bulk` with reads that wait off the loop.
"""

import enum
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

from storage.engine import MergeOperator, NoMergeOperator
from storage.lsm.columns import Columns, Entry, Expiring, Layer, Operands
from storage.lsm.key_ranges import Ranges


class Purpose(enum.Enum):
    """What the merged columns are for."""

    READ = "read"
    """For who reads: values only."""
    BOTTOM = "bottom"
    """For a new layer with nothing older beneath: values, and what will expire."""
    MIDDLE = "middle"
    """For a new layer above older ones: deletions and operands stay, since they change what those hold."""


def combine(operator: MergeOperator | None, operands: list[bytes]) -> bytes:
    """What the operands make, oldest first. Raises NoMergeOperator."""
    if operator is None:
        raise NoMergeOperator("there are operands, but the engine was opened without a merge operator")
    return operator.combine(operands)


def stack(operands: Operands, older: Entry, operator: MergeOperator | None) -> Entry:
    """One entry for operands over what an older layer says of the same key.

    Operands on a value that expires go with it, whenever that is noticed.
    """
    if isinstance(older, bytes):
        return combine(operator, [older, *operands.operands])
    if older is None:
        return combine(operator, operands.operands)
    if isinstance(older, Operands):
        return Operands(older.operands + operands.operands)
    return Expiring(combine(operator, [older.value, *operands.operands]), older.expires_ms)


class _Source:
    """What is in hand of one layer."""

    __slots__ = ("deleted", "end", "entries", "keys", "number", "plain", "start")

    def __init__(self, number: int, deleted: Ranges | None) -> None:
        self.number = number
        self.deleted = deleted
        """What newer layers deleted in ranges."""
        self.keys: list[bytes] = []
        self.entries: list[Entry] = []
        self.plain = True
        self.start = 0
        self.end = 0


class Merger:
    """Merges sources, newest first, ascending or (`reverse`) from the last columns to the first.

    Call `feed` for each of `hungry`, then `take` until that is empty again; at the end nobody is hungry and `take`
    gives None.
    """

    __slots__ = ("_live", "_now_ms", "_operator", "_purpose", "_reverse", "_sources")

    def __init__(
        self,
        range_deletes: Sequence[Sequence[tuple[bytes, bytes]]],
        *,
        purpose: Purpose,
        operator: MergeOperator | None,
        now_ms: int,
        reverse: bool = False,
    ) -> None:
        """`range_deletes` has those of each source, newest first; what expires until `now_ms` is gone."""
        self._sources: list[_Source] = []
        newer: list[tuple[bytes, bytes]] = []
        for number, ranges in enumerate(range_deletes):
            self._sources.append(_Source(number, Ranges(newer) if newer else None))
            if ranges:
                newer = [*newer, *ranges]
        self._live = self._sources[:]
        self._purpose = purpose
        self._operator = operator
        self._now_ms = now_ms
        self._reverse = reverse

    def hungry(self) -> list[int]:
        """The sources whose next columns are needed before there can be another window."""
        return [source.number for source in self._live if source.start == source.end]

    def feed(self, number: int, columns: Columns | None) -> None:
        """The next columns of a hungry source; None when there are no more."""
        source = self._sources[number]
        if columns is None:
            self._live.remove(source)
            return
        source.keys = columns.keys
        source.entries = columns.entries
        source.plain = columns.plain
        source.start = 0
        source.end = len(columns.keys)

    def take(self) -> Columns | None:
        """The next window, which may turn out empty; None when all is merged."""
        slices = self._window()
        if slices is None:
            return None
        if len(slices) == 1:
            source, start, end = slices[0]
            keys, entries, plain = source.keys, source.entries, source.plain
            if start or end < len(keys):
                keys = keys[start:end]
                entries = entries[start:end]
        else:
            keys, entries, plain = self._overlay(slices)
        return Columns(keys, entries, True) if plain else self._settle(keys, entries)

    def _window(self) -> list[tuple[_Source, int, int]] | None:
        """The slices up to the bound, newest first, without what newer layers deleted in ranges; they are taken."""
        sources = self._live
        if not sources:
            return None
        if len(sources) == 1 and sources[0].deleted is None:
            source = sources[0]
            start, source.start = source.start, source.end
            return [(source, start, source.end)]
        slices: list[tuple[_Source, int, int]] = []
        if self._reverse:
            bound = max(source.keys[source.start] for source in sources)
        else:
            bound = min(source.keys[source.end - 1] for source in sources)
        for source in sources:
            if self._reverse:
                end = source.end
                start = source.end = bisect_left(source.keys, bound, source.start, end)
            else:
                start = source.start
                end = source.start = bisect_right(source.keys, bound, start, source.end)
            if start == end:
                continue
            if source.deleted is None:
                slices.append((source, start, end))
            else:
                slices += [(source, *kept) for kept in source.deleted.uncovered(source.keys, start, end)]
        return slices

    def _overlay(self, slices: list[tuple[_Source, int, int]]) -> tuple[list[bytes], list[Entry], bool]:
        """The slices over one another."""
        merged: dict[bytes, Entry] = {}
        plain = True
        for source, start, end in reversed(slices):
            keys = source.keys[start:end]
            entries = source.entries[start:end]
            if not source.plain:
                plain = False
                if merged and Operands in set(map(type, entries)):
                    self._stack(keys, entries, merged)
            merged.update(zip(keys, entries, strict=True))
        keys = sorted(merged)
        return keys, list(map(merged.__getitem__, keys)), plain

    def _stack(self, keys: list[bytes], entries: list[Entry], merged: dict[bytes, Entry]) -> None:
        """Lays the operands among `entries` over what older slices say of their keys."""
        for position, entry in enumerate(entries):
            if isinstance(entry, Operands) and keys[position] in merged:
                entries[position] = stack(entry, merged[keys[position]], self._operator)

    def _settle(self, keys: list[bytes], entries: list[Entry]) -> Columns:
        """Makes of each entry what the purpose allows."""
        kinds = set(map(type, entries))
        if Operands in kinds or Expiring in kinds:
            entries = list(map(self._settled, entries))
            kinds = set(map(type, entries))
        if type(None) in kinds and self._purpose is not Purpose.MIDDLE:
            kept = [(key, entry) for key, entry in zip(keys, entries, strict=True) if entry is not None]
            keys = [key for key, _ in kept]
            entries = [entry for _, entry in kept]
            kinds.discard(type(None))
        return Columns(keys, entries, kinds <= {bytes})

    def _settled(self, entry: Entry) -> Entry:
        if isinstance(entry, Operands):
            if self._purpose is not Purpose.MIDDLE:
                return combine(self._operator, entry.operands)
            # Associativity allows one operand for all, so what a key takes does not grow with what was written.
            return Operands([combine(self._operator, entry.operands)]) if len(entry.operands) > 1 else entry
        if isinstance(entry, Expiring):
            if entry.expires_ms <= self._now_ms:
                return None
            return entry.value if self._purpose is Purpose.READ else entry
        return entry


def merge(
    layers: Sequence[Layer],
    low: bytes | None,
    high: bytes | None,
    *,
    reverse: bool = False,
    purpose: Purpose = Purpose.READ,
    operator: MergeOperator | None,
    now_ms: int,
) -> Iterator[Columns]:
    """What the layers, newest first, hold together in low <= key < high; no columns are empty.

    With `reverse` the last columns come first, each still ascending. Raises Corruption and NoMergeOperator.
    O(n log layers) in C, where n keys come in overlapping windows; windows of one layer pass through.
    """
    merger = Merger(
        [layer.range_deletes for layer in layers], purpose=purpose, operator=operator, now_ms=now_ms, reverse=reverse
    )
    streams = [layer.columns(low, high, reverse=reverse) for layer in layers]
    while True:
        for number in merger.hungry():
            columns = next(streams[number], None)
            while columns is not None and not columns.keys:
                columns = next(streams[number], None)
            merger.feed(number, columns)
        columns = merger.take()
        if columns is None:
            return
        if columns.keys:
            yield columns


async def merge_bulk(
    sources: Sequence[AsyncIterator[Columns]],
    range_deletes: Sequence[Sequence[tuple[bytes, bytes]]],
    *,
    purpose: Purpose,
    operator: MergeOperator | None,
    now_ms: int,
) -> AsyncGenerator[Columns, None]:
    """As `merge`, ascending, for work in the background: of sources (`TableReader.bulk`) whose reads are awaited.

    Between two columns is the work of one window, at most what one source gives at once from each source.
    """
    merger = Merger(range_deletes, purpose=purpose, operator=operator, now_ms=now_ms)
    while True:
        for number in merger.hungry():
            columns = await anext(sources[number], None)
            while columns is not None and not columns.keys:
                columns = await anext(sources[number], None)
            merger.feed(number, columns)
        columns = merger.take()
        if columns is None:
            return
        if columns.keys:
            yield columns
