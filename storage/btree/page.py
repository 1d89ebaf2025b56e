"""The format of a page. docs/decisions/0014-copy-on-write-b-tree.md says why.

All integers are little-endian. The checksum, CRC32C, is of everything behind it to the end of the page (for a large
value: of its run of pages), so it covers the page's own number and the bytes that are not used.

    head (32):   checksum u32, kind u8, level u8, zero u16, count u32, body length u32, page u64, commit u64
    leaf:        key lengths u16 each, value lengths u16 each, keys, values;
                 a value length of 0xffff stands for a reference: page u64, length u32, checksum u32
    branch:      separator lengths u16 each, children's pages u64 each, children's seals u64 each, separators
    large value: the value, over as many pages as it needs
    map:         a bit a page, the first page in the highest bit of the first byte; 1 is free
    map index:   page u64 each, checksum u32 each

Decoders take any bytes: what does not fit raises PageInvalid, and never anything else.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import google_crc32c

from storage.btree.nodes import (
    BRANCH_CHILD_BYTES,
    BRANCH_KEY_OVERHEAD_BYTES,
    COUNT_MASK,
    LARGE_BIT,
    LEAF_ENTRY_OVERHEAD_BYTES,
    Branch,
    Large,
    Leaf,
    Value,
    stored_bytes,
)

HEAD_BYTES = 32
LEVEL_MAX = 32
"""Far above what any file can need: a branch has at least two children."""
PAGE_BYTES_CHOICES = (4096, 8192, 16384, 32768)
VALUE_BYTES_MAX = 1 << 30

LEAF, BRANCH, LARGE, MAP, MAP_INDEX = 1, 2, 3, 4, 5
KIND_NAMES = {LEAF: "leaf", BRANCH: "branch", LARGE: "large value", MAP: "map of pages", MAP_INDEX: "index of the map"}

_CHECKSUM = struct.Struct("<I")
_REST = struct.Struct("<BBHIIQQ")
_REFERENCE = struct.Struct("<QII")
_LARGE_MARK = 0xFFFF
_FORMATS_MAX = 512


class PageInvalid(ValueError):
    """The bytes are not that page. Its text is the reason."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before a page's body."""

    kind: int
    level: int
    count: int
    body_bytes: int
    page: int
    commit: int
    checksum: int


def entry_bytes_max(page_bytes: int) -> int:
    """The largest entry of a leaf: three fit, so that a leaf which overflows by one can be cut in two."""
    return (page_bytes - HEAD_BYTES) // 3


def key_bytes_max(page_bytes: int) -> int:
    """The longest key that a file with such pages takes."""
    return page_bytes // 4


