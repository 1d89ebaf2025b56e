"""The ring against its own definition, and the three promises: few keys move, loads are even, bounds hold."""

import random
from collections import Counter
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structures.hash_ring import POINTS, HashRing, points_of, ring_hash

NAMES = st.text(min_size=1, max_size=8)
RINGS = st.dictionaries(NAMES, st.integers(1, 24), min_size=1, max_size=12)
KEYS = st.integers(0, 2**64 - 1)
SAMPLE = [ring_hash(b"%d" % number) for number in range(2_000)]


def by_definition(points: dict[str, int], key: int) -> list[str]:
    """All points in order, from the key on and around."""
    pairs = sorted((point, node) for node, count in points.items() for point in points_of(node, count))
    around = [*((p, n) for p, n in pairs if p >= key), *((p, n) for p, n in pairs if p < key)]
    return list(dict.fromkeys(node for _, node in around))


@given(RINGS, KEYS)
def test_lookup_and_walk_are_the_definition(points: dict[str, int], key: int) -> None:
    ring = HashRing(points)
    order = by_definition(points, key)
    assert ring.lookup(key) == order[0]
    assert list(ring.walk(key)) == order
    assert ring.first(key, lambda node: node == order[-1]) == order[-1]
    assert ring.first(key, lambda node: False) is None


@given(RINGS, st.lists(st.tuples(NAMES, st.integers(0, 24)), max_size=12), st.lists(KEYS, max_size=20))
@settings(deadline=None)
def test_a_ring_depends_on_its_nodes_and_not_on_how_they_came(
    points: dict[str, int], changes: list[tuple[str, int]], keys: list[int]
) -> None:
    ring = HashRing(points)
    for node, count in changes:
        if count:
            ring.place(node, count)
            points[node] = count
        elif node in points:
            ring.remove(node)
            del points[node]
    assert dict(ring.nodes) == points
    assert len(ring) == len(points)
    fresh = HashRing(dict(reversed(points.items())))
    for key in keys:
        assert list(ring.walk(key)) == list(fresh.walk(key))


@given(RINGS, NAMES, st.integers(1, 24))
@settings(max_examples=40, deadline=None)
def test_a_node_that_comes_takes_keys_and_moves_none_between_others(
    points: dict[str, int], node: str, count: int
) -> None:
    points.pop(node, None)
    if not points:
        return
    ring = HashRing(points)
    before = [ring.lookup(key) for key in SAMPLE]
    ring.place(node, count)
    after = [ring.lookup(key) for key in SAMPLE]
    assert all(new in (old, node) for old, new in zip(before, after, strict=True))
    ring.remove(node)
    assert [ring.lookup(key) for key in SAMPLE] == before


@given(RINGS, st.integers(1, 24))
@settings(max_examples=40, deadline=None)
def test_more_points_only_take_and_fewer_only_give(points: dict[str, int], count: int) -> None:
    node = min(points)
    ring = HashRing(points)
    before = [ring.lookup(key) for key in SAMPLE]
    ring.place(node, count)
    for old, new in zip(before, [ring.lookup(key) for key in SAMPLE], strict=True):
        if old != new:
            assert (new if count > points[node] else old) == node


def test_a_hundredth_node_takes_about_a_hundredth() -> None:
    ring = HashRing({f"node-{number}": POINTS for number in range(99)})
    keys = [ring_hash(b"%d" % number) for number in range(20_000)]
    before = [ring.lookup(key) for key in keys]
    ring.place("node-99", POINTS)
    moved = sum(ring.lookup(key) != old for key, old in zip(keys, before, strict=True))
    assert 0.007 < moved / len(keys) < 0.013


@pytest.mark.parametrize(("nodes", "fullest_max"), [(3, 1.2), (10, 1.25), (100, 1.35)])
def test_loads_are_even(nodes: int, fullest_max: float) -> None:
    ring = HashRing({f"10.0.0.{number}:2379": POINTS for number in range(nodes)})
    keys = 40_000
    loads = Counter(ring.lookup(ring_hash(b"key-%d" % number)) for number in range(keys))
    assert max(loads.values()) * nodes / keys < fullest_max
    assert min(loads.values()) * nodes / keys > 0.7


def test_a_share_follows_the_points() -> None:
    ring = HashRing({"light": POINTS, "heavy": 3 * POINTS})
    loads = Counter(ring.lookup(ring_hash(b"%d" % number)) for number in range(20_000))
    assert loads["heavy"] / loads["light"] == pytest.approx(3.0, rel=0.25)


def test_bounded_loads_hold_and_move_little() -> None:
    """With a bound of 1.25 times the mean no node is fuller, and most keys are still at their own node."""
    ring = HashRing({f"node-{number}": POINTS for number in range(50)})
    keys = 5_000
    bound = ceil(1.25 * keys / 50)
    loads: Counter[str] = Counter()
    at_home = 0
    for number in range(keys):
        key = ring_hash(b"%d" % number)
        node = ring.first(key, lambda name: loads[name] < bound)
        assert node is not None
        loads[node] += 1
        at_home += node == ring.lookup(key)
    assert max(loads.values()) <= bound
    assert at_home / keys > 0.95


def test_where_things_fall_never_changes() -> None:
    assert ring_hash(b"orrery") == 771876166668503826
    assert points_of("node-1", 9)[::8] == [7493886176523004551, 10088130391361097238]
    assert points_of("node-1", 3) == points_of("node-1", 100)[:3]


def test_refusals() -> None:
    ring = HashRing()
    with pytest.raises(LookupError):
        ring.lookup(1)
    assert list(ring.walk(1)) == []
    for count in (0, -1, 1 << 17):
        with pytest.raises(ValueError, match="points"):
            ring.place("a", count)
        with pytest.raises(ValueError, match="points"):
            HashRing({"a": count})
    with pytest.raises(KeyError):
        ring.remove("a")
    assert "a" not in ring


def test_hashes_are_uniform() -> None:
    source = random.Random(1)
    octants = Counter(ring_hash(source.randbytes(12)) >> 61 for _ in range(16_000))
    assert all(1_800 < octants[octant] < 2_200 for octant in range(8))
