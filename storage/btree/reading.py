"""Reads of a tree, from a root on: the one that is written, or one that a snapshot holds.

Branches are read as references are followed, so an iterator holds one path, and what it has passed can leave the cache.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from storage.btree.nodes import Branch, Leaf, Node
from storage.btree.pages import PageFile


def get(pages: PageFile, node: Node, key: bytes) -> bytes | None:
    """The value of `key`, or None. O(log n), one page read a level at the most. Raises Corruption."""
    young = pages.young
    while type(node) is Branch:
        index = bisect_right(node.keys, key)
        child = node.children[index]
        if not isinstance(child, int):
            node = child
            continue
        node = young.get(child) or pages.fetch(child, node.seals[index])
    assert type(node) is Leaf
    keys = node.keys
    position = bisect_left(keys, key)
    if position < len(keys) and keys[position] == key:
        value = node.values[position]
        return value if type(value) is bytes else pages.value(value)
    return None


def ascend(pages: PageFile, node: Node, low: bytes | None, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """The pairs with low <= key < high, ascending."""
    path: list[tuple[Branch, int]] = []
    while type(node) is Branch:
        index = 0 if low is None else bisect_right(node.keys, low)
        path.append((node, index))
        node = pages.node(node.children[index], node.seals[index])
    assert type(node) is Leaf
    start = 0 if low is None else bisect_left(node.keys, low)
    while True:
        keys = node.keys
        end = len(keys)
        last = high is not None and bool(keys) and not keys[-1] < high
        if last:
            assert high is not None
            end = bisect_left(keys, high)
        if start < end:
            yield from _pairs(pages, node, start, end)
        if last:
            return
        start = 0
        while path and path[-1][1] + 1 == len(path[-1][0].children):
            path.pop()
        if not path:
            return
        branch, index = path.pop()
        index += 1
        if high is not None and not branch.keys[index - 1] < high:
            return
        path.append((branch, index))
        descent = pages.node(branch.children[index], branch.seals[index])
        while type(descent) is Branch:
            path.append((descent, 0))
            descent = pages.node(descent.children[0], descent.seals[0])
        assert type(descent) is Leaf
        node = descent


def descend(pages: PageFile, node: Node, low: bytes | None, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """The pairs with low <= key < high, descending."""
    path: list[tuple[Branch, int]] = []
    while type(node) is Branch:
        index = len(node.keys) if high is None else bisect_left(node.keys, high)
        path.append((node, index))
        node = pages.node(node.children[index], node.seals[index])
    assert type(node) is Leaf
    end = len(node.keys) if high is None else bisect_left(node.keys, high)
    while True:
        start = 0 if low is None else bisect_left(node.keys, low)
        if start < end:
            yield from list(_pairs(pages, node, start, end))[::-1]
        if start > 0:
            return
        while path and path[-1][1] == 0:
            path.pop()
        if not path:
            return
        branch, index = path.pop()
        if low is not None and not low < branch.keys[index - 1]:
            return
        path.append((branch, index - 1))
        descent = pages.node(branch.children[index - 1], branch.seals[index - 1])
        while type(descent) is Branch:
            path.append((descent, len(descent.keys)))
            descent = pages.node(descent.children[-1], descent.seals[-1])
        assert type(descent) is Leaf
        node = descent
        end = len(node.keys)


def _pairs(pages: PageFile, leaf: Leaf, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    if leaf.large:
        # One at a time: a leaf can refer to more bytes than should be in memory at once.
        values = leaf.values[start:end]
        return ((key, pages.value(value)) for key, value in zip(leaf.keys[start:end], values, strict=True))
    return zip(leaf.keys[start:end], leaf.values[start:end], strict=True)  # type: ignore[arg-type]  # bytes only
