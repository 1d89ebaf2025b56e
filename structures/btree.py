"""An ordered map in memory: a B+tree with wide nodes, counts per subtree, and copies in O(1).

Theory of operation: keys live in leaves; a branch holds separators (the smallest key of each child but the first) and
the number of keys beneath it. Wide nodes keep the work inside `bisect` and list slices, which run in C. `clone` shares
all nodes between the two trees: each node names the tree that may change it, and a tree copies what it does not own on
the way of a write (Rodeh, "B-trees, Shadowing, and Clones", ACM TOS 2008). A clone is therefore a snapshot that
costs nothing to those who read it, and one node copy per level to the writer, the first time.

With n keys and B keys a node: get, set and delete O(log n); rank and count of a range O(B log_B n); iteration
O(log n) to its start, then O(1) a step; clone O(1).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bytes, int, str)
ValueT = TypeVar("ValueT")

NODE_KEYS_MAX = 64
"""A node with more keys than this is split. Measured: 32 to 128 are equally fast, and 64 copies little on write."""
NODE_KEYS_MIN = NODE_KEYS_MAX // 4
"""A node that a deletion leaves with fewer is merged with a neighbour. Far below half of the maximum, so that
deleting and inserting around a boundary does not split and merge each time."""


class _Leaf(Generic[KeyT, ValueT]):
    __slots__ = ("keys", "owner", "values")

    def __init__(self, owner: object, keys: list[KeyT], values: list[ValueT]) -> None:
        self.owner = owner
        self.keys: list[KeyT] = keys
        self.values = values

    def copy(self, owner: object) -> "_Leaf[KeyT, ValueT]":
        return _Leaf(owner, self.keys.copy(), self.values.copy())

    @property
    def size(self) -> int:
        return len(self.keys)


class _Branch(Generic[KeyT, ValueT]):
    __slots__ = ("children", "keys", "owner", "size")

    def __init__(
        self, owner: object, keys: list[KeyT], children: "list[_Leaf[KeyT, ValueT] | _Branch[KeyT, ValueT]]"
    ) -> None:
        self.owner: object = owner
        self.keys: list[KeyT] = keys
        self.children: list[_Leaf[KeyT, ValueT] | _Branch[KeyT, ValueT]] = children
        self.size: int = sum(child.size for child in children)

    def copy(self, owner: object) -> "_Branch[KeyT, ValueT]":
        return _Branch(owner, self.keys.copy(), self.children.copy())


class BTree(Generic[KeyT, ValueT]):
    """An ordered map. Changing it while one of its iterators runs is an error of the caller: iterate over a clone."""

    __slots__ = ("_owner", "_root")

    def __init__(self) -> None:
        self._owner: object = object()
        self._root: _Leaf[KeyT, ValueT] | _Branch[KeyT, ValueT] = _Leaf(self._owner, [], [])

    def __len__(self) -> int:
        return self._root.size

    def __contains__(self, key: KeyT) -> bool:
        leaf, position = self._find(key)
        return position < len(leaf.keys) and leaf.keys[position] == key

    def get(self, key: KeyT) -> ValueT | None:
        """The value of `key`, or None. O(log n)."""
        node = self._root
        while isinstance(node, _Branch):
            node = node.children[bisect_right(node.keys, key)]
        keys = node.keys
        position = bisect_left(keys, key)
        if position < len(keys) and keys[position] == key:
            return node.values[position]
        return None

    def set(self, key: KeyT, value: ValueT) -> None:
        """Adds `key`, or replaces its value. O(log n)."""
        owner = self._owner
        node = self._root
        if node.owner is not owner:
            node = self._root = node.copy(owner)
        path: list[tuple[_Branch[KeyT, ValueT], int]] = []
        while isinstance(node, _Branch):
            index = bisect_right(node.keys, key)
            child = node.children[index]
            if child.owner is not owner:
                child = node.children[index] = child.copy(owner)
            path.append((node, index))
            node = child
        keys = node.keys
        position = bisect_left(keys, key)
        if position < len(keys) and keys[position] == key:
            node.values[position] = value
            return
        keys.insert(position, key)
        node.values.insert(position, value)
        for branch, _ in path:
            branch.size += 1
        if len(keys) > NODE_KEYS_MAX:
            self._split(node, path, appended=position == len(keys) - 1)

    def delete(self, key: KeyT) -> ValueT | None:
        """Removes `key`; its value, or None when it was not there. O(log n)."""
        if key not in self:
            return None
        owner = self._owner
        node = self._root
        if node.owner is not owner:
            node = self._root = node.copy(owner)
        path: list[tuple[_Branch[KeyT, ValueT], int]] = []
        while isinstance(node, _Branch):
            index = bisect_right(node.keys, key)
            child = node.children[index]
            if child.owner is not owner:
                child = node.children[index] = child.copy(owner)
            node.size -= 1
            path.append((node, index))
            node = child
        position = bisect_left(node.keys, key)
        del node.keys[position]
        value = node.values.pop(position)
        while path and len(node.keys) < NODE_KEYS_MIN:
            branch, index = path.pop()
            self._rebalance(branch, index)
            node = branch
        while isinstance(self._root, _Branch) and len(self._root.children) == 1:
            self._root = self._root.children[0]
        return value

    def items(
        self, low: KeyT | None = None, high: KeyT | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[KeyT, ValueT]]:
        """The pairs with low <= key < high in ascending order, or descending; None leaves that end open."""
        return self._descending(low, high) if reverse else self._ascending(low, high)

    def count(self, low: KeyT | None = None, high: KeyT | None = None) -> int:
        """How many keys there are with low <= key < high. O(B log_B n)."""
        start = 0 if low is None else self.rank(low)
        end = self._root.size if high is None else self.rank(high)
        return max(0, end - start)

    def rank(self, key: KeyT) -> int:
        """How many keys are less than `key`. O(B log_B n)."""
        rank = 0
        node = self._root
        while isinstance(node, _Branch):
            index = bisect_right(node.keys, key)
            children = node.children
            # From whichever side is nearer: reads of recent keys are common, and stand at the right.
            if index * 2 <= len(children):
                for child in children[:index]:
                    rank += child.size
            else:
                rank += node.size
                for child in children[index:]:
                    rank -= child.size
            node = children[index]
        return rank + bisect_left(node.keys, key)

    def clone(self) -> "BTree[KeyT, ValueT]":
        """A second tree with the same content, which both may change without the other seeing it. O(1)."""
        twin: BTree[KeyT, ValueT] = BTree()
        twin._root = self._root
        # Neither owns the shared nodes any more: the one that writes first copies.
        self._owner = object()
        return twin

    def _find(self, key: KeyT) -> tuple[_Leaf[KeyT, ValueT], int]:
        node = self._root
        while isinstance(node, _Branch):
            node = node.children[bisect_right(node.keys, key)]
        return node, bisect_left(node.keys, key)

    def _split(
        self,
        node: _Leaf[KeyT, ValueT] | _Branch[KeyT, ValueT],
        path: list[tuple[_Branch[KeyT, ValueT], int]],
        *,
        appended: bool,
    ) -> None:
        """Splits `node`, and its ancestors in `path` as far as they overflow."""
        owner = self._owner
        # Keys that come in ascending order (revisions do) would leave every node half empty if cut in the middle.
        at_right_edge = appended and all(index == len(branch.keys) for branch, index in path)
        right: _Leaf[KeyT, ValueT] | _Branch[KeyT, ValueT]
        while True:
            cut = len(node.keys) - 1 if at_right_edge else len(node.keys) // 2
            separator = node.keys[cut]
            if isinstance(node, _Branch):
                right = _Branch(owner, node.keys[cut + 1 :], node.children[cut + 1 :])
                del node.keys[cut:], node.children[cut + 1 :]
                node.size -= right.size
            else:
                right = _Leaf(owner, node.keys[cut:], node.values[cut:])
                del node.keys[cut:], node.values[cut:]
            if not path:
                self._root = _Branch(owner, [separator], [node, right])
                return
            branch, index = path.pop()
            branch.keys.insert(index, separator)
            branch.children.insert(index + 1, right)
            if len(branch.keys) <= NODE_KEYS_MAX:
                return
            node = branch

    def _rebalance(self, branch: _Branch[KeyT, ValueT], index: int) -> None:
        """Merges the child at `index` with a neighbour, and cuts the two in halves again when they are too large."""
        owner = self._owner
        left_index = index - 1 if index > 0 else index
        if left_index + 1 >= len(branch.children):
            return
        left = branch.children[left_index]
        if left.owner is not owner:
            left = branch.children[left_index] = left.copy(owner)
        right = branch.children[left_index + 1]
        separator = branch.keys[left_index]
        if isinstance(left, _Branch):
            assert isinstance(right, _Branch)
            left.keys.append(separator)
            left.keys.extend(right.keys)
            left.children.extend(right.children)
            left.size += right.size
        else:
            assert isinstance(right, _Leaf)
            left.keys.extend(right.keys)
            left.values.extend(right.values)
        del branch.keys[left_index], branch.children[left_index + 1]
        if len(left.keys) > NODE_KEYS_MAX:
            self._split(left, [(branch, left_index)], appended=False)

    def _ascending(self, low: KeyT | None, high: KeyT | None) -> Iterator[tuple[KeyT, ValueT]]:
        node = self._root
        path: list[tuple[_Branch[KeyT, ValueT], int]] = []
        while isinstance(node, _Branch):
            index = 0 if low is None else bisect_right(node.keys, low)
            path.append((node, index))
            node = node.children[index]
        start = 0 if low is None else bisect_left(node.keys, low)
        while True:
            keys = node.keys
            end = len(keys)
            if high is not None and end and not keys[-1] < high:
                yield from zip(keys[start : (end := bisect_left(keys, high))], node.values[start:end], strict=True)
                return
            yield from zip(keys[start:], node.values[start:], strict=True)
            start = 0
            while path and path[-1][1] + 1 == len(path[-1][0].children):
                path.pop()
            if not path:
                return
            branch, index = path.pop()
            path.append((branch, index + 1))
            descent = branch.children[index + 1]
            while isinstance(descent, _Branch):
                path.append((descent, 0))
                descent = descent.children[0]
            node = descent

    def _descending(self, low: KeyT | None, high: KeyT | None) -> Iterator[tuple[KeyT, ValueT]]:
        node = self._root
        path: list[tuple[_Branch[KeyT, ValueT], int]] = []
        while isinstance(node, _Branch):
            index = len(node.keys) if high is None else bisect_right(node.keys, high)
            path.append((node, index))
            node = node.children[index]
        end = len(node.keys) if high is None else bisect_left(node.keys, high)
        while True:
            keys = node.keys
            start = 0 if low is None else bisect_left(keys, low)
            if start < end:
                yield from zip(keys[start:end][::-1], node.values[start:end][::-1], strict=True)
            if start > 0:
                return
            while path and path[-1][1] == 0:
                path.pop()
            if not path:
                return
            branch, index = path.pop()
            path.append((branch, index - 1))
            descent = branch.children[index - 1]
            while isinstance(descent, _Branch):
                path.append((descent, len(descent.keys)))
                descent = descent.children[-1]
            node = descent
            end = len(node.keys)
