"""What moves between the parts of the engine: sorted keys and their entries, as two lists.

Theory of operation: a Python call per key and step would make every merge and every scan a hundred times slower than
the disk. So keys travel in columns, a few hundred at a time, and the work is done by what runs in C: dict updates,
list sorts (which find sorted runs), bisect, slices. There are no sequence numbers: a layer (a memtable or a table)
holds each key at most once, layers are ordered by age, and the newer one wins. A snapshot is a tuple of layers.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias


class Operands:
    """Operands of the merge operator, oldest first, for whatever older layers hold."""

    __slots__ = ("operands",)

    def __init__(self, operands: list[bytes]) -> None:
        self.operands = operands


class Expiring:
    """A value that is gone from a moment on."""

    __slots__ = ("expires_ms", "value")

    def __init__(self, value: bytes, expires_ms: int) -> None:
        self.value = value
        self.expires_ms = expires_ms
        """Milliseconds since the epoch, by the wall clock."""


Entry: TypeAlias = bytes | Operands | Expiring | None
"""What a layer says of a key: a value, something special, or None, that it was deleted."""


class Silence(enum.Enum):
    """What a layer answers that says nothing of a key; None would be a deletion."""

    SILENCE = "silence"


SILENCE: Final = Silence.SILENCE


@dataclass(slots=True)
class Columns:
    """Ascending keys and the entry of each."""

    keys: list[bytes]
    entries: list[Entry]
    plain: bool
    """Whether every entry is a value: nothing deleted, nothing to merge, nothing that expires. When in doubt, False."""


class Layer(Protocol):
    """One age of the content: a memtable, or a table in a file. Immutable, unless it is the memtable in use."""

    @property
    def range_deletes(self) -> list[tuple[bytes, bytes]]:
        """Ranges (low, high) that are deleted from all *older* layers; what the layer itself holds stays.

        They ascend, and neither overlap nor touch (`key_ranges.coalesce`).
        """
        ...

    def find(self, key: bytes) -> Entry | Silence:
        """The entry of a key, or SILENCE when the layer says nothing of it (its range deletes aside).

        Raises Corruption.
        """
        ...

    def columns(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[Columns]:
        """What lies in low <= key < high. With `reverse` the last columns come first, each still ascending.

        Raises Corruption.
        """
        ...
