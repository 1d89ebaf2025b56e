"""The set of ranges against a set of single keys."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from structures.range_set import RangeSet

EDGES = st.integers(0, 30).map(lambda number: bytes([number]))
KEYS = [bytes([number]) for number in range(32)]


@given(st.lists(st.tuples(EDGES, EDGES)), EDGES, EDGES)
def test_covers_what_any_of_its_ranges_covers(ranges: list[tuple[bytes, bytes]], low: bytes, high: bytes) -> None:
    covered = RangeSet(ranges)
    expected = {key for key in KEYS for start, end in ranges if start <= key < end}
    assert {key for key in KEYS if covered.covers(key)} == expected
    merged = covered.ranges()
    assert len(covered) == len(merged)
    assert all(end < start for (_, end), (start, _) in pairwise(merged)), "disjoint, and apart"
    clipped = RangeSet(covered.clipped(low, high))
    assert {key for key in KEYS if clipped.covers(key)} == {key for key in expected if low <= key < high}
    assert covered.clipped(None, None) == merged
