"""Merged layers against a model that applies them one by one, oldest first."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.engine import NoMergeOperator
from storage.lsm.columns import SILENCE, Columns, Entry, Expiring, Operands, Silence
from storage.lsm.lookup import Lookup, find_in, value_of
from storage.lsm.merging import Purpose, merge, merge_bulk
from storage.lsm.sorted_run import SortedRun
from storage.lsm.table_reader import TableReader
from storage.merge_operators import Append
from tests.unit.storage.lsm.table_files import Tables, finish, show

NOW_MS = 1000
KEYS = [bytes([97 + number // 3, 97 + number % 3]) for number in range(12)]
keys_strategy = st.sampled_from(KEYS)
entry_strategy: st.SearchStrategy[Entry] = st.one_of(
    st.binary(min_size=1, max_size=3),
    st.none(),
    st.lists(st.binary(max_size=2), min_size=1, max_size=3).map(Operands),
    st.builds(Expiring, st.binary(max_size=2), st.sampled_from([1, NOW_MS, NOW_MS + 1])),
)
pairs_strategy: st.SearchStrategy[dict[bytes, Entry]] = st.one_of(
    st.dictionaries(keys_strategy, entry_strategy, max_size=10),
    st.dictionaries(keys_strategy, st.binary(min_size=1, max_size=3), max_size=10),
)
ranges_strategy: st.SearchStrategy[list[tuple[bytes, bytes]]] = st.one_of(
    st.just([]), st.lists(st.tuples(keys_strategy, keys_strategy), max_size=2)
)
Layers = list[tuple[dict[bytes, Entry], list[tuple[bytes, bytes]]]]
layers_strategy: st.SearchStrategy[Layers] = st.lists(st.tuples(pairs_strategy, ranges_strategy), max_size=5)
bound = st.one_of(st.none(), keys_strategy)


def model_of(layers: Layers) -> dict[bytes, Entry]:
    """What the layers, newest first, say of each key together."""
    model: dict[bytes, Entry] = {}
    for pairs, ranges in reversed(layers):
        for key in KEYS:
            if any(low <= key < high for low, high in ranges):
                model[key] = None
        for key, entry in pairs.items():
            if not isinstance(entry, Operands) or key not in model:
                model[key] = entry
                continue
            older = model[key]
            if isinstance(older, Operands):
                model[key] = Operands(older.operands + entry.operands)
            elif isinstance(older, Expiring):
                model[key] = Expiring(older.value + b"".join(entry.operands), older.expires_ms)
            else:
                model[key] = (older or b"") + b"".join(entry.operands)
    return model


def settle(model: dict[bytes, Entry], purpose: Purpose) -> dict[bytes, object]:
    settled: dict[bytes, object] = {}
    for key, entry in model.items():
        if isinstance(entry, Expiring):
            entry = None if entry.expires_ms <= NOW_MS else entry.value if purpose is Purpose.READ else entry
        if isinstance(entry, Operands):
            joined = b"".join(entry.operands)
            entry = Operands([joined]) if purpose is Purpose.MIDDLE else joined
        if entry is not None or purpose is Purpose.MIDDLE:
            settled[key] = show(entry)
    return settled


async def open_layers(tables: Tables, layers: Layers) -> list[TableReader]:
    # Blocks of a few keys: windows of all shapes.
    return [await tables.make(pairs, ranges, block_bytes=20) for pairs, ranges in layers]


@settings(max_examples=250, deadline=None)
@given(layers_strategy, bound, bound, st.booleans())
def test_reading(layers: Layers, low: bytes | None, high: bytes | None, reverse: bool) -> None:
    async def play() -> None:
        readers = await open_layers(Tables(), layers)
        expected = [
            (key, value)
            for key, value in sorted(settle(model_of(layers), Purpose.READ).items())
            if (low is None or low <= key) and (high is None or key < high)
        ]
        found: list[tuple[bytes, object]] = []
        for columns in merge(readers, low, high, reverse=reverse, operator=Append(), now_ms=NOW_MS):
            assert columns.plain
            assert columns.keys
            part: list[tuple[bytes, object]] = list(zip(columns.keys, columns.entries, strict=True))
            found += reversed(part) if reverse else part
        assert found == (expected[::-1] if reverse else expected)

    finish(play())


@settings(max_examples=250, deadline=None)
@given(layers_strategy, st.sampled_from([Purpose.BOTTOM, Purpose.MIDDLE]), st.integers(0, 5))
def test_compacting_some_layers_changes_nothing_for_who_reads_all(layers: Layers, purpose: Purpose, split: int) -> None:
    """The upper layers (or, for the bottom, all the lower ones) become one; then everything is read."""

    async def play() -> None:
        tables = Tables()
        upper, lower = layers[:split], layers[split:]
        chosen = upper if purpose is Purpose.MIDDLE else lower
        readers = await open_layers(tables, chosen)
        ranges = [reader.range_deletes for reader in readers]
        made: dict[bytes, Entry] = {}
        async for columns in merge_bulk(
            [reader.bulk() for reader in readers], ranges, purpose=purpose, operator=Append(), now_ms=NOW_MS
        ):
            assert columns.plain == all(isinstance(entry, bytes) for entry in columns.entries)
            made.update(zip(columns.keys, columns.entries, strict=True))
        kept = [pair for each in ranges for pair in each] if purpose is Purpose.MIDDLE else []
        compacted: Layers = [(made, kept), *lower] if purpose is Purpose.MIDDLE else [*upper, (made, [])]
        if purpose is Purpose.BOTTOM:
            assert not any(entry is None or isinstance(entry, Operands) for entry in made.values())
        # What expired at the bottom may have had operands above it, which then stand alone: see `stack`.
        expired = {key for pairs, _ in lower for key, entry in pairs.items() if isinstance(entry, Expiring)}
        before = settle(model_of(layers), Purpose.READ)
        after = settle(model_of(compacted), Purpose.READ)
        assert {key: value for key, value in after.items() if key not in expired} == {
            key: value for key, value in before.items() if key not in expired
        }

    finish(play())


@settings(max_examples=200, deadline=None)
@given(layers_strategy)
def test_lookup(layers: Layers) -> None:
    async def play() -> None:
        readers = await open_layers(Tables(), layers)
        model = model_of(layers)
        lookup = Lookup([SortedRun([reader]) for reader in readers], Append())
        for key in [*KEYS, b"zz"]:
            expected = show(model[key]) if key in model else SILENCE
            for answer in (find_in(readers, key, Append()), lookup.find(key)):
                assert (answer if answer is SILENCE else show(answer)) == expected
                assert value_of(answer, Append(), NOW_MS) == settle(model, Purpose.READ).get(key)

    finish(play())


@settings(max_examples=100, deadline=None)
@given(pairs_strategy, st.sets(st.integers(1, 11), max_size=3), bound, bound, ranges_strategy)
def test_a_run_reads_as_one_table(
    pairs: dict[bytes, Entry],
    cuts: set[int],
    low: bytes | None,
    high: bytes | None,
    ranges: list[tuple[bytes, bytes]],
) -> None:
    async def play() -> None:
        tables = Tables()
        whole = await tables.make(pairs, ranges, block_bytes=20)
        edges = [b"", *(KEYS[cut] for cut in sorted(cuts)), b"\xff"]
        parts = [
            await tables.make(
                {key: entry for key, entry in pairs.items() if start <= key < end},
                ranges if start == b"" else [],
                block_bytes=20,
            )
            for start, end in pairwise(edges)
        ]
        run = SortedRun(parts)
        assert run.range_deletes == whole.range_deletes

        def seen(answer: Entry | Silence) -> object:
            return answer if answer is SILENCE else show(answer)

        assert [seen(run.find(key)) for key in KEYS] == [seen(whole.find(key)) for key in KEYS]
        for reverse in (False, True):
            found = [key for columns in run.columns(low, high, reverse=reverse) for key in columns.keys]
            assert sorted(found) == [key for columns in whole.columns(low, high) for key in columns.keys]

    finish(play())


async def test_overlapping_tables_are_no_run() -> None:
    tables = Tables()
    one, other = await tables.make({b"a": b"1", b"c": b"2"}), await tables.make({b"b": b"3"})
    with pytest.raises(ValueError, match="overlap"):
        SortedRun([one, other])
    run = SortedRun([one, await tables.make({b"d": b"3"})])
    assert [len(run.overlapping(*ends)) for ends in [(b"c", b"d"), (b"0", b"9"), (b"b", b"b"), (b"d", b"d")]] == [
        2,
        0,
        1,
        1,
    ]


async def test_operands_without_an_operator() -> None:
    table = await Tables().make({b"a": Operands([b"1"])})
    with pytest.raises(NoMergeOperator):
        list(merge([table], None, None, operator=None, now_ms=0))
    with pytest.raises(NoMergeOperator):
        value_of(find_in([table], b"a", None), None, 0)


async def test_windows_of_one_layer_pass_through() -> None:
    """Where nothing overlaps, the lists are handed on, not copied."""
    one = Columns([b"a", b"b"], [b"1", b"2"], True)
    other = Columns([b"c"], [b"3"], True)

    async def stream(*parts: Columns) -> AsyncIterator[Columns]:
        for part in parts:
            yield part

    merged = [
        columns
        async for columns in merge_bulk(
            [stream(other), stream(one)], [[], []], purpose=Purpose.MIDDLE, operator=None, now_ms=0
        )
    ]
    assert [columns.keys for columns in merged] == [[b"a", b"b"], [b"c"]]
    assert merged[0].keys is one.keys
    assert merged[1].entries is other.entries


async def test_operands_stand_alone_where_their_own_layer_deleted_what_is_older() -> None:
    tables = Tables()
    newer = await tables.make({b"k": Operands([b"new"])}, [(b"a", b"z")])
    older = await tables.make({b"k": b"old", b"l": b"old"})
    for find in (
        Lookup([SortedRun([newer]), SortedRun([older])], Append()).find,
        lambda key: find_in([newer, older], key, Append()),
    ):
        assert find(b"k") == b"new"
        assert find(b"l") is None
    (columns,) = merge([newer, older], None, None, operator=Append(), now_ms=0)
    assert (columns.keys, columns.entries) == ([b"k"], [b"new"])
