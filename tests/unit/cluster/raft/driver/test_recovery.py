"""Replays against a plain model: any history of a group, cut anywhere below its floor, gives the same state."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.raft.core.types import Configuration, Entry, EntryKind, HardState, SnapshotMeta
from cluster.raft.driver.records import BadRecord, Mark, encode_entries, encode_hard_state, encode_mark
from cluster.raft.driver.recovery import LogSpans, Replay

GROUP = 3
VOTERS = Configuration(voters=frozenset({1, 2, 3}))


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, b"%d@%d" % (index, term))


@dataclass
class History:
    """Records as a host writes them, and the state that they mean."""

    records: list[bytes] = field(default_factory=list)
    spans: LogSpans = field(default_factory=LogSpans)
    log: dict[int, Entry] = field(default_factory=dict)
    base: int = 0
    snapshot: SnapshotMeta = SnapshotMeta(0, 0, VOTERS)  # noqa: RUF009
    hard_state: HardState = HardState()  # noqa: RUF009
    term: int = 1

    @property
    def last(self) -> int:
        return max(self.log, default=self.base)

    def mark(self, base: int, base_term: int, *, reset: bool) -> None:
        self.spans.mark_written(base, len(self.records), reset=reset)
        self.records.append(encode_mark(Mark(GROUP, self.hard_state, base, base_term, self.snapshot, reset)))
        self.base = base
        self.log = {} if reset else {index: item for index, item in self.log.items() if index > base}

    def append(self, first: int, count: int) -> None:
        entries = [entry(index, self.term) for index in range(first, first + count)]
        for start, end, record in encode_entries(GROUP, entries):
            self.spans.entries_written(start, end, len(self.records))
            self.records.append(record)
        self.log = {index: item for index, item in self.log.items() if index < first}
        self.log.update({item.index: item for item in entries})


@st.composite
def histories(draw: st.DrawFn) -> History:
    history = History()
    history.mark(0, 0, reset=False)
    for _ in range(draw(st.integers(0, 15))):
        commit = history.hard_state.commit
        step = draw(st.sampled_from(["append", "replace", "commit", "snapshot", "install"]))
        if step == "append":
            history.append(history.last + 1, draw(st.integers(1, 4)))
        elif step == "replace" and history.last > commit:
            history.term += 1
            history.append(draw(st.integers(commit + 1, history.last)), draw(st.integers(1, 3)))
        elif step == "commit" and history.last > commit:
            commit = draw(st.integers(commit + 1, history.last))
            history.hard_state = HardState(history.term, 1, commit)
            history.records.append(encode_hard_state(GROUP, history.hard_state))
        elif step == "snapshot" and commit > history.snapshot.index and commit in history.log:
            history.snapshot = SnapshotMeta(commit, history.log[commit].term, VOTERS)
            base = draw(st.integers(history.base, commit))
            base_term = history.log[base].term if base in history.log else None
            if base_term is not None:
                history.mark(base, base_term, reset=False)
        elif step == "install":
            index = history.last + draw(st.integers(1, 5))
            history.snapshot = SnapshotMeta(index, history.term, VOTERS)
            history.hard_state = HardState(history.term, 0, index)
            history.mark(index, history.term, reset=True)
    if history.snapshot.index > history.base and history.snapshot.index not in history.log:
        history.mark(history.snapshot.index, history.snapshot.term, reset=False)
    return history


@given(histories(), st.data())
def test_any_cut_below_the_floor_recovers_the_same(history: History, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, history.spans.floor))
    replay = Replay()
    for lsn, record in enumerate(history.records):
        if lsn >= cut:
            replay.record(lsn, record)
    group = replay.groups[GROUP]
    log = group.log()
    assert group.hard_state == history.hard_state
    assert log.first_index() == history.base + 1
    held = log.entries(log.first_index(), log.last_index() + 1, 1 << 40) if history.log else []
    assert held == [history.log[index] for index in sorted(history.log)]
    assert group.spans.floor == history.spans.floor


def test_holes_are_refused() -> None:
    history = History()
    history.mark(0, 0, reset=False)
    history.append(1, 3)
    history.append(4, 3)
    history.append(7, 3)
    replay = Replay()
    replay.record(0, history.records[0])
    replay.record(1, history.records[1])
    with pytest.raises(BadRecord):
        replay.record(3, history.records[3])
    replay = Replay()
    for lsn, record in enumerate(history.records[:1] + history.records[2:]):
        replay.record(lsn, record)
    with pytest.raises(BadRecord):
        replay.groups[GROUP].log()
    replay = Replay()
    replay.record(0, history.records[1])
    with pytest.raises(BadRecord):
        replay.groups[GROUP].log()


def test_a_log_that_ends_before_its_commit_is_refused() -> None:
    history = History()
    history.mark(0, 0, reset=False)
    history.append(1, 3)
    history.records.append(encode_hard_state(GROUP, HardState(1, 1, 4)))
    replay = Replay()
    for lsn, record in enumerate(history.records):
        replay.record(lsn, record)
    with pytest.raises(BadRecord):
        replay.groups[GROUP].log()