def run_pages(length: int, page_bytes: int) -> int:
    """How many pages a large value of `length` bytes takes."""
    return -(-(HEAD_BYTES + length) // page_bytes)


def encode(
    kind: int, level: int, count: int, page: int, commit: int, body: bytes, page_bytes: int
) -> tuple[bytes, int]:
    """A page, or for a body that is longer a run of pages, and its checksum."""
    rest = _REST.pack(kind, level, 0, count, len(body), page, commit)
    covered = b"".join((rest, body, bytes(-(HEAD_BYTES + len(body)) % page_bytes)))
    checksum: int = google_crc32c.value(covered)
    return _CHECKSUM.pack(checksum) + covered, checksum


def decode_head(data: bytes, page: int, page_bytes: int) -> Head:
    """Checks that `data` is the whole page (or run) of that number. Raises PageInvalid."""
    if len(data) < page_bytes:
        raise PageInvalid("the file ends within it")
    (checksum,) = _CHECKSUM.unpack_from(data)
    if google_crc32c.value(data[_CHECKSUM.size :]) != checksum:
        raise PageInvalid("its checksum is wrong")
    kind, level, zero, count, body_bytes, own, commit = _REST.unpack_from(data, _CHECKSUM.size)
    if own != page:
        raise PageInvalid(f"it is page {own}, misplaced")
    if kind not in KIND_NAMES or zero or level > LEVEL_MAX or body_bytes > len(data) - HEAD_BYTES:
        raise PageInvalid("its head makes no sense")
    return Head(kind, level, count, body_bytes, own, commit, checksum)


def encode_leaf(leaf: Leaf, page: int, commit: int, page_bytes: int) -> tuple[bytes, int]:
    """The page and the seal. Every Large must have its pages."""
    keys, values = leaf.keys, leaf.values
    large = False
    stored: Sequence[bytes]
    if leaf.large:
        stored = [value if type(value) is bytes else _reference(value) for value in values]
        lengths = [len(value) if type(value) is bytes else _LARGE_MARK for value in values]
        large = _LARGE_MARK in lengths
        packed = struct.pack(f"<{2 * len(keys)}H", *map(len, keys), *lengths)
    else:
        stored = values  # type: ignore[assignment]  # without the mark there are bytes only
        packed = struct.pack(f"<{2 * len(keys)}H", *map(len, keys), *map(len, stored))
    body = b"".join((packed, *keys, *stored))
    data, checksum = encode(LEAF, 0, len(keys), page, commit, body, page_bytes)
    return data, checksum << 32 | (LARGE_BIT if large else 0) | len(keys)


def _reference(value: Value) -> bytes:
    assert type(value) is Large
    assert value.page is not None, "a large value gets its pages before its leaf"
    return _REFERENCE.pack(value.page, value.length, value.checksum)


def decode_leaf(head: Head, data: bytes) -> Leaf:
    """Of a page whose head was decoded. Raises PageInvalid."""
    count, end = head.count, HEAD_BYTES + head.body_bytes
    if head.kind != LEAF or head.level:
        raise PageInvalid(f"it is a {KIND_NAMES[head.kind]}, not a leaf")
    start = HEAD_BYTES + LEAF_ENTRY_OVERHEAD_BYTES * count
    if start > end:
        raise PageInvalid("its count makes no sense")
    lengths = struct.unpack_from(f"<{2 * count}H", data, HEAD_BYTES)
    key_lengths, value_lengths = lengths[:count], lengths[count:]
    large = _LARGE_MARK in value_lengths
    if large:
        value_lengths = tuple(_REFERENCE.size if length == _LARGE_MARK else length for length in value_lengths)
    middle = start + sum(key_lengths)
    if middle + sum(value_lengths) != end:
        raise PageInvalid("its lengths do not add up")
    keys = _cut(data, start, key_lengths)
    values: list[Value] = list(_cut(data, middle, value_lengths))
    if large:
        for position, length in enumerate(lengths[count:]):
            if length == _LARGE_MARK:
                values[position] = _large(values[position])
    leaf = Leaf(-1, keys, values, head.body_bytes, large)
    leaf.page = head.page
    leaf.seal = head.checksum << 32 | (LARGE_BIT if large else 0) | count
    return leaf


def _large(reference: Value) -> Large:
    assert type(reference) is bytes
    page, length, checksum = _REFERENCE.unpack(reference)
    if length > VALUE_BYTES_MAX:
        raise PageInvalid("a large value is longer than any can be")
    return Large(None, length, page, checksum)


def encode_branch(branch: Branch, page: int, commit: int, page_bytes: int) -> tuple[bytes, int]:
    """The page and the seal. Every child must be a page number."""
    keys, children, seals = branch.keys, branch.children, branch.seals
    count = len(children)
    packed = struct.pack(f"<{count - 1}H{2 * count}Q", *map(len, keys), *children, *seals)
    data, checksum = encode(BRANCH, branch.level, count, page, commit, packed + b"".join(keys), page_bytes)
    entries = sum(seal & COUNT_MASK for seal in seals)
    if entries > COUNT_MASK:
        raise OverflowError(f"more than {COUNT_MASK} entries")
    large = any(seal & LARGE_BIT for seal in seals)
    return data, checksum << 32 | (LARGE_BIT if large else 0) | entries


def decode_branch(head: Head, data: bytes) -> Branch:
    """Of a page whose head was decoded. Raises PageInvalid."""
    count, end = head.count, HEAD_BYTES + head.body_bytes
    if head.kind != BRANCH or not head.level:
        raise PageInvalid(f"it is a {KIND_NAMES[head.kind]}, not a branch")
    start = HEAD_BYTES + BRANCH_KEY_OVERHEAD_BYTES * (count - 1) + BRANCH_CHILD_BYTES * count
    if not count or start > end:
        raise PageInvalid("its count makes no sense")
    numbers = struct.unpack_from(f"<{count - 1}H{2 * count}Q", data, HEAD_BYTES)
    lengths = numbers[: count - 1]
    if start + sum(lengths) != end:
        raise PageInvalid("its lengths do not add up")
    children = list(numbers[count - 1 : 2 * count - 1])
    seals = list(numbers[2 * count - 1 :])
    branch = Branch(-1, head.level, _cut(data, start, lengths), children, seals, head.body_bytes)
    branch.page = head.page
    large = any(seal & LARGE_BIT for seal in seals)
    entries = sum(seal & COUNT_MASK for seal in seals) & COUNT_MASK
    branch.seal = head.checksum << 32 | (LARGE_BIT if large else 0) | entries
    return branch


def decode_value(head: Head, data: bytes, length: int) -> bytes:
    """Of the run of pages of a large value. Raises PageInvalid."""
    if head.kind != LARGE or head.body_bytes != length:
        raise PageInvalid(f"it is a {KIND_NAMES[head.kind]} of {head.body_bytes} bytes, not a value of {length}")
    return data[HEAD_BYTES : HEAD_BYTES + length]


def renumber(data: bytes, page: int, commit: int) -> tuple[bytes, int]:
    """The same page under another number, for a copy, and its checksum."""
    kind, level, zero, count, body_bytes, _own, _commit = _REST.unpack_from(data, _CHECKSUM.size)
    covered = _REST.pack(kind, level, zero, count, body_bytes, page, commit) + data[HEAD_BYTES:]
    checksum: int = google_crc32c.value(covered)
    return _CHECKSUM.pack(checksum) + covered, checksum


def _cut(data: bytes, start: int, lengths: Sequence[int]) -> list[bytes]:
    """Cuts `data` from `start` on into pieces of these lengths."""
    if not lengths:
        return []
    first = lengths[0]
    if first and lengths.count(first) == len(lengths):
        # Keys and values of one length are so common, and struct cuts them so much faster, that they get their way.
        return list(_cutter(first, len(lengths)).unpack_from(data, start))
    return [data[low:high] for low, high in pairwise(accumulate(lengths, initial=start))]


@lru_cache(_FORMATS_MAX)
def _cutter(length: int, count: int) -> struct.Struct:
    return struct.Struct(f"{length}s" * count)


def leaf_size(keys: list[bytes], values: list[Value], *, large: bool = True) -> int:
    """Bytes of a leaf's body. Faster when it is known that there is no Large among the values."""
    lengths = map(stored_bytes, values) if large else map(len, values)  # type: ignore[arg-type]  # bytes only
    return sum(map(len, keys)) + sum(lengths) + LEAF_ENTRY_OVERHEAD_BYTES * len(keys)


def branch_size(keys: list[bytes], children: int) -> int:
    """Bytes of a branch's body."""
    return sum(map(len, keys)) + BRANCH_KEY_OVERHEAD_BYTES * len(keys) + BRANCH_CHILD_BYTES * children
