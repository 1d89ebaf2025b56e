"""The metas: after any crash the newest whole commit is found, and rot is told from a crash."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.btree.meta import (
    COPY_OFFSETS,
    META_BYTES,
    META_REGION_BYTES,
    SLOT_BYTES,
    Meta,
    MetaInvalid,
    choose,
    slot_offset,
)

META = Meta(4096, 7, 3, 1 << 40, 5, 6, 2, 100, 1000, "append")


def region(*commits: int) -> bytearray:
    data = bytearray(META_REGION_BYTES)
    for commit in commits:
        data[slot_offset(commit) : slot_offset(commit) + SLOT_BYTES] = replace(META, commit=commit).encode_slot()
    return data


def test_there_and_back() -> None:
    assert len(META.encode()) == META_BYTES
    assert Meta.decode(META.encode()) == META


def test_the_newer_slot_holds() -> None:
    for older in (6, 7):
        metas = choose(bytes(region(older, older + 1)))
        assert metas.newest.commit == older + 1
        assert metas.previous is not None
        assert metas.previous.commit == older
        assert metas.faults == ()


def test_a_write_of_a_meta_that_is_torn_between_sectors() -> None:
    """Each of the two copies is the old or the new one. Either way a whole commit is found."""
    old, new = region(6, 7), region(7, 8)
    for taken in range(4):
        torn = bytearray(old)
        for number, copy in enumerate(COPY_OFFSETS):
            if taken >> number & 1:
                at = slot_offset(8) + copy
                torn[at : at + META_BYTES] = new[at : at + META_BYTES]
        metas = choose(bytes(torn))
        assert metas.newest.commit == (8 if taken else 7)
        assert metas.faults == ()


def test_one_rotten_copy_is_told_and_its_twin_holds() -> None:
    source = random.Random(1)
    for copy in COPY_OFFSETS:
        data = region(6, 7)
        at = slot_offset(7) + copy
        data[at + source.randrange(META_BYTES)] ^= 1
        metas = choose(bytes(data))
        assert metas.newest.commit == 7
        assert [offset for offset, _why in metas.faults] == [at]


def test_two_rotten_copies_are_no_crash() -> None:
    """The older slot is whole, but it may not be what was promised last."""
    data = region(6, 7)
    for copy in COPY_OFFSETS:
        data[slot_offset(7) + copy] ^= 1
    with pytest.raises(MetaInvalid, match=f"at offset {slot_offset(7)}"):
        choose(bytes(data))


@given(st.binary(max_size=META_REGION_BYTES))
def test_no_bytes_break_it(data: bytes) -> None:
    with pytest.raises(MetaInvalid):
        choose(data)


@given(st.integers(0, META_BYTES - 1), st.integers(1, 255))
def test_every_flipped_byte_is_seen(position: int, flip: int) -> None:
    data = bytearray(META.encode())
    data[position] ^= flip
    with pytest.raises(MetaInvalid):
        Meta.decode(bytes(data))
