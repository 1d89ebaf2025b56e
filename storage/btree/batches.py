"""Batches of puts and deletions: in the order of the keys, so that those of one leaf cost one way down.

First every leaf that will be changed is made the writer's own: that reads, so it can fail, and changes nothing. The
changes themselves then find all leaves in memory and cannot fail. What splits and merges do may move leaves between
parents, so the way to a leaf is looked for again when a leaf needs its parent.
"""

from bisect import bisect_left, bisect_right
from typing import final

from storage.btree.nodes import LEAF_ENTRY_OVERHEAD_BYTES, Branch, Leaf, Value, stored_bytes
from storage.btree.tree import Path, Tree

Changes = dict[bytes, bytes | None]


@final
class BatchTree(Tree):
    """A tree that takes batches."""

    __slots__ = ()

    def write(self, changes: Changes) -> None:
        """Sets and (where the value is None) removes many keys, all or none. Raises as `put` does."""
        if self.failure is not None:
            raise self.failure
        entry_bytes_max, key_bytes_max = self._entry_bytes_max, self._key_bytes_max
        larges: dict[bytes, Value] = {}
        for key, value in changes.items():
            if value is not None and (
                len(key) + len(value) + LEAF_ENTRY_OVERHEAD_BYTES > entry_bytes_max or len(key) > key_bytes_max
            ):
                larges[key] = self._large(key, value)
        keys = sorted(changes)
        count = len(keys)
        for leaf, start, end in self._leaves(keys):
            reached = self._fill(leaf, keys, start, end, changes, larges)
            merged = False
            if leaf.size > self._capacity:
                way, _bound = self._way(leaf.keys[0])
                self._split(leaf, way, appended=leaf.keys[-1] == keys[reached - 1])
                merged = self._change_anew(keys, reached, end, changes, larges)
            elif leaf.size < self._small and leaf is not self.root:
                way, _bound = self._way(keys[start])
                self._shrunk(leaf, way)
                merged = True
            if merged:
                # A leaf further on may be part of another by now.
                self._change_anew(keys, end, count, changes, larges)
                return

    def _leaves(self, keys: list[bytes]) -> list[tuple[Leaf, int, int]]:
        """The leaves that sorted keys belong to, made the writer's own, and which keys[start:end] belong to each."""
        generation, fetch, count = self.generation, self.pages.fetch, len(keys)
        root = self._own_root()
        found = []
        position = 0
        while position < count:
            key = keys[position]
            node = root
            bound: bytes | None = None
            while type(node) is Branch:
                index = bisect_right(node.keys, key)
                if index < len(node.keys):
                    bound = node.keys[index]
                child = node.children[index]
                if isinstance(child, int):
                    child = self.pages.young.get(child) or fetch(child, node.seals[index])
                if child.generation != generation:
                    child = node.children[index] = self._own(child)
                node = child
            assert type(node) is Leaf
            end = count if bound is None else bisect_left(keys, bound, position)
            found.append((node, position, end))
            position = end
        return found

    def _change_anew(
        self, keys: list[bytes], start: int, end: int, changes: Changes, larges: dict[bytes, Value]
    ) -> bool:
        """Makes the changes of keys[start:end], whose leaves are the writer's own. True when leaves were merged."""
        merged = False
        while start < end:
            way, bound = self._way(keys[start])
            leaf = self._leaf_of(way, keys[start])
            stop = end if bound is None else bisect_left(keys, bound, start, end)
            start = self._fill(leaf, keys, start, stop, changes, larges)
            if leaf.size > self._capacity:
                self._split(leaf, way, appended=leaf.keys[-1] == keys[start - 1])
            elif leaf.size < self._small and way:
                self._shrunk(leaf, way)
                merged = True
        return merged

    def _way(self, key: bytes) -> tuple[Path, bytes | None]:
        """The way to the leaf of a key, and from which key on they belong elsewhere. All of it is the writer's own."""
        way: Path = []
        bound: bytes | None = None
        node = self._own_root()
        while type(node) is Branch:
            index = bisect_right(node.keys, key)
            if index < len(node.keys):
                bound = node.keys[index]
            way.append((node, index))
            node = self._own_child(node, index)
        return way, bound

    def _leaf_of(self, way: Path, key: bytes) -> Leaf:
        """Where a way ends."""
        leaf = self._own_child(*way[-1]) if way else self._own_root()
        assert type(leaf) is Leaf
        return leaf

    def _fill(
        self, leaf: Leaf, keys: list[bytes], start: int, end: int, changes: Changes, larges: dict[bytes, Value]
    ) -> int:
        """Makes the changes of keys[start:end] in their leaf, until it overflows; how far it came."""
        leaf_keys, values, capacity = leaf.keys, leaf.values, self._capacity
        size = leaf.size
        place = 0
        number = start
        while number < end and size <= capacity:
            key = keys[number]
            value = changes[key]
            number += 1
            place = bisect_left(leaf_keys, key, place)
            there = place < len(leaf_keys) and leaf_keys[place] == key
            if there:
                before = values[place]
                size -= len(key) + stored_bytes(before) + LEAF_ENTRY_OVERHEAD_BYTES
                self._retire_value(before)
            if value is None:
                if there:
                    del leaf_keys[place], values[place]
                continue
            stored: Value = value
            if larges and key in larges:
                stored = larges[key]
                leaf.large = True
            size += len(key) + stored_bytes(stored) + LEAF_ENTRY_OVERHEAD_BYTES
            if there:
                values[place] = stored
            elif place < len(leaf_keys):
                leaf_keys.insert(place, key)
                values.insert(place, stored)
            else:
                leaf_keys.append(key)
                values.append(stored)
        leaf.size = size
        return number
