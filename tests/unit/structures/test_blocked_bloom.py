"""The filter never denies a key, seldom errs, and picks the same words and bits forever."""

import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structures.blocked_bloom import BITS_PER_MASK, MASKS, BlockedBloom, BlockedBloomBuilder, masks

hashes_strategy = st.lists(st.integers(0, (1 << 64) - 1), max_size=200)


@given(hashes_strategy, st.integers(1, 20), st.integers(0, 300))
def test_no_key_is_denied(hashes: list[int], bits_per_key: int, expected: int) -> None:
    builder = BlockedBloomBuilder(expected, bits_per_key)
    builder.add(hashes)
    encoded = builder.encode()
    assert len(encoded) == 8 * max(1, -(-expected * bits_per_key // 64))
    assert all(map(BlockedBloom(encoded).may_contain, hashes))


@pytest.mark.parametrize(("bits_per_key", "most"), [(8, 0.042), (10, 0.023), (12, 0.014), (16, 0.0065)])
def test_it_seldom_errs(bits_per_key: int, most: float) -> None:
    source = random.Random(6)
    builder = BlockedBloomBuilder(20_000, bits_per_key)
    builder.add(source.getrandbits(64) for _ in range(20_000))
    filter_ = BlockedBloom(builder.encode())
    errors = sum(filter_.may_contain(source.getrandbits(64)) for _ in range(50_000))
    assert errors / 50_000 < most


def test_an_empty_filter_denies_everything() -> None:
    filter_ = BlockedBloom(BlockedBloomBuilder(0, 12).encode())
    assert not any(filter_.may_contain(value) for value in range(1000))


def test_the_masks_are_a_file_format() -> None:
    table = masks()
    assert len(table) == MASKS
    assert {mask.bit_count() for mask in table} == {BITS_PER_MASK}
    assert len(set(table)) > MASKS * 0.99
    assert table[0] == 0x4100000008000042
    assert zlib.crc32(struct.pack(f"<{MASKS}Q", *table)) == 108758506


def test_bytes_that_are_no_filter() -> None:
    for data in (b"", b"1234567"):
        with pytest.raises(ValueError):
            BlockedBloom(data)
