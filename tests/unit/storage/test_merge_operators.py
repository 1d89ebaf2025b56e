"""The merge operators are associative, and take any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.engine import MergeOperator
from storage.merge_operators import Append, Counter


@pytest.mark.parametrize("operator", [Append(), Counter()], ids=lambda operator: operator.name)
@given(operands=st.lists(st.binary(max_size=12), min_size=1), data=st.data())
def test_what_is_combined_first_does_not_matter(
    operator: MergeOperator, operands: list[bytes], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(operands)))
    assert operator.combine([operator.combine(operands[:cut]), *operands[cut:]]) == operator.combine(operands)


@given(st.lists(st.integers(-(1 << 40), 1 << 40), min_size=1))
def test_a_counter_adds(counts: list[int]) -> None:
    assert Counter.decode(Counter().combine([Counter.encode(count) for count in counts])) == sum(counts)


def test_a_counter_wraps_around_and_refuses_what_does_not_fit() -> None:
    highest = Counter.encode((1 << 63) - 1)
    assert Counter.decode(Counter().combine([highest, Counter.encode(1)])) == -(1 << 63)
    with pytest.raises(OverflowError):
        Counter.encode(1 << 63)
