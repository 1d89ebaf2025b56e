"""A consistent hash ring: each key belongs to a node, and few keys move when nodes come and go.

Theory of operation: every node has many points on a circle of 64 bits, and a key belongs to the node whose point is the
first at or after the key's hash (Karger et al., "Consistent Hashing and Random Trees", STOC 1997). The points of a
node depend on its name alone, and a node with fewer points has the first of those that it would have with more. So a
node that comes takes keys from the others and moves none between them; one that goes gives its keys to the others, and
theirs stay; and a node whose count of points changes gains or loses keys as points appear or vanish.

With p points a node, the load of a node strays from its share by about 1 / sqrt(p): with 160 points and 100 nodes of
equal weight the fullest node has about 1.2 times its share. Whoever needs a hard bound looks for the first node with
room: `first` with a bound on the load of each node is consistent hashing with bounded loads (Mirrokni, Thorup and
Zadimoghaddam, SODA 2018), where a bound of c times the mean moves O(1 / (c - 1)^2) keys for each node that comes.

`walk` gives all nodes in the order in which they take over from each other: replicas of a key are a choice of its
first ones.

Where a key and a node fall is kept by whoever stores by it: it never changes. place and remove O(points of the ring)
for each point of the node, all of it moving memory; lookup O(log points); memory 16 bytes a point.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import repeat

POINTS = 160
"""A good number of points for a node of usual weight: loads stray by about 8 %."""
POINTS_MAX = 1 << 16
"""For one node."""
INSERTED_SHARE_MIN = 8
"""Up to an eighth of the ring's points are inserted one by one, which moves memory; more are sorted in."""
_BLOCK_POINTS = 8
_BLOCK_BYTES = 64
_HASH_BYTES = 8
_block = struct.Struct("<8Q")


def ring_hash(key: bytes) -> int:
    """Where a key falls: 64 bits of BLAKE2b, the same in every process and for ever."""
    return int.from_bytes(blake2b(key, digest_size=_HASH_BYTES).digest(), "little")


def points_of(node: str, count: int) -> list[int]:
    """The first `count` points of a node, unsorted; those of a smaller count are the first of a larger one's."""
    name = node.encode()
    points: list[int] = []
    for number in range(-(-count // _BLOCK_POINTS)):
        salt = number.to_bytes(4, "little")
        points.extend(_block.unpack(blake2b(name, digest_size=_BLOCK_BYTES, salt=salt).digest()))
    del points[count:]
    return points


class HashRing:
    """Nodes are named by strings. A node's share of the keys is its share of the points."""

    __slots__ = ("_counts", "_owners", "_positions")

    def __init__(self, points: Mapping[str, int] | None = None) -> None:
        """A ring of nodes with their counts of points. Raises ValueError for a count out of 1..POINTS_MAX."""
        self._counts: dict[str, int] = {}
        self._positions = array("Q")
        self._owners: list[str] = []
        if points:
            for count in points.values():
                _check(count)
            self._counts.update(points)
            self._merge([pair for node, count in points.items() for pair in zip(points_of(node, count), repeat(node))])

    def __len__(self) -> int:
        """How many nodes."""
        return len(self._counts)

    def __contains__(self, node: str) -> bool:
        return node in self._counts

    @property
    def nodes(self) -> Mapping[str, int]:
        """Counts of points by node."""
        return self._counts

    def place(self, node: str, count: int) -> None:
        """Adds a node, or changes its count of points. Raises ValueError for a count out of 1..POINTS_MAX."""
        _check(count)
        before = self._counts.get(node, 0)
        if count == before:
            return
        if count < before:
            self._drop(node, points_of(node, before)[count:])
        else:
            self._merge(list(zip(points_of(node, count)[before:], repeat(node))))
        self._counts[node] = count

    def remove(self, node: str) -> None:
        """Takes a node away. Raises KeyError when it is not there."""
        self._drop(node, points_of(node, self._counts.pop(node)))

    def lookup(self, key: int) -> str:
        """The node of a key, given as its hash of 64 bits. Raises LookupError when the ring is empty. O(log points)."""
        owners = self._owners
        if not owners:
            raise LookupError("the ring has no nodes")
        at = bisect_left(self._positions, key)
        return owners[at] if at < len(owners) else owners[0]

    def walk(self, key: int) -> Iterator[str]:
        """All nodes, each once, in the order in which their points follow the key. The ring must stay meanwhile."""
        owners = self._owners
        points = len(owners)
        start = bisect_left(self._positions, key)
        nodes = len(self._counts)
        seen: set[str] = set()
        for offset in range(points):
            owner = owners[(start + offset) % points]
            if owner not in seen:
                yield owner
                seen.add(owner)
                if len(seen) == nodes:
                    return

    def first(self, key: int, accepts: Callable[[str], bool]) -> str | None:
        """The first node of `walk` that is accepted: one that is up, one that has room. None when none is.

        `accepts` is asked once for each node.
        """
        for node in self.walk(key):
            if accepts(node):
                return node
        return None

    def _merge(self, fresh: list[tuple[int, str]]) -> None:
        # Equal points are ordered by name, so that the ring does not depend on the order in which nodes came.
        positions, owners = self._positions, self._owners
        if len(fresh) * INSERTED_SHARE_MIN < len(owners):
            for position, node in fresh:
                at = bisect_left(positions, position)
                while at < len(owners) and positions[at] == position and owners[at] < node:
                    at += 1
                positions.insert(at, position)
                owners.insert(at, node)
            return
        merged = [*zip(positions, owners, strict=True), *fresh]
        merged.sort()
        self._positions = array("Q", [position for position, _ in merged])
        self._owners = [owner for _, owner in merged]

    def _drop(self, node: str, gone: Iterable[int]) -> None:
        positions, owners = self._positions, self._owners
        for position in gone:
            at = bisect_left(positions, position)
            while owners[at] != node:
                at += 1
            del positions[at]
            del owners[at]


def _check(count: int) -> None:
    if not 1 <= count <= POINTS_MAX:
        raise ValueError(f"a node has 1..{POINTS_MAX} points, not {count}")
