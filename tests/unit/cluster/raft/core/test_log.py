import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.raft.core.errors import InvariantBroken
from cluster.raft.core.log import RaftLog
from cluster.raft.core.memory_log import MemoryLog
from cluster.raft.core.types import Entry, EntryKind, SnapshotMeta


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, b"x")


def raft_log(terms: list[int], stable: int, committed: int = 0) -> RaftLog:
    entries = [entry(index, term) for index, term in enumerate(terms, 1)]
    log = RaftLog(MemoryLog(entries=entries[:stable]), 0, 0, 1 << 20)
    log.append(entries[stable:])
    log.commit_to(committed)
    return log


def test_stable_and_unstable_read_as_one() -> None:
    log = raft_log([1, 1, 2, 2, 3], stable=3)
    assert [log.term(index) for index in range(6)] == [0, 1, 1, 2, 2, 3]
    assert [one.index for one in log.entries(2, 6, 1 << 20)] == [2, 3, 4, 5]
    assert [one.index for one in log.entries(2, 6, 17 * 3)] == [2, 3, 4]
    assert [one.index for one in log.entries(5, 6, 0)] == [5]


def test_an_old_append_does_not_truncate_what_came_later() -> None:
    log = raft_log([1, 1, 1], stable=1)
    assert log.append_after(0, 0, (entry(1, 1), entry(2, 1))) == 2
    assert log.last_index == 3


def test_a_conflict_replaces_the_suffix_and_nothing_committed() -> None:
    log = raft_log([1, 1, 1], stable=3, committed=1)
    assert log.append_after(1, 1, (entry(2, 2),)) == 2
    assert (log.last_index, log.last_term, log.stable_index) == (2, 2, 1)
    with pytest.raises(InvariantBroken):
        log.append_after(0, 0, (entry(1, 9),))
    assert log.append_after(2, 1, ()) is None


def test_commit_beyond_the_end_means_lost_entries() -> None:
    with pytest.raises(InvariantBroken):
        raft_log([1], stable=1).commit_to(2)
    with pytest.raises(ValueError, match="lost"):
        RaftLog(MemoryLog(), 3, 0, 100)


def test_only_stable_entries_are_applied() -> None:
    log = raft_log([1, 1, 1], stable=2, committed=3)
    assert [one.index for one in log.hand_out_committed()] == [1, 2]
    assert not log.has_committed
    with pytest.raises(ValueError, match="handed out"):
        log.applied_to(3)
    assert log.applied_to(1) == 0
    assert log.applied_to(2) > 0


def test_outstanding_entries_are_limited_by_bytes() -> None:
    log = RaftLog(MemoryLog(entries=[entry(index, 1) for index in range(1, 6)]), 5, 0, 2 * 17)
    assert [one.index for one in log.hand_out_committed()] == [1, 2]
    assert log.hand_out_committed() == []
    log.applied_to(2)
    assert [one.index for one in log.hand_out_committed()] == [3, 4]


def test_a_restored_snapshot_hides_the_old_log() -> None:
    log = raft_log([1, 1, 1], stable=3)
    log.restore(SnapshotMeta(9, 4))
    assert (log.first_index, log.last_index, log.term(9), log.committed) == (10, 9, 4, 9)
    assert not log.matches(2, 1)


@given(st.lists(st.integers(1, 5), max_size=12).map(sorted), st.data())
def test_search_by_term_equals_a_walk(terms: list[int], data: st.DataObject) -> None:
    log = raft_log(terms, stable=data.draw(st.integers(0, len(terms))))
    index = data.draw(st.integers(0, len(terms)))
    term = data.draw(st.integers(0, 6))
    expected = index
    while log.term(expected) > term:
        expected -= 1
    assert log.highest_at_or_below_term(index, term) == (expected, log.term(expected))
