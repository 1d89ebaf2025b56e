"""Which pages of the file are free, in memory and in the file.

Theory of operation: a byte a page says used, free or waiting. A commit frees the pages that its tree does without, and
they wait until neither a snapshot nor a meta on the disk refers to them any more. In the file the map is a bit a page,
in pages of its own that are written as everything is: to a new place, and only those whose bits have changed. Writing
the map takes and frees pages itself, which changes bits; since each page of the map moves at most once a commit, that
comes to an end.

The byte a page lets `find` look for free pages in C: a scan over the map of 10 GB takes a tenth of a millisecond.
"""

import errno
import struct
from collections import deque
from collections.abc import Iterable

from storage.btree.page import HEAD_BYTES, MAP, MAP_INDEX, Head, PageInvalid, encode

USED, FREE, WAITING = 0, 1, 2
_TO_DIGITS = bytes.maketrans(b"\0\1\2", b"011")
_FROM_DIGITS = bytes.maketrans(b"01", b"\0\1")
_CHUNK = struct.Struct("<QI")


class SpaceMap:
    """The pages of one file. Every call but `encode` and the constructor is O(1), or a search in C."""

    def __init__(self, page_bytes: int, reserved: int) -> None:
        self._page_bytes = page_bytes
        self.chunk_pages = (page_bytes - HEAD_BYTES) * 8
        """Pages of which one page of the map tells."""
        self.pages_max = (page_bytes - HEAD_BYTES) // _CHUNK.size * self.chunk_pages
        self.state = bytearray(reserved)
        """USED, FREE or WAITING for each page of the file. The first ones are the metas'."""
        self.free_pages = 0
        self.waiting_pages = 0
        self._waiting: deque[tuple[int, list[int]]] = deque()
        self._freed: list[int] = []
        self._cursor = 0
        self.chunks: list[tuple[int, int]] = [(0, 0)]
        """Page and checksum of each page of the map; page 0 says that it has not been written yet."""
        self.index = 0
        self._changed: set[int] = {0}

    def allocate(self, count: int = 1) -> int:
        """Takes `count` pages that stand together and gives the first. Raises OSError (ENOSPC)."""
        state = self.state
        page = -1
        if self.free_pages >= count:
            wanted = b"\1" * count
            page = state.find(wanted, self._cursor)
            if page < 0:
                page = state.find(wanted)
        if page < 0:
            page = len(state)
            if page + count > self.pages_max:
                raise OSError(errno.ENOSPC, f"the file is at its largest, {self.pages_max} pages of {self._page_bytes}")
            state.extend(bytes(count))
            while len(self.chunks) * self.chunk_pages < len(state):
                self._changed.add(len(self.chunks))
                self.chunks.append((0, 0))
        else:
            state[page : page + count] = bytes(count)
            self.free_pages -= count
            self._cursor = page + count
        self._changed.update(range(page // self.chunk_pages, (page + count - 1) // self.chunk_pages + 1))
        return page

    def free(self, page: int, count: int = 1) -> None:
        """Gives pages up that the commit in progress does without."""
        assert self.state[page : page + count] == bytes(count), f"page {page} is not in use"
        self.state[page : page + count] = bytes((WAITING,)) * count
        self.waiting_pages += count
        self._freed.extend(range(page, page + count))
        self._changed.update(range(page // self.chunk_pages, (page + count - 1) // self.chunk_pages + 1))

    def end_commit(self, commit: int) -> None:
        """What was freed since the last call was freed by this commit."""
        if self._freed:
            self._waiting.append((commit, self._freed))
            self._freed = []

    def release(self, commit: int) -> None:
        """Lets the pages be taken again that this commit, or one before it, freed."""
        state = self.state
        released = False
        while self._waiting and self._waiting[0][0] <= commit:
            _commit, pages = self._waiting.popleft()
            for page in pages:
                state[page] = FREE
            self.free_pages += len(pages)
            self.waiting_pages -= len(pages)
            released = True
        if released:
            # From the front again, so that a file that has shrunk within stays used at its beginning.
            self._cursor = 0

    def encode(self, commit: int) -> tuple[list[tuple[int, bytes]], int, int]:
        """The pages of the map that have to be written, the page of its index, and the checksum of that."""
        if self.index:
            self.free(self.index)
        self.index = self.allocate()
        moved: set[int] = set()
        while left := self._changed - moved:
            for chunk in sorted(left):
                moved.add(chunk)
                if self.chunks[chunk][0]:
                    self.free(self.chunks[chunk][0])
                self.chunks[chunk] = (self.allocate(), 0)
        pages = []
        for chunk in sorted(moved):
            page = self.chunks[chunk][0]
            data, checksum = encode(MAP, 0, chunk, page, commit, self._bits(chunk), self._page_bytes)
            self.chunks[chunk] = (page, checksum)
            pages.append((page, data))
        body = b"".join(_CHUNK.pack(page, checksum) for page, checksum in self.chunks)
        data, checksum = encode(MAP_INDEX, 0, len(self.chunks), self.index, commit, body, self._page_bytes)
        pages.append((self.index, data))
        self._changed.clear()
        return pages, self.index, checksum

    def _bits(self, chunk: int) -> bytes:
        """A bit a page. Behind the end of the file there are zeros."""
        digits = self.state[chunk * self.chunk_pages : (chunk + 1) * self.chunk_pages].translate(_TO_DIGITS)
        return int(digits.ljust(self.chunk_pages, b"0"), 2).to_bytes(self.chunk_pages // 8, "big")

    def load(self, index: int, chunks: list[tuple[int, int]], state: bytearray) -> None:
        """Takes over the map of a file that was opened."""
        self.index = index
        self.chunks = chunks
        self.state = state
        self.free_pages = state.count(FREE)
        self._changed.clear()

    def keep(self, previous: bytearray, commit: int) -> None:
        """Lets wait what is free now and was not in the map of the commit before, whose meta is still on the disk."""
        state = self.state
        page = -1
        while (page := state.find(FREE, page + 1)) >= 0:
            if page < len(previous) and previous[page] == USED:
                state[page] = WAITING
                self._freed.append(page)
        self.free_pages -= len(self._freed)
        self.waiting_pages += len(self._freed)
        self.end_commit(commit)


def state_of(bits: Iterable[bytes], chunk_pages: int, pages: int) -> bytearray:
    """A byte a page, USED or FREE, of a map's pages."""
    digits = b"".join(format(int.from_bytes(chunk, "big"), f"0{chunk_pages}b").encode() for chunk in bits)
    return bytearray(digits[:pages].translate(_FROM_DIGITS))


def decode_index(head: Head, data: bytes, chunk_pages: int, pages: int) -> list[tuple[int, int]]:
    """Page and checksum of each page of the map. Raises PageInvalid."""
    if head.kind != MAP_INDEX or head.body_bytes != head.count * _CHUNK.size:
        raise PageInvalid("it is no index of a map")
    if head.count != -(-pages // chunk_pages):
        raise PageInvalid(f"it counts {head.count} pages of the map, which do not fit {pages} pages of the file")
    return list(_CHUNK.iter_unpack(data[HEAD_BYTES : HEAD_BYTES + head.body_bytes]))


def decode_bits(head: Head, data: bytes, chunk: int, chunk_pages: int) -> bytes:
    """The bits of one page of the map. Raises PageInvalid."""
    if head.kind != MAP or head.count != chunk or head.body_bytes * 8 != chunk_pages:
        raise PageInvalid(f"it is not page {chunk} of the map")
    return data[HEAD_BYTES : HEAD_BYTES + head.body_bytes]
