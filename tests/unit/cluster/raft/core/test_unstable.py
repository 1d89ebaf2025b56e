"""Writes under way against replacements: the ABA problem of asynchronous persistence."""

from cluster.raft.core.types import Entry, EntryKind, SnapshotMeta
from cluster.raft.core.unstable import Unstable


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, b"")


def test_a_finished_write_makes_its_entries_stable() -> None:
    unstable = Unstable(5)
    unstable.append([entry(5, 1), entry(6, 1)])
    assert unstable.hand_out(1)[0] == [entry(5, 1), entry(6, 1)]
    unstable.append([entry(7, 1)])
    unstable.finished(1)
    assert unstable.offset == 7
    assert unstable.entries == [entry(7, 1)]
    assert unstable.hand_out(2)[0] == [entry(7, 1)]


def test_an_entry_that_comes_back_is_not_stable_by_its_first_write() -> None:
    unstable = Unstable(5)
    unstable.append([entry(5, 1), entry(6, 1)])
    unstable.hand_out(1)
    unstable.append([entry(6, 2)])
    unstable.hand_out(2)
    unstable.append([entry(6, 1), entry(7, 3)])
    assert unstable.hand_out(3)[0] == [entry(6, 1), entry(7, 3)]
    unstable.finished(1)
    assert unstable.offset == 6, "write 1 holds entry 6 of term 1, but write 2 will replace it on disk"
    unstable.finished(2)
    assert unstable.offset == 6
    unstable.finished(3)
    assert unstable.offset == 8
    assert unstable.entries == []


def test_a_stable_suffix_can_be_replaced() -> None:
    unstable = Unstable(9)
    unstable.append([entry(4, 3)])
    assert (unstable.offset, unstable.hand_out(1)[0]) == (4, [entry(4, 3)])


def test_a_snapshot_outdates_writes_under_way() -> None:
    unstable = Unstable(5)
    unstable.append([entry(5, 1)])
    unstable.hand_out(1)
    unstable.restore(SnapshotMeta(20, 3))
    assert unstable.hand_out(2) == ([], SnapshotMeta(20, 3))
    assert not unstable.has_work
    assert unstable.finished(1) == 0
    assert unstable.offset == 21
    unstable.restore(SnapshotMeta(30, 3))
    assert unstable.finished(2) == 20, "the state machine is there, though a newer snapshot is on its way"
    assert unstable.snapshot == SnapshotMeta(30, 3)
    assert unstable.hand_out(3) == ([], SnapshotMeta(30, 3))
    assert unstable.finished(3) == 30
    assert unstable.snapshot is None
