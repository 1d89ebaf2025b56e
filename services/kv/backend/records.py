"""The store's records in an engine on a disk, which hears of a whole turn at once.

What a turn of the replica applied must become durable together, or a crash could leave a revision without the lease
that it was written under. So puts are gathered, and shown to readers from here, until `end_turn` hands them to the
engine in one batch together with the state that they led to.

Keys of records begin with a revision, an int64, so their first byte is below 0x80. What is beside the records has keys
from END on.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from storage.engine import DurableEngine, Snapshot, WriteBatch

END = b"\xff"
"""Above all records."""
PAUSE_BYTES = 256 * 1024
"""After so much written the engine is asked whether it can go on (`DurableEngine.throttle`)."""


class TurnRecords:
    """`services.kv.mvcc.store.Records` over a DurableEngine."""

    def __init__(self, engine: DurableEngine) -> None:
        self.engine = engine
        self.unpaced_bytes = 0
        """Written since the engine was last asked."""
        self._pending: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """The record of `key`, or None."""
        pending = self._pending.get(key) if self._pending else None
        return self.engine.get(key) if pending is None else pending

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The records with low <= key < high."""
        high = END if high is None else min(high, END)
        stored = self.engine.scan(low, high, reverse=reverse)
        if not self._pending:
            return stored
        # They came in the order of their keys, and later than all that the engine has.
        pending = [item for item in self._pending.items() if (low is None or item[0] >= low) and item[0] < high]
        return chain(reversed(pending), stored) if reverse else chain(stored, pending)

    def put(self, key: bytes, value: bytes) -> None:
        """Adds a record to the turn."""
        self._pending[key] = value

    def delete(self, key: bytes) -> None:
        """Removes a record at once. The compaction that made it garbage is in the engine already."""
        assert not self._pending, "records are removed between two turns only"
        self.engine.delete(key)

    def snapshot(self) -> Snapshot:
        """The records, and what is beside them, as of the last turn."""
        assert not self._pending, "a snapshot is taken between two turns only"
        return _RecordsSnapshot(self.engine.snapshot())

    @property
    def size_bytes(self) -> int:
        """What the engine holds, about."""
        return self.engine.size_bytes

    def end_turn(self, beside: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Writes what the turn put, and `beside` it keys from END on; None deletes."""
        batch = WriteBatch()
        batch.operations.extend(self._pending.items())
        batch.operations.extend(beside)
        self._pending = {}
        self.unpaced_bytes += sum(len(key) + len(value) for key, value in batch.operations if isinstance(value, bytes))
        self.engine.write(batch)

    async def pace(self) -> None:
        """Waits while the engine is too far ahead of its disk. Raises OSError."""
        self.unpaced_bytes = 0
        await self.engine.throttle()


class _RecordsSnapshot:
    """A snapshot of an engine that shows records alone."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        return self._snapshot.get(key)

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._snapshot.scan(low, END if high is None else min(high, END), reverse=reverse)

    def close(self) -> None:
        self._snapshot.close()
