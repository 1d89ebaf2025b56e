"""Which of many intervals of keys contain a key? An AVL tree of intervals, augmented with the greatest end beneath.

Cormen et al., "Introduction to Algorithms", section 17.3 (interval trees). Intervals are half open, [low, high); a
`high` of None is behind every key. With n distinct intervals and m hits: add and remove O(log n), stab and overlapping
O(min(n, (m + 1) log n)).
"""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT", bound=Hashable)


class _Node(Generic[ItemT]):
    __slots__ = ("height", "high", "items", "left", "low", "reach", "right")

    def __init__(self, low: bytes, high: bytes | None, item: ItemT) -> None:
        self.low = low
        self.high = high
        self.items: dict[ItemT, None] = {item: None}
        """A dict for the order of insertion: a set of objects would iterate in an order that no seed decides."""
        self.left: _Node[ItemT] | None = None
        self.right: _Node[ItemT] | None = None
        self.height = 1
        self.reach: bytes | None = high
        """The greatest `high` in this subtree."""


def _before(low: bytes, high: bytes | None, other_low: bytes, other_high: bytes | None) -> bool:
    """The order of intervals in the tree: by low, then by high, an open end last."""
    if low != other_low:
        return low < other_low
    if high is None or other_high is None:
        return high is not None
    return high < other_high


def _farther(one: bytes | None, other: bytes | None) -> bytes | None:
    if one is None or other is None:
        return None
    return max(one, other)


class IntervalTree(Generic[ItemT]):
    """A multiset of items, each with the interval that it is interested in."""

    __slots__ = ("_count", "_root")

    def __init__(self) -> None:
        self._root: _Node[ItemT] | None = None
        self._count = 0

    def __len__(self) -> int:
        """How many items there are."""
        return self._count

    def add(self, low: bytes, high: bytes | None, item: ItemT) -> None:
        """Adds an item with its interval; raises ValueError when it is empty or the pair is here already."""
        if high is not None and low >= high:
            raise ValueError("the interval is empty")
        self._root = self._insert(self._root, low, high, item)
        self._count += 1

    def remove(self, low: bytes, high: bytes | None, item: ItemT) -> None:
        """Removes an item that was added with exactly this interval. Raises KeyError when it is not here."""
        node = self._root
        while node is not None and (node.low != low or node.high != high):
            node = node.left if _before(low, high, node.low, node.high) else node.right
        if node is None:
            raise KeyError(item)
        del node.items[item]
        self._count -= 1
        if not node.items:
            self._root = self._remove_node(self._root, low, high)

    def stab(self, key: bytes) -> Iterator[ItemT]:
        """The items whose interval contains `key`, in order of their intervals."""
        return self.overlapping(key, key + b"\0")

    def overlapping(self, low: bytes, high: bytes | None) -> Iterator[ItemT]:
        """The items whose interval has a key in common with [low, high), in order of their intervals."""
        stack: list[tuple[_Node[ItemT], bool]] = []
        if self._root is not None:
            stack.append((self._root, False))
        while stack:
            node, left_done = stack.pop()
            if not left_done:
                if node.reach is not None and node.reach <= low:
                    continue
                stack.append((node, True))
                if node.left is not None:
                    stack.append((node.left, False))
                continue
            if high is not None and node.low >= high:
                continue
            if node.high is None or node.high > low:
                yield from node.items
            if node.right is not None:
                stack.append((node.right, False))

    def intersects(self, low: bytes, high: bytes | None) -> bool:
        """Whether any item's interval has a key in common with [low, high)."""
        return next(self.overlapping(low, high), None) is not None

    def __iter__(self) -> Iterator[tuple[bytes, bytes | None, ItemT]]:
        stack: list[_Node[ItemT]] = []
        node = self._root
        while stack or node is not None:
            while node is not None:
                stack.append(node)
                node = node.left
            node = stack.pop()
            for item in node.items:
                yield node.low, node.high, item
            node = node.right

    def _insert(self, node: _Node[ItemT] | None, low: bytes, high: bytes | None, item: ItemT) -> _Node[ItemT]:
        if node is None:
            return _Node(low, high, item)
        if node.low == low and node.high == high:
            if item in node.items:
                raise ValueError("the item is here already, with the same interval")
            node.items[item] = None
            return node
        if _before(low, high, node.low, node.high):
            node.left = self._insert(node.left, low, high, item)
        else:
            node.right = self._insert(node.right, low, high, item)
        return _balanced(node)

    def _remove_node(self, node: _Node[ItemT] | None, low: bytes, high: bytes | None) -> _Node[ItemT] | None:
        assert node is not None
        if node.low == low and node.high == high:
            if node.left is None:
                return node.right
            if node.right is None:
                return node.left
            heir = node.right
            while heir.left is not None:
                heir = heir.left
            node.right = self._remove_node(node.right, heir.low, heir.high)
            heir.left, heir.right = node.left, node.right
            return _balanced(heir)
        if _before(low, high, node.low, node.high):
            node.left = self._remove_node(node.left, low, high)
        else:
            node.right = self._remove_node(node.right, low, high)
        return _balanced(node)


def _height(node: _Node[ItemT] | None) -> int:
    return 0 if node is None else node.height


def _update(node: _Node[ItemT]) -> None:
    node.height = 1 + max(_height(node.left), _height(node.right))
    reach = node.high
    if node.left is not None:
        reach = _farther(reach, node.left.reach)
    if node.right is not None:
        reach = _farther(reach, node.right.reach)
    node.reach = reach


def _balanced(node: _Node[ItemT]) -> _Node[ItemT]:
    """Restores height and reach of `node`, and the AVL rule: the heights of two siblings differ by at most one."""
    _update(node)
    lean = _height(node.left) - _height(node.right)
    if lean > 1:
        assert node.left is not None
        if _height(node.left.left) < _height(node.left.right):
            node.left = _rotated_left(node.left)
        return _rotated_right(node)
    if lean < -1:
        assert node.right is not None
        if _height(node.right.right) < _height(node.right.left):
            node.right = _rotated_right(node.right)
        return _rotated_left(node)
    return node


def _rotated_left(node: _Node[ItemT]) -> _Node[ItemT]:
    top = node.right
    assert top is not None
    node.right, top.left = top.left, node
    _update(node)
    _update(top)
    return top


def _rotated_right(node: _Node[ItemT]) -> _Node[ItemT]:
    top = node.left
    assert top is not None
    node.left, top.right = top.right, node
    _update(node)
    _update(top)
    return top
