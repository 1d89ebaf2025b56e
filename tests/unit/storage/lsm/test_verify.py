"""No flipped byte of a table is ever returned as data, each is found and named, and the rest stays readable."""

import random
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from storage.engine import Corruption
from storage.lsm.columns import SILENCE, Columns, Entry, Expiring, Operands
from storage.lsm.compression import Compression
from storage.lsm.table_format import FOOTER_BYTES, Footer
from storage.lsm.table_reader import TableReader
from storage.lsm.table_writer import TableWriter
from storage.lsm.verify import TableExamination, TableReport, verify_table
from tests.unit.storage.lsm.table_files import MemoryFile, Tables, show

CONTENT: dict[bytes, Entry] = {b"key-%03d" % number: b"value of %d" % number for number in range(30)} | {
    b"l": None,
    b"m": Operands([b"1", b"2"]),
    b"n": Expiring(b"x", 5),
}
SHOWN = {key: show(entry) for key, entry in CONTENT.items()}
TABLE_ID = 0xDEADBEEF


def encode(compression: Compression = Compression.NONE) -> bytes:
    keys = sorted(CONTENT)
    return Tables().encode(
        keys,
        [CONTENT[key] for key in keys],
        [(b"x", b"y")],
        compression=compression,
        block_bytes=110,
        table_id=TABLE_ID,
    )


async def examine(data: bytes | bytearray, table_id: int | None = None) -> tuple[TableReport, dict[bytes, object]]:
    examination = TableExamination(MemoryFile(bytearray(data)), "t", table_id=table_id)
    found: dict[bytes, object] = {}
    async for columns in examination.columns():
        found.update(zip(columns.keys, map(show, columns.entries), strict=True))
    return examination.report, found


async def places(data: bytes) -> list[tuple[int, int]]:
    """Where each data block, each section and the footer begin and end."""
    tables = Tables()
    table = await tables.open(data)
    footer = Footer.decode(data[-FOOTER_BYTES:], path="", offset=len(data) - FOOTER_BYTES)
    starts = [
        *table._offsets[:-1],
        footer.filter_at,
        footer.range_deletes_at,
        footer.index_at,
        footer.properties_at,
        len(data) - FOOTER_BYTES,
        len(data),
    ]
    return list(pairwise(starts))


@pytest.mark.parametrize("compression", Compression)
async def test_a_whole_table(compression: Compression) -> None:
    report, found = await examine(encode(compression), TABLE_ID)
    assert report.whole
    assert found == SHOWN
    assert report.keys == len(CONTENT)
    assert report.blocks > 3
    assert report.range_deletes == [(b"x", b"y")]
    assert report.properties is not None
    assert report.properties.count == len(CONTENT)


async def read_all(
    data: bytearray, ways: list[Callable[[TableReader], Awaitable[dict[bytes, object]]]]
) -> list[tuple[str, int]]:
    """Reads in each of the ways; what comes must be right. The file and offset of each Corruption instead."""
    corrupt: list[tuple[str, int]] = []
    for way in ways:
        try:
            tables = Tables()
            found = await way(await tables.open(bytes(data)))
        except Corruption as error:
            corrupt.append((error.path, error.offset))
        else:
            assert found == SHOWN
    return corrupt


async def by_key(table: TableReader) -> dict[bytes, object]:
    found = {key: table.find(key) for key in CONTENT}
    assert SILENCE not in found.values()
    return {key: show(entry) for key, entry in found.items()}


def gather(columns: list[Columns]) -> dict[bytes, object]:
    return {key: show(entry) for each in columns for key, entry in zip(each.keys, each.entries, strict=True)}


async def by_scan(table: TableReader) -> dict[bytes, object]:
    return gather(list(table.columns(None, None)))


async def in_bulk(table: TableReader) -> dict[bytes, object]:
    return gather([columns async for columns in table.bulk()])


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.LZ4])
async def test_every_flipped_byte_is_found_named_and_never_returned(compression: Compression) -> None:
    whole = encode(compression)
    blocks = await places(whole)
    source = random.Random(3)
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= source.randrange(1, 256)
        ((number, (start, end)),) = [each for each in enumerate(blocks) if each[1][0] <= position < each[1][1]]
        assert await read_all(data, [by_key, by_scan, in_bulk]) == [("t.table", start)] * 3, position
        report, found = await examine(data)
        assert [damage.offset for damage in report.damages] == [start], position
        assert report.damages[0].path == "t"
        lost = {key for key in SHOWN if key not in found}
        assert found == {key: SHOWN[key] for key in SHOWN if key not in lost}
        if number < len(blocks) - 5:
            assert report.damages[0].block == f"data block {number}"
            assert 0 < len(lost) < 12
            assert end - start > 50
        else:
            assert not lost, position


