"""The content as a tuple of layers, newest first."""

from storage.engine import MergeOperator
from storage.lsm.columns import SILENCE, Entry, Layer, Operands, Silence
from storage.lsm.lookup import find_in, value_of
from storage.lsm.memtable import Memtable
from storage.lsm.version import Version


class View:
    """Memtables that are written no more, and a version beneath them. Never changes."""

    __slots__ = ("_operator", "dicts", "expiring", "layers", "memtables", "ranged", "version")

    def __init__(self, memtables: tuple[Memtable, ...], version: Version, operator: MergeOperator | None) -> None:
        self.memtables = memtables
        """Newest first."""
        self.version = version
        self.layers: tuple[Layer, ...] = (*memtables, *version.runs)
        self.dicts = tuple(memtable.entries for memtable in memtables)
        self.ranged = any(memtable.ranged for memtable in memtables)
        """Whether any memtable deletes ranges; the version sees to its own."""
        self.expiring = version.expiring or any(memtable.expiring for memtable in memtables)
        """Whether any entry may expire."""
        self._operator = operator

    def find(self, key: bytes) -> Entry | Silence:
        """What all layers together say of a key. Raises Corruption, NoMergeOperator."""
        if self.ranged:
            return find_in(self.layers, key, self._operator)
        for entries in self.dicts:
            entry = entries.get(key, SILENCE)
            if entry is not SILENCE:
                return find_in(self.layers, key, self._operator) if type(entry) is Operands else entry
        return self.version.find(key)

    def get(self, key: bytes, now_ms: int) -> bytes | None:
        """The value of a key, or None. Raises Corruption, NoMergeOperator."""
        return value_of(self.find(key), self._operator, now_ms)
