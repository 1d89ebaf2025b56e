import pytest

from cluster.raft.core.memory_log import MemoryLog
from cluster.raft.core.sizes import ENTRY_OVERHEAD_BYTES
from cluster.raft.core.storage import Compacted, Unavailable
from cluster.raft.core.types import Configuration, Entry, EntryKind, SnapshotMeta


def entries(*pairs: tuple[int, int]) -> list[Entry]:
    return [Entry(index, term, EntryKind.COMMAND, b"%d" % index) for index, term in pairs]


def test_an_empty_log_knows_the_place_before_its_first_entry() -> None:
    log = MemoryLog(SnapshotMeta(4, 2, Configuration(frozenset({1}))))
    assert (log.first_index(), log.last_index(), log.term(4)) == (5, 4, 2)
    with pytest.raises(Compacted):
        log.term(3)
    with pytest.raises(Unavailable):
        log.term(5)


def test_a_lower_first_index_replaces_the_suffix() -> None:
    log = MemoryLog(entries=entries((1, 1), (2, 1), (3, 1)))
    log.append(entries((2, 2)))
    assert [(entry.index, entry.term) for entry in log.entries(1, 3, 1000)] == [(1, 1), (2, 2)]
    with pytest.raises(ValueError, match="gap"):
        log.append(entries((4, 2)))


def test_entries_are_cut_to_size_but_never_to_none() -> None:
    log = MemoryLog(entries=entries((1, 1), (2, 1), (3, 1)))
    each = ENTRY_OVERHEAD_BYTES + 1
    assert [len(log.entries(1, 4, limit)) for limit in (0, each, 2 * each - 1, 2 * each, 3 * each)] == [1, 1, 1, 2, 3]


def test_compaction_keeps_what_the_snapshot_does_not_cover() -> None:
    log = MemoryLog(entries=entries((1, 1), (2, 1), (3, 2), (4, 2)))
    with pytest.raises(ValueError, match="needs a snapshot"):
        log.compact(2)
    log.set_snapshot(SnapshotMeta(3, 2))
    log.compact(2)
    assert (log.first_index(), log.last_index(), log.term(2), log.term(3)) == (3, 4, 1, 2)
    log.compact(2)
    with pytest.raises(Compacted):
        log.compact(1)
    with pytest.raises(Compacted):
        log.entries(2, 4, 1000)
    with pytest.raises(Unavailable):
        log.entries(3, 6, 1000)
    # A late write of entries that are compacted meanwhile changes nothing before the log's start.
    log.append(entries((1, 1), (2, 1), (3, 2), (4, 2), (5, 2)))
    assert (log.first_index(), log.last_index()) == (3, 5)


def test_snapshots_that_cannot_be_are_refused() -> None:
    log = MemoryLog(entries=entries((1, 1), (2, 1)))
    log.set_snapshot(SnapshotMeta(2, 1))
    with pytest.raises(ValueError, match="older"):
        log.set_snapshot(SnapshotMeta(1, 1))
    log.append(entries((3, 1)))
    with pytest.raises(ValueError, match="term"):
        log.set_snapshot(SnapshotMeta(3, 9))


def test_a_received_snapshot_replaces_everything() -> None:
    log = MemoryLog(entries=entries((1, 1), (2, 1)))
    log.apply_snapshot(SnapshotMeta(9, 4))
    assert (log.first_index(), log.last_index(), log.term(9)) == (10, 9, 4)
