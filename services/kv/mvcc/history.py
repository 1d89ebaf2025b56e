"""The revisions of one key."""

from bisect import bisect_left

from services.kv.mvcc.revision import is_tombstone, lower_bound, main_revision


class KeyHistory:
    """What the index holds of a key: the engine's keys of its records, oldest first, and its present attributes.

    The list shares its `bytes` objects with the engine. A generation (etcd's term for one life of a key, from its
    creation to its deletion) ends with the key of a tombstone.
    """

    __slots__ = ("create_revision", "lease", "records", "version")

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.create_revision = 0
        """Of the present generation."""
        self.version = 0
        """Writes in the present generation; 0 after a deletion."""
        self.lease = 0
        """The lease of the newest record; 0 after a deletion."""

    @property
    def is_live(self) -> bool:
        """Whether the key exists now."""
        return bool(self.records) and not is_tombstone(self.records[-1])

    @property
    def mod_revision(self) -> int:
        """The main revision of the newest record."""
        return main_revision(self.records[-1])

    def position_at(self, revision: int) -> int:
        """How many records have a main revision of `revision` or less. O(log n)."""
        return bisect_left(self.records, lower_bound(revision + 1))

    def record_at(self, revision: int) -> bytes | None:
        """The engine's key of the record that was valid at `revision`; None when the key did not exist then."""
        position = self.position_at(revision)
        if position == 0 or is_tombstone(self.records[position - 1]):
            return None
        return self.records[position - 1]

    def record_before(self, record: bytes) -> bytes | None:
        """The engine's key of the put that `record` replaced; None when `record` created the key."""
        position = bisect_left(self.records, record)
        if position == 0 or is_tombstone(self.records[position - 1]):
            return None
        return self.records[position - 1]

    def kept_from(self, compact_revision: int) -> int:
        """The position of the oldest record that a compaction at `compact_revision` keeps.

        Kept is the newest record at or before it, because it is what a read at that revision sees. A deletion is kept
        only at exactly that revision, for those who watch from there.
        """
        position = self.position_at(compact_revision)
        if position == 0:
            return 0
        newest = self.records[position - 1]
        if is_tombstone(newest) and main_revision(newest) < compact_revision:
            return position
        return position - 1
