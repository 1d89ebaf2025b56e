"""Looks at every byte of a file that is in use, and at what only the whole can tell.

Checked: the metas; the map; each page's checksum, number, kind and level; that each page is reachable exactly once or
free exactly once; the order of all keys, within their parents' separators; counts; each large value. Memory: a byte a
page, and one path of the tree. A damaged page costs what lies beneath it, and nothing else.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from runtime.disk import Disk
from storage.btree.meta import Meta
from storage.btree.nodes import Branch, Large, Leaf, Node
from storage.btree.opening import FILE_NAME, read_map, read_metas, reserved_pages
from storage.btree.page import key_bytes_max, leaf_size, run_pages
from storage.btree.pages import PageFile
from storage.btree.space import FREE
from storage.engine import Corruption

FAULTS_MAX = 1000
"""Listed. A file with more has been replaced by something else."""
_SEEN = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written."""

    offset: int
    """In the file."""
    page: int
    what: str


@dataclass(slots=True)
class Report:
    """What a file holds, and what is wrong with it."""

    path: str
    commit: int = 0
    page_bytes: int = 0
    pages: int = 0
    free_pages: int = 0
    branch_pages: int = 0
    leaf_pages: int = 0
    large_pages: int = 0
    map_pages: int = 0
    height: int = 0
    entries: int = 0
    key_bytes: int = 0
    value_bytes: int = 0
    leaf_bytes: int = 0
    """Of the leaves' pages that hold something."""
    operator: str = ""
    faults: list[Fault] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


async def verify(disk: Disk, path: str, *, values: bool = True) -> Report:
    """Reads the file in directory `path`, which no engine has open. Without `values`, large values are not read.

    Damage is reported, not raised; OSError when the file cannot be read.
    """
    name = f"{path}/{FILE_NAME}"
    report = Report(name)
    file = await disk.open(name)
    try:
        try:
            metas = await read_metas(file, name)
        except Corruption as error:
            report.faults.append(Fault(error.offset, 0, str(error)))
            return report
        meta = metas.newest
        for offset, what in metas.faults:
            report.faults.append(Fault(offset, offset // meta.page_bytes, f"a copy of the meta is damaged: {what}"))
        if metas.previous is None:
            report.faults.append(Fault(0, 0, "the two metas are not of commits that follow each other"))
        _Walk(PageFile(file, name, meta.page_bytes, 0), meta, report, values).run()
    finally:
        await file.close()
    return report


class _Walk:
    def __init__(self, pages: PageFile, meta: Meta, report: Report, values: bool) -> None:
        self._pages = pages
        self._meta = meta
        self._report = report
        self._values = values
        self._seen = bytearray(meta.pages)
        self._last: bytes | None = None
        self._beneath_damage = False
        """Whether something could not be reached, so that what is not seen need not be lost."""

    def run(self) -> None:
        meta, report = self._meta, self._report
        report.commit, report.page_bytes, report.pages = meta.commit, meta.page_bytes, meta.pages
        report.height, report.operator = meta.height, meta.operator
        for page in range(reserved_pages(meta.page_bytes)):
            self._see(page)
        state = self._map()
        self._tree(meta.root, meta.root_seal, meta.height, None, None)
        if not self._beneath_damage and report.entries != meta.entries:
            self._fault(meta.root, f"the tree holds {report.entries} entries, and the meta says {meta.entries}")
        if state is not None:
            self._compare(state)

    def _map(self) -> bytearray | None:
        meta = self._meta
        try:
            chunks, state = read_map(self._pages, meta)
        except Corruption as error:
            self._fault(error.offset // meta.page_bytes, str(error))
            self._beneath_damage = True
            return None
        for page in (meta.map_index, *(page for page, _checksum in chunks)):
            self._see(page)
            self._report.map_pages += 1
        return state

    def _compare(self, state: bytearray) -> None:
        """Each page is reachable exactly once or free exactly once."""
        self._report.free_pages = state.count(FREE)
        for page, (free, seen) in enumerate(zip(state, self._seen, strict=True)):
            if free == FREE and seen:
                self._fault(page, "it is in use, and the map says that it is free")
            elif free != FREE and not seen and not self._beneath_damage:
                self._fault(page, "nothing refers to it, and the map says that it is in use")

    def _tree(self, page: int, seal: int, level: int, low: bytes | None, high: bytes | None) -> None:
        """One subtree, whose keys must lie in low <= key < high."""
        node = self._node(page, seal, level)
        if node is None:
            self._beneath_damage = True
            return
        if type(node) is Leaf:
            self._leaf(page, node, low, high)
            return
        assert type(node) is Branch
        self._report.branch_pages += 1
        bounds = [low, *node.keys, high]
        inner = node.keys
        if any(one >= other for one, other in pairwise(inner)) or (
            inner and ((low is not None and inner[0] <= low) or (high is not None and inner[-1] >= high))
        ):
            self._fault(page, "its separators are out of order")
        for index, child in enumerate(node.children):
            assert isinstance(child, int)
            self._tree(child, node.seals[index], level - 1, bounds[index], bounds[index + 1])

    def _node(self, page: int, seal: int, level: int) -> Node | None:
        if not self._see(page):
            return None
        try:
            node = self._pages.read_node(page, seal)
        except Corruption as error:
            self._fault(page, str(error))
            return None
        if (node.level if type(node) is Branch else 0) != level:
            self._fault(page, f"it is not of level {level}")
            return None
        return node

    def _leaf(self, page: int, leaf: Leaf, low: bytes | None, high: bytes | None) -> None:
        report, keys = self._report, leaf.keys
        report.leaf_pages += 1
        report.leaf_bytes += leaf.size
        report.entries += len(keys)
        report.key_bytes += sum(map(len, keys))
        if any(one >= other for one, other in pairwise(keys)):
            self._fault(page, "its keys are out of order")
        if keys and (
            (low is not None and keys[0] < low)
            or (high is not None and keys[-1] >= high)
            or (self._last is not None and keys[0] <= self._last)
        ):
            self._fault(page, "its keys are not where they belong")
        if keys:
            self._last = keys[-1]
        if leaf_size(keys, leaf.values) != leaf.size or any(
            len(key) > key_bytes_max(self._meta.page_bytes) for key in keys
        ):
            self._fault(page, "its sizes make no sense")
        for value in leaf.values:
            if type(value) is Large:
                self._large(value)
            else:
                report.value_bytes += len(value)

    def _large(self, large: Large) -> None:
        assert large.page is not None
        count = run_pages(large.length, self._meta.page_bytes)
        self._report.large_pages += count
        self._report.value_bytes += large.length
        once = True
        for page in range(large.page, large.page + count):
            once &= self._see(page)
        if not once or not self._values:
            return
        try:
            self._pages.value(large)
        except Corruption as error:
            self._fault(large.page, str(error))

    def _see(self, page: int) -> bool:
        """Notes that a page is referred to. False when it cannot be, or was before."""
        if page >= len(self._seen):
            self._fault(page, f"something refers to it, and the file has {len(self._seen)} pages")
            return False
        if self._seen[page] == _SEEN:
            self._fault(page, "more than one thing refers to it")
            return False
        self._seen[page] = _SEEN
        return True

    def _fault(self, page: int, what: str) -> None:
        if len(self._report.faults) < FAULTS_MAX:
            self._report.faults.append(Fault(page * self._meta.page_bytes, page, what))
