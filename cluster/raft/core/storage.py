"""What the core asks of the log that its driver keeps."""

from typing import Protocol

from cluster.raft.core.types import Entry, SnapshotMeta


class Compacted(Exception):
    """The wanted entry was compacted away; a snapshot is needed instead."""


class Unavailable(Exception):
    """The wanted entry is not in the log (yet)."""


class LogStorage(Protocol):
    """The stable part of the log: what the driver has taken from Readys and been told is persisted or in flight.

    Calls are synchronous and must be answered from memory or fast storage. Indexes run from `first_index` to
    `last_index`; the entry just before the first one still has a known term, for the consistency check.
    """

    def first_index(self) -> int:
        """The oldest index that `entries` can give: the snapshot's index plus one after compaction."""
        ...

    def last_index(self) -> int:
        """The newest index held."""
        ...

    def term(self, index: int) -> int:
        """The term of one entry, from `first_index() - 1` on. Raises Compacted or Unavailable."""
        ...

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Entries of [low, high), cut to `bytes_max` as sizes.fit_entries does. Raises Compacted or Unavailable."""
        ...

    def snapshot(self) -> SnapshotMeta:
        """The newest snapshot's place. Index 0 with the initial configuration when there is none yet."""
        ...
