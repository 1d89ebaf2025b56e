"""The log's records: what is encoded is decoded; any other bytes are refused with BadRecord and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.raft.core.types import Configuration, Entry, EntryKind, HardState, SnapshotMeta, Stage, Standing
from cluster.raft.driver.records import (
    RECORD_BYTES_MAX,
    BadRecord,
    EntriesRecord,
    HardStateRecord,
    Mark,
    StandingRecord,
    decode,
    encode_entries,
    encode_hard_state,
    encode_mark,
    encode_standing,
)

U64 = st.integers(0, 2**64 - 1)
MEMBERS = st.frozensets(U64, max_size=6)
CONFIGURATIONS = st.builds(Configuration, MEMBERS, MEMBERS, MEMBERS, MEMBERS, st.booleans())
HARD_STATES = st.builds(HardState, U64, U64, U64)
KNOWN = st.dictionaries(U64, U64, max_size=5).map(lambda known: tuple(sorted(known.items())))
STANDINGS = st.builds(Standing, st.sampled_from(Stage), U64, st.booleans(), KNOWN)


@st.composite
def entry_runs(draw: st.DrawFn) -> list[Entry]:
    first = draw(st.integers(1, 2**40))
    rest = draw(st.lists(st.tuples(U64, st.sampled_from(EntryKind), st.binary(max_size=50)), min_size=1, max_size=20))
    return [Entry(first + offset, *fields) for offset, fields in enumerate(rest)]


@st.composite
def marks(draw: st.DrawFn) -> Mark:
    index = draw(U64)
    base = draw(st.integers(0, index))
    snapshot = SnapshotMeta(index, draw(U64), draw(CONFIGURATIONS))
    return Mark(draw(U64), draw(HARD_STATES), base, draw(U64), snapshot, draw(st.booleans()))


@given(U64, HARD_STATES)
def test_hard_state_round_trip(group: int, hard_state: HardState) -> None:
    assert decode(encode_hard_state(group, hard_state)) == HardStateRecord(group, hard_state)


@given(U64, STANDINGS)
def test_standing_round_trip(group: int, standing: Standing) -> None:
    decoded = decode(encode_standing(group, standing))
    assert decoded == StandingRecord(group, standing)
    assert isinstance(decoded, StandingRecord)
    assert isinstance(decoded.standing.stage, Stage)


@given(U64, entry_runs())
def test_entries_round_trip(group: int, entries: list[Entry]) -> None:
    ((first, last, record),) = encode_entries(group, entries)
    assert (first, last) == (entries[0].index, entries[-1].index)
    decoded = decode(record)
    assert decoded == EntriesRecord(group, entries)
    assert isinstance(decoded, EntriesRecord)
    assert all(isinstance(entry.kind, EntryKind) for entry in decoded.entries)


@given(marks())
def test_mark_round_trip(mark: Mark) -> None:
    assert decode(encode_mark(mark)) == mark


def test_large_runs_are_cut_into_several_records() -> None:
    data = bytes(RECORD_BYTES_MAX // 2 - 10)
    entries = [Entry(index, 1, EntryKind.COMMAND, data) for index in range(5, 10)]
    records = list(encode_entries(1, entries))
    assert [(first, last) for first, last, _ in records] == [(5, 6), (7, 8), (9, 9)]
    read = [entry for _, _, record in records for entry in decode(record).entries]  # type: ignore[union-attr]
    assert read == entries


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_or_are_refused(payload: bytes) -> None:
    try:
        decode(payload)
    except BadRecord:
        pass


@given(
    st.one_of(
        marks().map(encode_mark),
        entry_runs().map(lambda run: next(encode_entries(1, run))[2]),
        STANDINGS.map(lambda standing: encode_standing(1, standing)),
    ),
    st.data(),
)
def test_damaged_records_decode_or_are_refused(record: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(record) - 1))
    flipped = record[:at] + bytes([record[at] ^ data.draw(st.integers(1, 255))]) + record[at + 1 :]
    try:
        decode(flipped)
    except BadRecord:
        pass
    with pytest.raises(BadRecord):
        decode(record[:at])
