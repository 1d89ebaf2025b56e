"""Blocks: what was encoded is decoded and found, at its own place only, and nothing damaged is ever returned."""

import struct
import zlib

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.engine import Corruption
from storage.lsm.block import Block, decode_block, encode_block
from storage.lsm.block_shape import HEADER_BYTES, BlockKind, stored_bytes
from storage.lsm.columns import SILENCE, Entry, Expiring, Operands
from storage.lsm.compression import Compression

TABLE_ID = 7
OFFSET = 4096


def show(entry: Entry) -> object:
    if isinstance(entry, Operands):
        return ("operands", tuple(entry.operands))
    if isinstance(entry, Expiring):
        return ("expiring", entry.value, entry.expires_ms)
    return entry


keys_strategy = st.one_of(
    st.sets(st.binary(max_size=12), max_size=40),
    st.sets(st.binary(min_size=6, max_size=6), max_size=40),
    st.sets(st.binary(max_size=3).map(b"a long prefix of all keys".__add__), max_size=40),
    st.sets(st.binary(min_size=2, max_size=2).map(b"prefix: ".__add__), max_size=40),
    # Many keys with the same last byte.
    st.sets(st.binary(min_size=2, max_size=2).map(lambda key: key + b"\0"), max_size=40),
).map(sorted)
entry_strategy = st.one_of(
    st.binary(max_size=20),
    st.none(),
    st.lists(st.binary(max_size=5), max_size=4).map(Operands),
    st.builds(Expiring, st.binary(max_size=10), st.integers(-(1 << 63), (1 << 63) - 1)),
)


@st.composite
def columns_strategy(draw: st.DrawFn) -> tuple[list[bytes], list[Entry]]:
    keys: list[bytes] = draw(keys_strategy)
    cell: st.SearchStrategy[Entry] = draw(
        st.sampled_from(
            [entry_strategy, st.binary(max_size=20), st.binary(min_size=8, max_size=8), st.none(), st.just(b"v" * 30)]
        )
    )
    return keys, draw(st.lists(cell, min_size=len(keys), max_size=len(keys)))


def encode(keys: list[bytes], entries: list[Entry], compression: Compression = Compression.NONE) -> bytes:
    return encode_block(
        BlockKind.DATA, keys, entries, plain=False, compression=compression, table_id=TABLE_ID, offset=OFFSET
    )


def decode(data: bytes) -> Block:
    return decode_block(data, path="t", offset=OFFSET, table_id=TABLE_ID)


@given(columns_strategy(), st.sampled_from(Compression), st.lists(st.binary(max_size=12), max_size=5))
def test_what_was_encoded_is_decoded_and_found(
    columns: tuple[list[bytes], list[Entry]], compression: Compression, others: list[bytes]
) -> None:
    keys, entries = columns
    data = encode(keys, entries, compression)
    assert stored_bytes(data[:HEADER_BYTES]) == len(data)
    block = decode(data)
    found = block.columns()
    assert found.keys == keys
    assert [show(entry) for entry in found.entries] == [show(entry) for entry in entries]
    assert found.plain == all(isinstance(entry, bytes) for entry in entries)
    model = {key: show(entry) for key, entry in zip(keys, entries, strict=True)}
    for key in [*keys, *others, *(key[:-1] for key in keys), *(key + b"\0" for key in keys)]:
        answer = block.find(key)
        assert (answer if answer is SILENCE else show(answer)) == model.get(key, SILENCE)


def test_wide_offsets_and_one_large_value() -> None:
    entries: list[Entry] = [b"x" * 70_000, b"", b"y" * 3]
    block = decode(encode([b"a", b"bb", b"c"], entries))
    assert block.columns().entries == entries
    assert block.find(b"c") == b"yyy"
    keys = [b"a" * 40_000, b"b" * 40_001]
    block = decode(encode(keys, [b"1", b"2"]))
    assert block.find(keys[1]) == b"2"
    assert list(block.keys()) == keys


