"""The B+tree against a sorted dict, its invariants after every step, and clones that must not see each other."""

from collections.abc import Iterator

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from structures import btree as module
from structures.btree import NODE_KEYS_MAX, BTree, _Branch, _Leaf

KEYS = st.integers(0, 3000).map(lambda number: b"%04d" % number)


def check_node(node: _Leaf[bytes, int] | _Branch[bytes, int], low: bytes | None, high: bytes | None) -> tuple[int, int]:
    """Returns (size, height) after checking order, bounds and counts."""
    assert node.keys == sorted(set(node.keys))
    assert len(node.keys) <= NODE_KEYS_MAX
    for key in node.keys:
        assert low is None or key >= low
        assert high is None or key < high
    if isinstance(node, _Leaf):
        assert len(node.keys) == len(node.values)
        return len(node.keys), 1
    assert len(node.children) == len(node.keys) + 1
    bounds = [low, *node.keys, high]
    results = [check_node(child, bounds[i], bounds[i + 1]) for i, child in enumerate(node.children)]
    assert node.size == sum(size for size, _ in results)
    heights = {height for _, height in results}
    assert len(heights) == 1
    return node.size, heights.pop() + 1


class TreeAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree: BTree[bytes, int] = BTree()
        self.model: dict[bytes, int] = {}
        self.clones: list[tuple[BTree[bytes, int], dict[bytes, int]]] = []

    @initialize(size=st.integers(0, 2000), stride=st.sampled_from([1, 7, 1999]))
    def fill(self, size: int, stride: int) -> None:
        for number in range(size):
            key = b"%04d" % (number * stride % 3001)
            self.tree.set(key, number)
            self.model[key] = number

    @rule(key=KEYS, value=st.integers())
    def put(self, key: bytes, value: int) -> None:
        self.tree.set(key, value)
        self.model[key] = value

    @rule(key=KEYS)
    def remove(self, key: bytes) -> None:
        assert self.tree.delete(key) == self.model.pop(key, None)

    @rule(low=KEYS, high=KEYS)
    def remove_range(self, low: bytes, high: bytes) -> None:
        doomed = [key for key, _ in self.tree.items(low, high)]
        assert doomed == sorted(key for key in self.model if low <= key < high)
        for key in doomed:
            assert self.tree.delete(key) == self.model.pop(key)

    @rule(key=KEYS)
    def look(self, key: bytes) -> None:
        assert self.tree.get(key) == self.model.get(key)
        assert (key in self.tree) == (key in self.model)
        assert self.tree.rank(key) == sum(other < key for other in self.model)

    @rule(low=st.none() | KEYS, high=st.none() | KEYS, reverse=st.booleans())
    def scan(self, low: bytes | None, high: bytes | None, reverse: bool) -> None:
        expected = sorted(
            (
                item
                for item in self.model.items()
                if (low is None or item[0] >= low) and (high is None or item[0] < high)
            ),
            reverse=reverse,
        )
        assert list(self.tree.items(low, high, reverse=reverse)) == expected
        assert self.tree.count(low, high) == len(expected)

    @rule(swap=st.booleans())
    def clone(self, swap: bool) -> None:
        twin = self.tree.clone()
        if swap:
            self.tree, twin = twin, self.tree
        self.clones = [*self.clones[-2:], (twin, self.model.copy())]

    @invariant()
    def holds(self) -> None:
        size, _ = check_node(self.tree._root, None, None)
        assert size == len(self.tree) == len(self.model)

    def teardown(self) -> None:
        for tree, model in [*self.clones, (self.tree, self.model)]:
            assert list(tree.items()) == sorted(model.items())


TestTreeAgainstModel = TreeAgainstModel.TestCase
TestTreeAgainstModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def leaves(node: _Leaf[bytes, int] | _Branch[bytes, int]) -> Iterator[_Leaf[bytes, int]]:
    if isinstance(node, _Leaf):
        yield node
    else:
        for child in node.children:
            yield from leaves(child)


def test_ascending_keys_fill_the_leaves() -> None:
    tree: BTree[bytes, int] = BTree()
    for number in range(10_000):
        tree.set(b"%08d" % number, number)
    count = sum(1 for _ in leaves(tree._root))
    assert count <= 10_000 / module.NODE_KEYS_MAX * 1.05 + 1


def test_a_clone_that_is_iterated_does_not_see_later_writes() -> None:
    tree: BTree[bytes, int] = BTree()
    for number in range(500):
        tree.set(b"%04d" % number, number)
    iterator = tree.clone().items()
    seen = [next(iterator)[1] for _ in range(100)]
    for number in range(500):
        tree.delete(b"%04d" % number)
        tree.set(b"x%04d" % number, -1)
    seen.extend(value for _, value in iterator)
    assert seen == list(range(500))
