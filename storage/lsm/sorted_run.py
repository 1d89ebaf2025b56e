"""Tables of one age whose keys do not overlap, as one layer: a level."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from xxhash import xxh3_64_intdigest

from storage.lsm.columns import SILENCE, Columns, Entry, Silence
from storage.lsm.key_ranges import coalesce
from storage.lsm.table_reader import TableReader


class SortedRun:
    """A `Layer` of tables. Does not own them."""

    __slots__ = ("_finds", "_largest", "_smallest", "range_deletes", "tables", "tables_with_keys")

    def __init__(self, tables: Sequence[TableReader]) -> None:
        """The tables in ascending order of their keys. Raises ValueError when they overlap."""
        self.tables = tuple(tables)
        self.tables_with_keys = [table for table in tables if table.properties.count]
        """Those that hold more than range deletes."""
        self._smallest = [table.properties.smallest for table in self.tables_with_keys]
        self._largest = [table.properties.largest for table in self.tables_with_keys]
        for smallest, largest in zip(self._smallest[1:], self._largest, strict=False):
            if smallest <= largest:
                raise ValueError(f"tables of one run overlap at {smallest!r}")
        self._finds = [table.find_hashed for table in self.tables_with_keys]
        self.range_deletes: list[tuple[bytes, bytes]] = coalesce(
            pair for table in tables for pair in table.range_deletes
        )
        """Those of all tables, ascending and disjoint."""

    def find(self, key: bytes) -> Entry | Silence:
        """The entry of a key, or SILENCE. Raises Corruption. O(log tables), and what the one table costs."""
        return self.find_hashed(key, xxh3_64_intdigest(key))

    def find_hashed(self, key: bytes, value: int) -> Entry | Silence:
        """As `find`, for a caller that asks many layers: `value` is the key's xxh3_64_intdigest."""
        largest = self._largest
        position = bisect_left(largest, key)
        if position == len(largest):
            return SILENCE
        return self._finds[position](key, value)

    def columns(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[Columns]:
        """What lies in low <= key < high. Raises Corruption."""
        first = 0 if low is None else bisect_left(self._largest, low)
        end = len(self._smallest) if high is None else bisect_left(self._smallest, high)
        tables = self.tables_with_keys[first:end]
        for table in reversed(tables) if reverse else tables:
            yield from table.columns(low, high, reverse=reverse)

    def overlapping(self, low: bytes, high: bytes) -> list[TableReader]:
        """The tables with keys in low <= key <= high: here both ends count."""
        return self.tables_with_keys[bisect_left(self._largest, low) : bisect_right(self._smallest, high)]