@pytest.mark.parametrize("compression", Compression)
def test_every_flipped_bit_is_detected(compression: Compression) -> None:
    keys = [b"key-%d" % number for number in range(10)]
    entries: list[Entry] = [b"value" * 5, None, Operands([b"1", b"22"]), Expiring(b"x", 5), *([b"v" * 20] * 6)]
    data = encode(keys, entries, compression)
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corruption) as caught:
            decode(bytes(broken))
        assert (caught.value.path, caught.value.offset) == ("t", OFFSET)


def test_a_block_is_valid_at_its_own_place_only() -> None:
    data = encode([b"k"], [b"v"])
    for table_id, offset, kind in [(8, OFFSET, 1), (TABLE_ID, 0, 1), (TABLE_ID, OFFSET, 2)]:
        with pytest.raises(Corruption):
            decode_block(data, path="t", offset=offset, table_id=table_id, kind=BlockKind(kind))
    with pytest.raises(Corruption):
        decode(data[:-1])
    with pytest.raises(Corruption):
        decode(data + b"\0")


def test_equal_last_bytes_are_still_found() -> None:
    keys = [b"%03d-same" % number for number in range(100)]
    block = decode(encode(keys, [b"%d" % number for number in range(100)]))
    assert [block.find(key) for key in keys] == [b"%d" % number for number in range(100)]
    assert block.find(b"xyz-same") is SILENCE


def seal(head: bytes, stored: bytes) -> bytes:
    """A block with a checksum that holds, whatever it says."""
    seed = (TABLE_ID * 0x9E3779B97F4A7C15 >> 16) + OFFSET & 0xFFFFFFFF
    return head + stored + struct.pack("<I", google_crc32c.extend(seed, head + stored))


@given(
    st.integers(0, 3),
    st.integers(0, 7),
    st.binary(max_size=80),
    st.one_of(st.none(), st.integers(0, 1 << 32 - 1)),
    st.one_of(st.integers(0, 20), st.integers(0, (1 << 32) - 1)),
    st.tuples(*[st.one_of(st.integers(0, 20), st.just(0xFFFFFFFF), st.integers(0, (1 << 32) - 1))] * 3),
)
def test_no_crafted_block_does_worse_than_raise(
    compression: int, flags: int, stored: bytes, raw: int | None, count: int, lengths: tuple[int, int, int]
) -> None:
    raw = len(stored) if raw is None else raw
    head = struct.pack("<2sBBIIIIIII", b"\xf5B", 1, compression, flags, len(stored), raw, count, *lengths)
    try:
        block = decode(seal(head, stored))
    except Corruption:
        return
    try:
        columns = block.columns()
        assert len(columns.keys) == len(columns.entries) == block.count
        block.find(b"some key")
    except ValueError:
        pass


def test_decompression_never_makes_more_than_was_said() -> None:
    import lz4.block
    import zstandard

    bomb = bytes(10_000_000)
    for compression, stored in [
        (Compression.LZ4, lz4.block.compress(bomb, store_size=False)),
        (Compression.ZSTD, zstandard.ZstdCompressor(write_content_size=False).compress(bomb)),
        (Compression.ZSTD, zstandard.compress(bomb)),
        (Compression.LZ4, b"nonsense"),
        (Compression.ZSTD, zlib.compress(b"nonsense")),
    ]:
        head = struct.pack("<2sBBIIIIIII", b"\xf5B", 1, compression, 1, len(stored), 100, 1, 0, 50, 50)
        with pytest.raises(Corruption):
            decode(seal(head, stored))


def test_a_prefix_is_left_out_where_it_saves_much() -> None:
    keys = [b"/registry/pods/default/%04d" % number for number in range(40)]
    data = encode(keys, [b"v"] * 40)
    assert len(data) < 40 * 10
    assert decode(data).find(keys[17]) == b"v"
    assert decode(data).find(keys[17][1:]) is SILENCE
