"""A table gives back what went into it, however it is read, and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.engine import Corruption
from storage.lsm.columns import SILENCE, Columns, Entry, Expiring, Operands
from storage.lsm.compression import Compression
from storage.lsm.table_reader import TableReader
from storage.lsm.table_writer import TableWriter
from tests.unit.storage.lsm.table_files import MemoryFile, Tables, finish, show

entries = st.one_of(
    st.binary(max_size=60),
    st.none(),
    st.lists(st.binary(max_size=5), min_size=1, max_size=3).map(Operands),
    st.builds(Expiring, st.binary(max_size=10), st.integers(0, 1 << 50)),
)
contents: st.SearchStrategy[dict[bytes, Entry]] = st.one_of(
    st.dictionaries(st.binary(max_size=5), entries, max_size=80),
    st.dictionaries(st.binary(min_size=4, max_size=4), st.binary(min_size=20, max_size=20), max_size=80),
    st.dictionaries(st.binary(min_size=1, max_size=2).map(b"/some/prefix/".__add__), st.just(b"value"), max_size=80),
)
bound = st.one_of(st.none(), st.binary(max_size=3), st.binary(max_size=1).map(b"/some/prefix/".__add__))


def pairs_of(columns: list[Columns], *, reverse: bool = False) -> list[tuple[bytes, object]]:
    pairs: list[tuple[bytes, object]] = []
    for each in columns:
        assert each.keys == sorted(each.keys)
        assert len(each.keys) == len(each.entries) > 0
        assert not each.plain or all(isinstance(entry, bytes) for entry in each.entries)
        part = [(key, show(entry)) for key, entry in zip(each.keys, each.entries, strict=True)]
        pairs += reversed(part) if reverse else part
    return pairs


@settings(max_examples=150, deadline=None)
@given(contents, bound, bound, st.sampled_from(Compression), st.sampled_from([64, 300, 4096]), st.integers(0, 3000))
def test_reads_what_was_written(
    content: dict[bytes, Entry],
    low: bytes | None,
    high: bytes | None,
    compression: Compression,
    block_bytes: int,
    cache_bytes: int,
) -> None:
    async def play() -> None:
        tables = Tables(cache_bytes)
        table = await tables.make(content, compression=compression, block_bytes=block_bytes)
        assert table.properties.count == len(content)
        for key in [*content, *(key + b"\0" for key in content), *(key[:-1] for key in content), b"", b"\xff"]:
            answer = table.find(key)
            assert (answer if answer is SILENCE else show(answer)) == (
                show(content[key]) if key in content else SILENCE
            )
        expected = [
            (key, show(content[key]))
            for key in sorted(content)
            if (low is None or low <= key) and (high is None or key < high)
        ]
        assert pairs_of(list(table.columns(low, high))) == expected
        assert pairs_of(list(table.columns(low, high, reverse=True)), reverse=True) == expected[::-1]
        assert pairs_of([columns async for columns in table.bulk(low, high)]) == expected
        assert tables.cache.charge_bytes <= cache_bytes
        await table.close()
        assert tables.cache.charge_bytes == 0

    finish(play())


async def test_properties() -> None:
    content: dict[bytes, Entry] = {b"%03d" % number: b"value" for number in range(100)}
    content |= {b"a": None, b"b": Operands([b"x"]), b"c": Expiring(b"v", 70), b"d": Expiring(b"v", 60), b"e": None}
    table = await Tables().make(content, [(b"m", b"n"), (b"p", b"q"), (b"n", b"o")])
    properties = table.properties
    assert (properties.count, properties.deletions, properties.operands, properties.expiring) == (105, 2, 1, 2)
    assert (properties.expires_ms_min, properties.expires_ms_max) == (60, 70)
    assert (properties.smallest, properties.largest, properties.created_ms) == (b"000", b"e", 5)
    assert properties.data_blocks == table.block_count > 3
    assert table.range_deletes == [(b"m", b"o"), (b"p", b"q")]
    assert properties.range_deletes == 2
    assert properties.raw_bytes >= 100 * 8


async def test_a_table_of_nothing_and_one_of_range_deletes_only() -> None:
    tables = Tables()
    for ranges in ([], [(b"a", b"b")]):
        table = await tables.make({}, ranges)
        assert table.range_deletes == ranges
        assert table.find(b"a") is SILENCE
        assert list(table.columns(None, None)) == []
        assert [columns async for columns in table.bulk()] == []


async def test_the_cache_spares_reads_and_long_scans_pass_it_by() -> None:
    content: dict[bytes, Entry] = {b"%05d" % number: b"v" * 100 for number in range(5000)}
    tables = Tables(1 << 20)
    file = MemoryFile(bytearray(tables.encode(sorted(content), [content[key] for key in sorted(content)])))
    table = await TableReader.open(file, "t", tables.cache)
    reads = file.reads
    assert table.find(b"02500") == b"v" * 100
    assert table.find(b"02500") == b"v" * 100
    assert file.reads == reads + 1
    assert table.find(b"0250") is SILENCE
    charged = tables.cache.charge_bytes
    assert sum(len(columns.keys) for columns in table.columns(None, None)) == 5000
    assert tables.cache.charge_bytes < charged + 10_000
    charged = tables.cache.charge_bytes
    async for _columns in table.bulk():
        pass
    assert tables.cache.charge_bytes == charged


async def test_another_tables_file_is_refused() -> None:
    tables = Tables()
    data = tables.encode([b"k"], [b"v"], table_id=5)
    assert (await tables.open(data, table_id=5)).find(b"k") == b"v"
    with pytest.raises(Corruption, match="table 5, not 6"):
        await tables.open(data, table_id=6)


@pytest.mark.parametrize("length", [0, 10, 55, 56, 100])
async def test_a_file_cut_short_is_named(length: int) -> None:
    tables = Tables()
    data = tables.encode([b"k"], [b"v"])
    with pytest.raises(Corruption) as caught:
        await tables.open(data[:length])
    assert caught.value.path == "t.table"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 1000), st.integers(0, 60))
def test_no_file_does_worse_than_raise(noise: bytes, at: int, cut: int) -> None:
    async def play() -> None:
        tables = Tables()
        data = tables.encode([b"%03d" % number for number in range(50)], [b"v" * 20] * 50)
        data = data[:at] + noise + data[at + cut :]
        try:
            table = await tables.open(data)
            for columns in table.columns(None, None):
                assert set(columns.entries) == {b"v" * 20}
        except Corruption:
            pass

    finish(play())


def test_keys_must_follow() -> None:
    writer = TableWriter(table_id=1)
    writer.add(Columns([b"a", b"b"], [b"1", b"2"], True))
    with pytest.raises(ValueError, match="does not follow"):
        writer.add(Columns([b"b"], [b"3"], True))


async def test_large_values_have_blocks_of_their_own() -> None:
    tables = Tables(100_000)
    content: dict[bytes, Entry] = {b"%d" % number: bytes([number]) * 300_000 for number in range(4)}
    table = await tables.make(content)
    assert table.block_count == 4
    assert all(table.find(key) == value for key, value in content.items())
    assert tables.cache.charge_bytes == 0