async def test_sampled_bytes_of_a_larger_table() -> None:
    tables = Tables()
    keys = [b"%016d" % number for number in range(20_000)]
    whole = tables.encode(keys, [b"v" * 100] * len(keys), block_bytes=4096, chunk=1000)
    source = random.Random(4)
    for position in [*(source.randrange(len(whole)) for _ in range(40)), len(whole) - 1]:
        data = bytearray(whole)
        data[position] ^= 1 << source.randrange(8)
        report, found = await examine(data)
        assert report.damage_count == 1
        assert report.damages[0].offset <= position < report.damages[0].offset + 400_000
        assert len(found) >= len(keys) - 40
        with pytest.raises(Corruption):
            list((await tables.open(bytes(data))).columns(None, None))


async def test_without_index_and_footer_damage_costs_its_own_block_only() -> None:
    whole = encode()
    blocks = await places(whole)
    for footer_too in (False, True):
        for hurt in range(4):
            data = bytearray(whole)
            data[blocks[-3][0] + 50] ^= 1  # the index
            if footer_too:
                data[-20] ^= 1
            start, _end = blocks[hurt]
            data[start + 8] ^= 0xFF  # the header's length: the walk cannot step over the block
            report, found = await examine(data)
            assert start in {damage.offset for damage in report.damages}
            assert report.damage_count == (3 if footer_too else 2)
            assert len(found) > len(SHOWN) - 12
            assert all(SHOWN[key] == value for key, value in found.items())
            assert report.range_deletes == [(b"x", b"y")]


async def test_a_lost_tail_leaves_the_blocks_before_it_to_who_knows_the_id() -> None:
    whole = encode()
    blocks = await places(whole)
    report, found = await examine(whole[: blocks[4][0] + 20], TABLE_ID)
    assert not report.whole
    assert len(found) > 6
    assert all(SHOWN[key] == value for key, value in found.items())
    report, found = await examine(whole[: blocks[4][0] + 20])
    assert not found
    assert report.damages[-1].block == "table"
    report, found = await examine(b"")
    assert not report.whole
    assert not found


async def test_another_table_is_named() -> None:
    report = await verify_table(MemoryFile(bytearray(encode())), "t", table_id=5)
    assert "not 5" in report.damages[0].what


async def test_swapped_blocks_are_noticed() -> None:
    """Blocks of the same size that change places are each valid, elsewhere."""
    whole = Tables().encode([b"%03d" % number for number in range(100)], [b"value"] * 100)
    (start, end), (other, other_end), *_ = await places(whole)
    assert end - start == other_end - other
    data = bytearray(whole)
    data[start:end], data[other:other_end] = whole[other:other_end], whole[start:end]
    report, _found = await examine(data)
    assert [damage.offset for damage in report.damages] == [start, other]


def spoil_index(writer: TableWriter) -> None:
    writer._separators[0] = b"key-000"


def spoil_count(writer: TableWriter) -> None:
    writer.properties.count += 1


def spoil_last_key(writer: TableWriter) -> None:
    writer.properties.largest = b"z"


def spoil_filter(writer: TableWriter) -> None:
    writer._digests = []


def spoil_offsets(writer: TableWriter) -> None:
    writer._offsets[1], writer._offsets[2] = writer._offsets[2], writer._offsets[1]


@pytest.mark.parametrize(
    ("spoil", "block", "what"),
    [
        (spoil_index, "data block 0", "not where the index looks"),
        (spoil_count, "properties", "31 keys, and there are 30"),
        (spoil_last_key, "properties", "first and last"),
        (spoil_filter, "data block 0", "the filter denies"),
        (spoil_offsets, "index", "do not ascend"),
    ],
)
async def test_what_a_faulty_writer_sealed_is_noticed(
    spoil: Callable[[TableWriter], None], block: str, what: str
) -> None:
    """Checksums hold here; what they cover contradicts itself."""
    writer = TableWriter(table_id=1, block_bytes=110)
    keys = [b"key-%03d" % number for number in range(30)]
    parts = writer.add(Columns(keys, [b"value"] * 30, True))
    spoil(writer)
    for more in writer.finish():
        parts += more
    report, _found = await examine(b"".join(parts))
    assert (report.damages[0].block, what in report.damages[0].what) == (block, True), report.damages


async def test_keys_that_do_not_ascend_are_noticed() -> None:
    for keys in ([b"a", b"c", b"b", b"d"], [b"a", b"b", b"b", b"d"]):
        writer = TableWriter(table_id=1)
        parts = writer.add(Columns(keys, [b"value"] * 4, True))
        for more in writer.finish():
            parts += more
        report, _found = await examine(b"".join(parts))
        assert "do not ascend" in report.damages[0].what


async def test_the_next_block_is_found_behind_a_large_one() -> None:
    values: list[Entry] = [bytes([number]) * 2_500_000 for number in range(3)]
    whole = Tables().encode([b"a", b"b", b"c"], values)
    blocks = await places(whole)
    data = bytearray(whole)
    data[blocks[-3][0] + 40] ^= 1  # the index
    data[blocks[1][0] + 8] ^= 0xFF
    report, found = await examine(data)
    assert [damage.offset for damage in report.damages] == [blocks[-3][0], blocks[1][0]]
    assert list(found) == [b"a", b"c"]
