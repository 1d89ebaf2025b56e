"""The layer that is written to, and those that wait to be flushed.

Theory of operation: the content is one dict, so a put is one store and a plain batch one `dict.update`, which is what
makes writing from Python fast (a skip list takes a Python call per step). A dict keeps the order in which its keys
came, and no key is ever taken out again (a deletion is an entry), so the keys that came since the last look stand at
its end. They are sorted into pieces of some thousand as they come, and a scan or a flush merges the pieces.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from storage.engine import MergeOperator
from storage.lsm.columns import SILENCE, Columns, Entry, Expiring, Operands, Silence
from structures.range_set import RangeSet
from structures.sorted_pieces import SortedPieces

if TYPE_CHECKING:
    from storage.lsm.version import Version

MEMTABLE_ENTRY_BYTES = 150
"""What an entry takes beyond its key and value, about: two `bytes` headers (66), a share of a dict, a pointer."""
RANGE_DELETE_BYTES = 200
"""What a range delete counts as, beyond its two keys."""
MEMTABLE_KEYS_MAX = 600_000
"""A memtable is frozen at so many keys, however small: the next growth of its dict would stand still for 50 ms."""


class Memtable:
    """A `Layer` that can be written to until it is frozen."""

    __slots__ = (
        "_pieces",
        "_ranges",
        "_sorted_count",
        "bytes_taken",
        "checkpoints",
        "entries",
        "expiring",
        "last_lsn",
        "pins",
        "plain",
        "range_deletes",
        "ranged",
        "sealed",
    )

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        """The engine writes here itself."""
        self.plain = True
        """Whether every entry is a value."""
        self.expiring = False
        """Whether an entry ever expires."""
        self.pins = 0
        """How many snapshots show it: they must not see it change."""
        self.bytes_taken = 0
        """What it takes in memory, about; told by the engine when it counts."""
        self.last_lsn = 0
        """The last record of the engine's own log that is in it, once it is frozen."""
        self.ranged = False
        """Whether it deletes ranges."""
        self.sealed = False
        """Whether it is on its way to the disk: nothing is written to it any more."""
        self.range_deletes: list[tuple[bytes, bytes]] = []
        """Ranges that are deleted from all older layers."""
        self.checkpoints: list[asyncio.Future[Version]] = []
        """Get the version that holds this memtable and nothing newer, each with a holder of its own."""
        self._ranges = RangeSet()
        self._pieces = SortedPieces()
        self._sorted_count = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written to it."""
        return not self.entries and not self.ranged

    def covers(self, key: bytes) -> bool:
        """Whether its range deletes hide what older layers say of `key`."""
        return self.ranged and self._ranges.covers(key)

    def find(self, key: bytes) -> Entry | Silence:
        """The entry of a key."""
        return self.entries.get(key, SILENCE)

    def columns(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[Columns]:
        """What lies in low <= key < high. Writes during the walk are met behind the place it has reached, or not."""
        self.sort_new()
        entries = self.entries
        for keys in self._pieces.walk(low, high, reverse=reverse):
            yield Columns(keys, list(map(entries.__getitem__, keys)), self.plain)

    def sort_new(self) -> None:
        """Sorts what came since the last call. O(m log PIECE_KEYS) for m new keys."""
        count = len(self.entries) - self._sorted_count
        if count:
            self._pieces.add(list(islice(reversed(self.entries), count)))
            self._sorted_count += count

    @property
    def unsorted_keys(self) -> int:
        """How many keys came since the last look."""
        return len(self.entries) - self._sorted_count

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Deletes from itself by entries, and from older layers by a range. O(k) for k own keys in the range."""
        if low >= high:
            return
        self.sort_new()
        for keys in list(self._pieces.walk(low, high)):
            self.entries.update(dict.fromkeys(keys))
            self.plain = False
        self._ranges.add(low, high)
        self.range_deletes = self._ranges.ranges()
        self.ranged = True
        self.bytes_taken += len(low) + len(high) + RANGE_DELETE_BYTES

    def absorb(self, newer: "Memtable", operator: MergeOperator | None) -> None:
        """Takes over what the next memtable holds. O(its entries), in C unless there are operands."""
        for low, high in newer.range_deletes:
            self.delete_range(low, high)
        if newer.plain:
            self.entries.update(newer.entries)
        else:
            for key, entry in newer.entries.items():
                self.entries[key] = self._with_operands(key, entry, operator) if isinstance(entry, Operands) else entry
        self.plain = self.plain and newer.plain
        self.expiring = self.expiring or newer.expiring
        self.bytes_taken += newer.bytes_taken

    def _with_operands(self, key: bytes, newer: Operands, operator: MergeOperator | None) -> Entry:
        older = self.entries.get(key, SILENCE)
        assert operator is not None, "operands were taken without an operator"
        # Never an expiring value: operands are merged into those when they are written.
        assert not isinstance(older, Expiring)
        if isinstance(older, Operands):
            return Operands(older.operands + newer.operands)
        if isinstance(older, bytes):
            return operator.combine([older, *newer.operands])
        return newer if older is SILENCE else operator.combine(newer.operands)


def bytes_of(entry: Entry) -> int:
    """What an entry takes beside its key and the overhead."""
    if entry is None:
        return 0
    if isinstance(entry, bytes):
        return len(entry)
    if isinstance(entry, Expiring):
        return len(entry.value)
    assert isinstance(entry, Operands)
    return sum(map(len, entry.operands))
