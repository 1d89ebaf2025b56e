"""An engine in memory, on the B+tree of `structures`: what it holds is as durable as the log that it is replayed from.

A snapshot is a clone of the tree: O(1) to take, and each node that is written while it is held is copied once.
"""

from collections.abc import Iterator

from storage.engine import DeleteRange, Merge, MergeOperator, NoMergeOperator, WriteBatch
from structures.btree import BTree

ENTRY_OVERHEAD_BYTES = 82
"""Two `bytes` objects of 33 bytes each and two pointers in a leaf, on 64-bit CPython."""


class MemorySnapshot:
    """The content of a MemoryEngine as of one moment."""

    __slots__ = ("_tree",)

    def __init__(self, tree: BTree[bytes, bytes]) -> None:
        self._tree: BTree[bytes, bytes] | None = tree

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        assert self._tree is not None, "the snapshot is closed"
        return self._tree.get(key)

    def scan(
        self, low: bytes | None = None, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with low <= key < high, in the order asked for."""
        assert self._tree is not None, "the snapshot is closed"
        return self._tree.items(low, high, reverse=reverse)

    def close(self) -> None:
        """Lets the old nodes go."""
        self._tree = None


class MemoryEngine:
    """An `Engine` whose every call is O(log n) in memory."""

    __slots__ = ("_operator", "_size_bytes", "_tree", "get", "scan")

    def __init__(self, operator: MergeOperator | None = None) -> None:
        self._operator = operator
        self._tree: BTree[bytes, bytes] = BTree()
        self._size_bytes = 0
        # The tree's own methods, bound once: reads are the hottest calls of the services above.
        self.get = self._tree.get
        self.scan = self._tree.items

    def put(self, key: bytes, value: bytes) -> None:
        """Sets the value of `key`."""
        before = self._tree.get(key)
        self._tree.set(key, value)
        if before is None:
            self._size_bytes += len(key) + len(value) + ENTRY_OVERHEAD_BYTES
        else:
            self._size_bytes += len(value) - len(before)

    def delete(self, key: bytes) -> None:
        """Removes `key`; one that does not exist is fine."""
        before = self._tree.delete(key)
        if before is not None:
            self._size_bytes -= len(key) + len(before) + ENTRY_OVERHEAD_BYTES

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Removes every key with low <= key < high, in O(log n) each."""
        for key, _value in list(self._tree.items(low, high)):
            self.delete(key)

    def merge(self, key: bytes, operand: bytes) -> None:
        """Changes the value of `key` by the merge operator. Raises NoMergeOperator."""
        before = self._tree.get(key)
        self.put(key, self._need_operator().combine([operand] if before is None else [before, operand]))

    def write(self, batch: WriteBatch) -> None:
        """Applies a batch. Nothing in here can fail half way: there is no I/O, and what could is looked at before."""
        if not batch.plain and any(type(operation) is Merge for _key, operation in batch.operations):
            self._need_operator()
        for key, operation in batch.operations:
            if operation is None:
                self.delete(key)
            elif isinstance(operation, bytes):
                self.put(key, operation)
            elif isinstance(operation, DeleteRange):
                self.delete_range(key, operation.high)
            else:
                self.merge(key, operation.operand)

    def _need_operator(self) -> MergeOperator:
        if self._operator is None:
            raise NoMergeOperator("the engine was opened without a merge operator")
        return self._operator

    def snapshot(self) -> MemorySnapshot:
        """The content as of now, in O(1)."""
        return MemorySnapshot(self._tree.clone())

    @property
    def size_bytes(self) -> int:
        """What the entries take in memory, about."""
        return self._size_bytes
