"""What background work needs of the engine's memory, and no more."""

from collections.abc import Sequence
from typing import Protocol

from storage.lsm.memtable import Memtable
from storage.lsm.version import Version


class Memory(Protocol):
    """What the background needs of the engine's memory."""

    def frozen(self) -> tuple[Memtable, ...]:
        """Memtables that wait, newest first."""
        ...

    def flushed(self, memtables: Sequence[Memtable], version: Version) -> None:
        """The version holds what the oldest memtables held."""
        ...

    def change_version(self, version: Version) -> None:
        """Reading goes on in another version."""
        ...

    def failed(self, failure: OSError) -> None:
        """Nothing may be written any more."""
        ...

    def now_ms(self) -> int:
        """Wall time."""
        ...
