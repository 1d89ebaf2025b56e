"""The interval tree against a list of intervals."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from structures.interval_tree import IntervalTree, _height, _Node

BOUND = st.integers(0, 60).map(lambda number: b"%02d" % number)


def check_node(node: _Node[int] | None) -> None:
    if node is None:
        return
    check_node(node.left)
    check_node(node.right)
    assert abs(_height(node.left) - _height(node.right)) <= 1
    ends = [node.high, *(child.reach for child in (node.left, node.right) if child is not None)]
    assert node.reach == (None if None in ends else max(end for end in ends if end is not None))
    assert node.items


class TreeAgainstList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree: IntervalTree[int] = IntervalTree()
        self.model: list[tuple[bytes, bytes | None, int]] = []
        self.next_item = 0

    @rule(low=BOUND, high=st.none() | BOUND)
    def add(self, low: bytes, high: bytes | None) -> None:
        if high is not None and low >= high:
            with pytest.raises(ValueError, match="empty"):
                self.tree.add(low, high, self.next_item)
            return
        self.tree.add(low, high, self.next_item)
        self.model.append((low, high, self.next_item))
        self.next_item += 1

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.model:
            entry = self.model.pop(data.draw(st.integers(0, len(self.model) - 1)))
            self.tree.remove(*entry)
            with pytest.raises(KeyError):
                self.tree.remove(*entry)

    @rule(key=BOUND)
    def stab(self, key: bytes) -> None:
        expected = {item for low, high, item in self.model if low <= key and (high is None or key < high)}
        hits = list(self.tree.stab(key))
        assert len(hits) == len(expected)
        assert set(hits) == expected

    @rule(low=BOUND, high=st.none() | BOUND)
    def overlap(self, low: bytes, high: bytes | None) -> None:
        if high is not None and low >= high:
            return
        expected = {
            item
            for other_low, other_high, item in self.model
            if (high is None or other_low < high) and (other_high is None or other_high > low)
        }
        assert set(self.tree.overlapping(low, high)) == expected
        assert self.tree.intersects(low, high) == bool(expected)

    @invariant()
    def holds(self) -> None:
        check_node(self.tree._root)
        assert len(self.tree) == len(self.model)
        assert sorted(self.tree, key=lambda entry: entry[2]) == self.model


TestTreeAgainstList = TreeAgainstList.TestCase
TestTreeAgainstList.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


@given(count=st.integers(1, 400))
@settings(max_examples=10, deadline=None)
def test_height_is_logarithmic(count: int) -> None:
    tree: IntervalTree[int] = IntervalTree()
    for number in range(count):
        tree.add(b"%06d" % number, b"%06d" % (number + 1), number)
    assert _height(tree._root) <= 1.45 * (count + 2).bit_length()
