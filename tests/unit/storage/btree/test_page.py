"""Pages come back as they were written, and no other bytes are ever taken for a page."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.btree.nodes import Branch, Large, Leaf, Seal, Value
from storage.btree.page import (
    BRANCH,
    HEAD_BYTES,
    LARGE,
    LEAF,
    MAP,
    MAP_INDEX,
    VALUE_BYTES_MAX,
    Head,
    PageInvalid,
    branch_size,
    decode_branch,
    decode_head,
    decode_leaf,
    decode_value,
    encode,
    encode_branch,
    encode_leaf,
    leaf_size,
    renumber,
)
from storage.btree.space import decode_bits, decode_index

PAGE = 4096
SMALL = st.binary(max_size=40)
LARGES = st.builds(
    lambda length, page, checksum: Large(None, length, page, checksum),
    st.integers(0, VALUE_BYTES_MAX),
    st.integers(0, 1 << 63),
    st.integers(0, (1 << 32) - 1),
)


def make_leaf(entries: dict[bytes, Value]) -> Leaf:
    keys = sorted(entries)
    values = [entries[key] for key in keys]
    return Leaf(0, keys, values, leaf_size(keys, values), any(type(value) is Large for value in values))


def shown(values: list[Value]) -> list[object]:
    return [value if type(value) is bytes else (value.page, value.length, value.checksum) for value in values]  # type: ignore[union-attr]


@given(st.dictionaries(SMALL, SMALL | LARGES, max_size=30), st.integers(0, 1 << 62), st.integers(1, 1 << 62))
def test_leaves(entries: dict[bytes, Value], page: int, commit: int) -> None:
    leaf = make_leaf(entries)
    data, seal = encode_leaf(leaf, page, commit, PAGE)
    assert len(data) == PAGE
    head = decode_head(data, page, PAGE)
    assert (head.commit, head.body_bytes, head.checksum) == (commit, leaf.size, seal >> 32)
    back = decode_leaf(head, data)
    assert (back.keys, shown(back.values), back.size) == (leaf.keys, shown(leaf.values), leaf.size)
    assert (back.page, back.seal, back.large) == (page, seal, leaf.large)
    assert Seal.unpack(seal) == Seal(head.checksum, leaf.large, len(entries))
    assert Seal.unpack(seal).pack() == seal


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=30, unique=True), st.data())
def test_branches(separators: list[bytes], data: st.DataObject) -> None:
    keys = sorted(separators)
    count = len(keys) + 1
    numbers = st.lists(st.integers(0, (1 << 64) - 1), min_size=count, max_size=count)
    seals = [Seal(7, index % 2 == 0, index).pack() for index in range(count)]
    children = data.draw(numbers)
    branch = Branch(0, 3, keys, list(children), seals, branch_size(keys, count))
    page, seal = encode_branch(branch, 9, 4, PAGE)
    back = decode_branch(decode_head(page, 9, PAGE), page)
    assert (back.keys, back.children, back.seals, back.level) == (keys, children, seals, 3)
    assert (back.size, back.seal) == (branch.size, seal)
    assert Seal.unpack(seal).count == sum(range(count))


@given(st.binary(max_size=10_000))
def test_values_of_many_pages(value: bytes) -> None:
    data, checksum = encode(LARGE, 0, 1, 5, 6, value, PAGE)
    assert len(data) % PAGE == 0
    head = decode_head(data, 5, PAGE)
    assert head.checksum == checksum
    assert decode_value(head, data, len(value)) == value
    with pytest.raises(PageInvalid):
        decode_value(head, data, len(value) + 1)


def test_every_flipped_bit_is_seen() -> None:
    data, _seal = encode_leaf(make_leaf({b"key": b"value", b"other": b""}), 3, 4, PAGE)
    source = random.Random(1)
    for position in [*range(HEAD_BYTES + 32), *(source.randrange(PAGE) for _ in range(300))]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << source.randrange(8)
        with pytest.raises(PageInvalid):
            decode_head(bytes(flipped), 3, PAGE)


def test_a_page_at_another_place_is_seen() -> None:
    data, _seal = encode_leaf(make_leaf({b"key": b"value"}), 3, 4, PAGE)
    with pytest.raises(PageInvalid, match="it is page 3, misplaced"):
        decode_head(data, 4, PAGE)
    moved, checksum = renumber(data, 4, 9)
    head = decode_head(moved, 4, PAGE)
    assert (head.commit, head.checksum) == (9, checksum)
    assert decode_leaf(head, moved).keys == [b"key"]


def test_a_page_that_is_cut_short() -> None:
    data, _seal = encode_leaf(make_leaf({b"key": b"value"}), 3, 4, PAGE)
    for length in (0, 3, HEAD_BYTES, PAGE - 1):
        with pytest.raises(PageInvalid):
            decode_head(data[:length], 3, PAGE)


@settings(max_examples=300)
@given(
    st.sampled_from([LEAF, BRANCH, LARGE, MAP, MAP_INDEX, 0, 77]),
    st.integers(0, 255),
    st.integers(0, (1 << 32) - 1) | st.integers(0, 40),
    st.binary(max_size=300),
)
def test_no_bytes_break_the_decoders(kind: int, level: int, count: int, body: bytes) -> None:
    """Even behind a checksum that holds."""
    data, _checksum = encode(kind, level, count, 3, 4, body, PAGE)
    try:
        head = decode_head(data, 3, PAGE)
    except PageInvalid:
        return
    for decode in (
        lambda: decode_leaf(head, data),
        lambda: decode_branch(head, data),
        lambda: decode_value(head, data, 5),
        lambda: decode_index(head, data, 8, 24),
        lambda: decode_bits(head, data, 0, 800),
    ):
        try:
            decode()
        except PageInvalid:
            pass


@given(st.binary(max_size=2 * PAGE), st.integers(0, 3))
def test_no_bytes_are_a_page_by_chance(data: bytes, page: int) -> None:
    with pytest.raises(PageInvalid):
        decode_head(data.ljust(PAGE, b"\0"), page, PAGE)


@given(st.integers(0, 300), st.binary(max_size=1200))
def test_lengths_that_do_not_add_up(count: int, body: bytes) -> None:
    head = Head(LEAF, 0, count, len(body), 3, 4, 0)
    try:
        leaf = decode_leaf(head, bytes(HEAD_BYTES) + body)
    except PageInvalid:
        return
    assert leaf_size(leaf.keys, leaf.values) == len(body)
