"""The tree's nodes as they stand in memory, and the references that their parents hold.

A child is a page number when its page is on the disk, or the node itself while it is not written yet. Who follows a
reference takes either. A node may be changed only by the tree whose generation it carries; everybody else copies it.
"""

from dataclasses import dataclass
from typing import TypeAlias, final

COUNT_BITS = 31
COUNT_MASK = (1 << COUNT_BITS) - 1
LARGE_BIT = 1 << COUNT_BITS

LARGE_REFERENCE_BYTES = 16
"""What a leaf holds of a value that stands in pages of its own."""
LEAF_ENTRY_OVERHEAD_BYTES = 4
"""The two lengths of an entry in a leaf's page."""
BRANCH_CHILD_BYTES = 16
"""The page and the seal of a child in a branch's page."""
BRANCH_KEY_OVERHEAD_BYTES = 2
"""The length of a separator in a branch's page."""
ENTRY_MEMORY_BYTES = 90
"""Of an entry in a decoded node, beyond its bytes: two objects' heads and two pointers."""


@final
class Large:
    """A value too large for a leaf: it stands in a run of pages of its own once it is written."""

    __slots__ = ("checksum", "length", "page", "value")

    def __init__(self, value: bytes | None, length: int, page: int | None = None, checksum: int = 0) -> None:
        self.value = value
        """The bytes while they are not on the disk."""
        self.length = length
        self.page = page
        """The first page of the run, once there is one."""
        self.checksum = checksum


Value: TypeAlias = bytes | Large


@final
class Leaf:
    """Sorted keys and their values."""

    __slots__ = ("generation", "keys", "large", "page", "seal", "size", "values")

    def __init__(self, generation: int, keys: list[bytes], values: list[Value], size: int, large: bool) -> None:
        self.generation = generation
        self.keys = keys
        self.values = values
        self.size = size
        """Bytes of the encoded body."""
        self.large = large
        """Whether there may be a Large among the values."""
        self.page: int | None = None
        self.seal = 0

    def copy(self, generation: int) -> "Leaf":
        """One that `generation` may change."""
        return Leaf(generation, self.keys.copy(), self.values.copy(), self.size, self.large)


@final
class Branch:
    """Separators, one fewer than children: child i holds the keys k with keys[i - 1] <= k < keys[i]."""

    __slots__ = ("children", "generation", "keys", "level", "page", "seal", "seals", "size")

    def __init__(
        self, generation: int, level: int, keys: list[bytes], children: "list[Reference]", seals: list[int], size: int
    ) -> None:
        self.generation = generation
        self.level = level
        """Above the leaves: 1 when the children are leaves."""
        self.keys = keys
        self.children = children
        self.seals = seals
        """For each child that is a page number: what `Seal` says. Of no meaning for the others."""
        self.size = size
        """Bytes of the encoded body."""
        self.page: int | None = None
        self.seal = 0

    def copy(self, generation: int) -> "Branch":
        """One that `generation` may change."""
        return Branch(
            generation, self.level, self.keys.copy(), self.children.copy(), self.seals.copy(), self.size
        )  # fmt: skip


Node: TypeAlias = Leaf | Branch
Reference: TypeAlias = int | Leaf | Branch


@dataclass(frozen=True, slots=True)
class Seal:
    """What a parent knows of a child's page, packed into 64 bits: a page that is old or not its own never fits."""

    checksum: int
    large: bool
    """Whether a leaf beneath may hold values in pages of their own."""
    count: int
    """Entries beneath."""

    def pack(self) -> int:
        """The 64 bits."""
        return self.checksum << 32 | (LARGE_BIT if self.large else 0) | self.count

    @staticmethod
    def unpack(seal: int) -> "Seal":
        """Of the 64 bits."""
        return Seal(seal >> 32, bool(seal & LARGE_BIT), seal & COUNT_MASK)


def stored_bytes(value: Value) -> int:
    """What a value takes in a leaf's page."""
    return len(value) if type(value) is bytes else LARGE_REFERENCE_BYTES


def memory_bytes(node: Node) -> int:
    """What a decoded node takes, about."""
    return node.size + ENTRY_MEMORY_BYTES * (len(node.keys) + 4)
