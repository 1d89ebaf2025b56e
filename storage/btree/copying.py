"""A copy of a frozen tree in a new file: compact, in the order of the keys, each page checked on its way.

A leaf is not decoded: its bytes get another page number and another checksum.
"""

from collections.abc import Generator, Iterator

from runtime.disk import Disk
from storage.btree.nodes import LARGE_BIT, Branch, Large, Leaf, Node, Reference, Value
from storage.btree.opening import FIRST_COMMIT, begin, finish, publish, reserved_pages
from storage.btree.page import LARGE, encode, encode_branch, encode_leaf, renumber, run_pages
from storage.btree.pages import WRITE_BYTES_MAX, PageFile
from storage.btree.space import SpaceMap


async def copy_tree(source: PageFile, root: Node, disk: Disk, path: str, operator: str) -> None:
    """Makes a file in directory `path` that holds the tree beneath `root`. Durable on return. Raises Corruption."""
    file = await begin(disk, path)
    try:
        target = PageFile(file, path, source.page_bytes, 0)
        copy = _Copy(source)
        level = root.level if type(root) is Branch else 0
        steps = copy.tree(root, level)
        while (ended := next(steps)) is None:
            await target.write(copy.take())
        await target.write(copy.take())
        page, seal = ended
        await finish(target, copy.space, page, seal, level, operator)
    finally:
        await file.close()
    await publish(disk, path)


_Steps = Generator[None, None, tuple[int, int]]
"""Stops when there is enough to be written, and returns a page and its seal."""


class _Copy:
    def __init__(self, source: PageFile) -> None:
        self.space = SpaceMap(source.page_bytes, reserved_pages(source.page_bytes))
        self._source = source
        self._encoded: list[tuple[int, bytes]] = []
        self._bytes = 0

    def take(self) -> list[tuple[int, bytes]]:
        """What there is to be written."""
        encoded, self._encoded, self._bytes = self._encoded, [], 0
        return encoded

    def tree(self, root: Node, level: int) -> Iterator[tuple[int, int] | None]:
        """None each time that there is enough to be written; at the end the root's page and its seal."""
        yield (yield from self.node(root, 0, level))

    def node(self, reference: Reference, seal: int, level: int) -> _Steps:
        source = self._source
        if isinstance(reference, int) and level == 0 and not seal & LARGE_BIT and reference not in source.pending:
            _head, data = source.read_page(reference, seal >> 32)
            page = self.space.allocate()
            data, checksum = renumber(data, page, FIRST_COMMIT)
            self._append(page, data)
            if self._bytes >= WRITE_BYTES_MAX:
                yield
            return page, checksum << 32 | seal & 0xFFFFFFFF
        node = self._find(reference, seal)
        if type(node) is Branch:
            children: list[Reference] = []
            seals = []
            for child, child_seal in zip(node.children.copy(), node.seals.copy(), strict=True):
                page, new_seal = yield from self.node(child, child_seal, level - 1)
                children.append(page)
                seals.append(new_seal)
            page = self.space.allocate()
            data, new_seal = encode_branch(
                Branch(0, node.level, node.keys, children, seals, node.size), page, FIRST_COMMIT, source.page_bytes
            )
        else:
            assert type(node) is Leaf
            values: list[Value] = []
            for value in node.values:
                values.append(value if type(value) is bytes else self._value(value))
                if self._bytes >= WRITE_BYTES_MAX:
                    yield
            page = self.space.allocate()
            data, new_seal = encode_leaf(
                Leaf(0, node.keys, values, node.size, node.large), page, FIRST_COMMIT, source.page_bytes
            )
        self._append(page, data)
        return page, new_seal

    def _find(self, reference: Reference, seal: int) -> Node:
        """Past the cache, which should keep what the readers need."""
        if not isinstance(reference, int):
            return reference
        source = self._source
        return source.young.get(reference) or source.pending.get(reference) or source.read_node(reference, seal)

    def _value(self, value: Value) -> Value:
        assert type(value) is Large
        page = self.space.allocate(run_pages(value.length, self._source.page_bytes))
        if value.value is not None:
            data, checksum = encode(LARGE, 0, 1, page, FIRST_COMMIT, value.value, self._source.page_bytes)
        else:
            _head, data = self._source.read_run(value)
            data, checksum = renumber(data, page, FIRST_COMMIT)
        self._append(page, data)
        return Large(None, value.length, page, checksum)

    def _append(self, page: int, data: bytes) -> None:
        self._encoded.append((page, data))
        self._bytes += len(data)
