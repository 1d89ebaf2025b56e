"""A commit: the changed nodes of a frozen tree, and the map of pages, go to free places; then a meta names them.

The order that all depends on: pages are written and synced, and only then the meta, which is synced, too. A crash
before the meta leaves the tree of the commit before untouched, since nothing that it refers to was written over.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from storage.btree.meta import Meta, slot_offset
from storage.btree.nodes import Branch, Large, Leaf, Node, Seal
from storage.btree.page import LARGE, encode, encode_branch, encode_leaf, run_pages
from storage.btree.pages import WRITE_BYTES_MAX, PageFile
from storage.btree.space import SpaceMap


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a frozen tree replaces, and up to which commit pages that were freed may be taken again."""

    root: Node
    replaced: list[int | Node | Large]
    reusable_through: int


def unwritten(node: Node) -> Iterator[Node]:
    """The nodes that have no page, children first. When asked for the next, the last one must have its page."""
    if type(node) is Branch:
        children, seals = node.children, node.seals
        for index, child in enumerate(children):
            if isinstance(child, int):
                continue
            if child.page is None:
                yield from unwritten(child)
            assert child.page is not None
            # From now on the child is looked for by its number, and the cache decides whether it stays in memory.
            children[index] = child.page
            seals[index] = child.seal
    if node.page is None:
        yield node


async def commit(pages: PageFile, space: SpaceMap, before: Meta, sealed: Sealed) -> Meta:
    """Makes a frozen tree durable. Raises OSError; then nothing is known of what came after `before`."""
    number = before.commit + 1
    space.release(sealed.reusable_through)
    for gone in sealed.replaced:
        _free(pages, space, gone)
    writer = _Writer(pages, space, number)
    for node in unwritten(sealed.root):
        writer.add(node)
        if writer.bytes >= WRITE_BYTES_MAX:
            await writer.flush()
    await writer.flush()
    root = sealed.root
    assert root.page is not None
    map_pages, index, checksum = space.encode(number)
    for page, _data in map_pages:
        pages.forget(page)
    await pages.write(map_pages)
    await pages.file.sync()
    meta = Meta(
        page_bytes=pages.page_bytes,
        commit=number,
        root=root.page,
        root_seal=root.seal,
        map_index=index,
        map_checksum=checksum,
        height=root.level if type(root) is Branch else 0,
        pages=len(space.state),
        entries=Seal.unpack(root.seal).count,
        operator=before.operator,
    )
    slot = meta.encode_slot()
    await pages.file.pwrite([slot], slot_offset(number), sync=True)
    pages.statistics.bytes_written += len(slot)
    space.end_commit(number)
    return meta


def _free(pages: PageFile, space: SpaceMap, gone: int | Node | Large) -> None:
    if isinstance(gone, int):
        page, count = gone, 1
    elif type(gone) is Large:
        if gone.page is None:
            return
        page, count = gone.page, run_pages(gone.length, pages.page_bytes)
    else:
        assert type(gone) is Leaf or type(gone) is Branch
        if gone.page is None:
            return
        page, count = gone.page, 1
    space.free(page, count)
    pages.forget(page)


class _Writer:
    """Gives nodes their pages, and writes them a megabyte at a time."""

    def __init__(self, pages: PageFile, space: SpaceMap, number: int) -> None:
        self._pages = pages
        self._space = space
        self._number = number
        self._encoded: list[tuple[int, bytes]] = []
        self._larges: list[Large] = []
        self.bytes = 0

    def add(self, node: Node) -> None:
        """Encodes a node whose children have their pages."""
        page_bytes = self._pages.page_bytes
        if type(node) is Leaf and node.large:
            for value in node.values:
                if type(value) is Large and value.page is None:
                    self._add_value(value)
        page = self._take(1)
        if type(node) is Leaf:
            data, node.seal = encode_leaf(node, page, self._number, page_bytes)
        else:
            assert type(node) is Branch
            data, node.seal = encode_branch(node, page, self._number, page_bytes)
        node.page = page
        # Until it is in the file, whoever follows its number finds it there.
        self._pages.pending[page] = node
        self._append(page, data)

    def _add_value(self, large: Large) -> None:
        assert large.value is not None
        page_bytes = self._pages.page_bytes
        large.page = self._take(run_pages(large.length, page_bytes))
        data, large.checksum = encode(LARGE, 0, 1, large.page, self._number, large.value, page_bytes)
        self._larges.append(large)
        self._append(large.page, data)

    def _take(self, count: int) -> int:
        page = self._space.allocate(count)
        # A reader of an old snapshot may have brought back what stood there before.
        for number in range(page, page + count):
            self._pages.forget(number)
        return page

    def _append(self, page: int, data: bytes) -> None:
        self._encoded.append((page, data))
        self.bytes += len(data)

    async def flush(self) -> None:
        """Writes what was encoded. From then on it is read from the file, like everything."""
        await self._pages.write(self._encoded)
        pending = self._pages.pending
        for page, _data in self._encoded:
            node = pending.pop(page, None)
            if node is not None:
                self._pages.admit(page, node)
        for large in self._larges:
            large.value = None
        self._encoded.clear()
        self._larges.clear()
        self.bytes = 0
