"""The file of pages: reads, checks and decodes them, and keeps decoded nodes in a cache of bounded size.

The cache is two generations of a dict: what is found in the old one moves into the young one, and when the young one
has half of the budget, it becomes the old one and what nobody asked for is gone. A hit costs one look into a dict,
where a list of recent use would have to be changed on each.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.disk import File
from storage.btree.nodes import COUNT_MASK, LARGE_BIT, Branch, Large, Leaf, Node, memory_bytes
from storage.btree.page import (
    Head,
    PageInvalid,
    decode_branch,
    decode_head,
    decode_leaf,
    decode_value,
    run_pages,
)
from storage.engine import Corruption

WRITE_BYTES_MAX = 1 << 20
"""Pages that stand one behind another are written by one call, up to this."""
WRITES_AT_ONCE_MAX = 16
"""Calls for pages that do not: each is a trip to a thread, and a small commit would spend its time waiting for them."""


@dataclass(slots=True)
class PageStatistics:
    """Counted since the opening."""

    pages_read: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    writes: int = 0
    evictions: int = 0
    """How often half of the cache was let go."""


class PageFile:
    """An open file of pages, and the cache of its nodes."""

    __slots__ = (
        "_old",
        "_young_bytes",
        "cache_bytes_max",
        "file",
        "page_bytes",
        "path",
        "pending",
        "statistics",
        "young",
    )

    def __init__(self, file: File, path: str, page_bytes: int, cache_bytes_max: int) -> None:
        self.file = file
        self.path = path
        self.page_bytes = page_bytes
        self.cache_bytes_max = cache_bytes_max
        self.young: dict[int, Node] = {}
        """Looked into by those in a hurry, before they call `fetch`."""
        self._old: dict[int, Node] = {}
        self._young_bytes = 0
        self.pending: dict[int, Node] = {}
        """Nodes that have a page number and are not in the file yet: a commit writes them just now."""
        self.statistics = PageStatistics()

    def fetch(self, page: int, seal: int) -> Node:
        """The node of a page that is not in `young`. Raises Corruption, and OSError when it cannot be read."""
        node = self.pending.get(page)
        if node is not None:
            return node
        node = self._old.pop(page, None)
        if node is None:
            node = self.read_node(page, seal)
        self.admit(page, node)
        return node

    def admit(self, page: int, node: Node) -> None:
        """Takes a clean node into the cache."""
        self._young_bytes += memory_bytes(node)
        if self._young_bytes * 2 > self.cache_bytes_max:
            self._old = self.young
            self.young = {}
            self._young_bytes = memory_bytes(node)
            self.statistics.evictions += 1
        self.young[page] = node

    def forget(self, page: int) -> None:
        """What the cache knows of a page is over."""
        node = self.young.pop(page, None)
        if node is not None:
            self._young_bytes -= memory_bytes(node)
        else:
            self._old.pop(page, None)

    def read_node(self, page: int, seal: int) -> Node:
        """Reads past the cache."""
        head, data = self.read_page(page, seal >> 32)
        try:
            node = decode_leaf(head, data) if head.level == 0 else decode_branch(head, data)
            # The checksum says that this is the page which the parent was written with. What it counts must fit, too.
            if node.seal != seal:
                raise PageInvalid(
                    f"it counts {node.seal & (COUNT_MASK | LARGE_BIT)}, not {seal & (COUNT_MASK | LARGE_BIT)}"
                )
        except PageInvalid as error:
            raise self.corruption(page, str(error)) from error
        return node

    def read_page(self, page: int, checksum: int) -> tuple[Head, bytes]:
        """The page whose checksum its parent knows. Raises Corruption."""
        data = self.file.pread_now(self.page_bytes, page * self.page_bytes)
        return self._check(page, checksum, data), data

    def read_run(self, large: Large) -> tuple[Head, bytes]:
        """The run of pages of a large value. Raises Corruption."""
        assert large.page is not None
        length = run_pages(large.length, self.page_bytes) * self.page_bytes
        data = self.file.pread_now(length, large.page * self.page_bytes)
        if len(data) < length:
            raise self.corruption(large.page, "the file ends within it")
        return self._check(large.page, large.checksum, data), data

    def _check(self, page: int, checksum: int, data: bytes) -> Head:
        self.statistics.pages_read += 1
        self.statistics.bytes_read += len(data)
        try:
            head = decode_head(data, page, self.page_bytes)
            if head.checksum != checksum:
                raise PageInvalid("it is not the one that its parent refers to: a write was lost or misplaced")
        except PageInvalid as error:
            raise self.corruption(page, str(error)) from error
        return head

    def value(self, value: bytes | Large) -> bytes:
        """What a leaf's value stands for. Raises Corruption."""
        if type(value) is bytes:
            return value
        assert type(value) is Large
        if value.value is not None:
            return value.value
        head, data = self.read_run(value)
        try:
            return decode_value(head, data, value.length)
        except PageInvalid as error:
            assert value.page is not None
            raise self.corruption(value.page, str(error)) from error

    def node(self, reference: int | Leaf | Branch, seal: int) -> Node:
        """What a branch refers to."""
        if not isinstance(reference, int):
            return reference
        node = self.young.get(reference)
        return self.fetch(reference, seal) if node is None else node

    async def write(self, pages: Sequence[tuple[int, bytes]]) -> None:
        """Writes pages and runs, given by their number. Those that are neighbours go together. Raises OSError."""
        runs: list[tuple[int, list[bytes]]] = []
        end = size = 0
        for page, data in sorted(pages):
            if not runs or page * self.page_bytes != end or size >= WRITE_BYTES_MAX:
                runs.append((page * self.page_bytes, []))
                size = 0
            runs[-1][1].append(data)
            end = page * self.page_bytes + len(data)
            size += len(data)
        for start in range(0, len(runs), WRITES_AT_ONCE_MAX):
            await self._write(runs[start : start + WRITES_AT_ONCE_MAX])

    async def _write(self, runs: list[tuple[int, list[bytes]]]) -> None:
        self.statistics.writes += len(runs)
        self.statistics.bytes_written += sum(len(part) for _offset, parts in runs for part in parts)
        if len(runs) == 1:
            await self.file.pwrite(runs[0][1], runs[0][0])
            return
        writes = [self.file.pwrite(parts, offset) for offset, parts in runs]
        # All of them end before the first failure is told: none may come later, when the file is somebody else's.
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def corruption(self, page: int, what: str) -> Corruption:
        """Names the page."""
        return Corruption(self.path, page * self.page_bytes, f"page {page}: {what}")
