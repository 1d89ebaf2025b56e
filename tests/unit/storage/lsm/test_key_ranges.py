"""Ranges against sets of keys."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from storage.lsm.key_ranges import Ranges, coalesce, covers, shared_length

KEYS = [bytes([number]) for number in range(12)]
ranges_strategy = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)), max_size=6)


@given(ranges_strategy)
def test_coalescing_keeps_the_keys_and_leaves_gaps(ranges: list[tuple[bytes, bytes]]) -> None:
    made = coalesce(ranges)
    for key in KEYS:
        inside = any(low <= key < high for low, high in ranges)
        assert covers(made, key) == inside
        assert any(low <= key < high for low, high in made) == inside
    assert all(low < high for low, high in made)
    assert all(before[1] < behind[0] for before, behind in pairwise(made))


@given(ranges_strategy, st.sets(st.sampled_from(KEYS)), st.integers(0, 12), st.integers(0, 12))
def test_uncovered_positions(ranges: list[tuple[bytes, bytes]], chosen: set[bytes], start: int, end: int) -> None:
    keys = sorted(chosen)
    end = min(end, len(keys))
    kept = Ranges(ranges).uncovered(keys, start, end)
    found = [key for low, high in kept for key in keys[low:high]]
    assert found == [key for key in keys[start:end] if not any(low <= key < high for low, high in ranges)]
    assert all(low < high for low, high in kept)


@given(st.binary(max_size=6), st.binary(max_size=6), st.binary(max_size=6))
def test_shared_length(prefix: bytes, one: bytes, other: bytes) -> None:
    one, other = prefix + one, prefix + other
    length = shared_length(one, other)
    assert one[:length] == other[:length]
    assert length in (len(one), len(other)) or one[length] != other[length]
