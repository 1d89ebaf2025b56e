"""The tree as writers see it: changes in memory, on copies of what is on the disk or what somebody else reads.

Theory of operation: the tree has a generation. A node that carries it belongs to the writer alone and is changed where
it is; any other is copied first, and its parent with it, up to the root (Rodeh, "B-trees, Shadowing, and Clones", ACM
TOS 2008). To freeze the tree, for a snapshot, a commit, or to be able to go back when a batch fails, is to count the
generation up: O(1), and each node that is written afterwards is copied once. What a copy replaces is noted, for the
commit that follows frees its page.

Every change finds all it needs on the disk before it changes anything, so an unreadable page leaves the tree as it was.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from storage.btree.nodes import (
    BRANCH_CHILD_BYTES,
    BRANCH_KEY_OVERHEAD_BYTES,
    LARGE_BIT,
    LARGE_REFERENCE_BYTES,
    LEAF_ENTRY_OVERHEAD_BYTES,
    Branch,
    Large,
    Leaf,
    Node,
    Reference,
    Value,
    stored_bytes,
)
from storage.btree.page import (
    HEAD_BYTES,
    VALUE_BYTES_MAX,
    branch_size,
    entry_bytes_max,
    key_bytes_max,
    leaf_size,
)
from storage.btree.pages import PageFile

NODE_MEMORY_FACTOR = 2
"""What a changed node takes in memory, in pages: about, for entries of a hundred bytes."""

Path = list[tuple[Branch, int]]


class Tree:
    """Root and generation, and all that changes them."""

    __slots__ = (
        "_capacity",
        "_entry_bytes_max",
        "_key_bytes_max",
        "_small",
        "changed_nodes",
        "commit_generation",
        "failure",
        "generation",
        "large_bytes",
        "pages",
        "replaced",
        "root",
    )

    def __init__(self, pages: PageFile, root: Node) -> None:
        self.pages = pages
        self.root = root
        self.generation = 0
        self.commit_generation = 0
        """Nodes of a generation before this one belong to a commit that has begun, or has ended."""
        self.replaced: list[int | Node | Large] = []
        """What the tree does without since the last commit began: a page, or what may have one by the next commit."""
        self.changed_nodes = 0
        """Nodes that the next commit has to write, about."""
        self.large_bytes = 0
        """Bytes of large values that the next commit has to write, about."""
        self.failure: OSError | None = None
        """Why nothing can be written any more."""
        self._capacity = pages.page_bytes - HEAD_BYTES
        self._entry_bytes_max = entry_bytes_max(pages.page_bytes)
        self._key_bytes_max = key_bytes_max(pages.page_bytes)
        self._small = self._capacity // 4

    @property
    def changed_bytes(self) -> int:
        """What the next commit has to write takes in memory, about."""
        return self.changed_nodes * NODE_MEMORY_FACTOR * self.pages.page_bytes + self.large_bytes

    def freeze(self) -> Node:
        """The root, of a tree that nobody changes any more."""
        self.generation += 1
        return self.root

    def begin_commit(self) -> tuple[Node, list[int | Node | Large]]:
        """Freezes. The root to be written, and what it replaces."""
        root = self.freeze()
        replaced, self.replaced = self.replaced, []
        self.commit_generation = self.generation
        self.changed_nodes = self.large_bytes = 0
        return root, replaced

    def checkpoint(self) -> tuple[Node, int, int, int]:
        """Freezes. What `go_back` needs."""
        return self.freeze(), len(self.replaced), self.changed_nodes, self.large_bytes

    def go_back(self, checkpoint: tuple[Node, int, int, int]) -> None:
        """To the state of that call, when no commit has begun since."""
        self.root, replaced, self.changed_nodes, self.large_bytes = checkpoint
        del self.replaced[replaced:]
        self.generation += 1

    def put(self, key: bytes, value: bytes) -> None:
        """Sets the value of `key`. O(log n). Raises ValueError when the key is too long, and Corruption."""
        if self.failure is not None:
            raise self.failure
        grown = len(key) + len(value) + LEAF_ENTRY_OVERHEAD_BYTES
        stored: Value = value
        if grown > self._entry_bytes_max or len(key) > self._key_bytes_max:
            stored = self._large(key, value)
            grown = len(key) + stored_bytes(stored) + LEAF_ENTRY_OVERHEAD_BYTES
        generation = self.generation
        node = self.root
        if node.generation != generation:
            node = self.root = self._own(node)
        path: Path = []
        while type(node) is Branch:
            index = bisect_right(node.keys, key)
            child = node.children[index]
            if isinstance(child, int):
                child = self.pages.young.get(child) or self.pages.fetch(child, node.seals[index])
            if child.generation != generation:
                child = node.children[index] = self._own(child)
            path.append((node, index))
            node = child
        assert type(node) is Leaf
        if stored is not value:
            node.large = True
        keys = node.keys
        position = bisect_left(keys, key)
        if position < len(keys) and keys[position] == key:
            before = node.values[position]
            node.size += grown - len(key) - LEAF_ENTRY_OVERHEAD_BYTES
            if type(before) is bytes:
                node.size -= len(before)
            else:
                node.size -= LARGE_REFERENCE_BYTES
                self._retire_value(before)
            node.values[position] = stored
        else:
            keys.insert(position, key)
            node.values.insert(position, stored)
            node.size += grown
        if node.size > self._capacity:
            self._split(node, path, appended=position == len(keys) - 1)

    def delete(self, key: bytes) -> None:
        """Removes `key` when it is there. O(log n). Raises Corruption."""
        if self.failure is not None:
            raise self.failure
        if not self._holds(key):
            return
        path: Path = []
        node = self._own_root()
        while type(node) is Branch:
            index = bisect_right(node.keys, key)
            path.append((node, index))
            node = self._own_child(node, index)
        assert type(node) is Leaf
        position = bisect_left(node.keys, key)
        value = node.values.pop(position)
        del node.keys[position]
        node.size -= len(key) + stored_bytes(value) + LEAF_ENTRY_OVERHEAD_BYTES
        self._retire_value(value)
        self._shrunk(node, path)

    def _shrunk(self, node: Node, path: Path) -> None:
        """Merges what has become small, upwards."""
        while path and node.size < self._small:
            branch, index = path.pop()
            self._rebalance(branch, index)
            node = branch
        self._lower()

    def delete_range(self, low: bytes, high: bytes) -> None:
        """Removes every key with low <= key < high. Whole subtrees go by reading their branches only.

        O(log n) beyond that. On Corruption half of it may be done: the caller goes back to a checkpoint.
        """
        if self.failure is not None:
            raise self.failure
        if not low < high:
            return
        if self._cut(self._own_root(), low, high, None, None):
            self._retire(self.root)
            self.root = Leaf(self.generation, [], [], 0, False)
            self.changed_nodes += 1
        self._lower()

    def _cut(self, node: Node, low: bytes, high: bytes, lowest: bytes | None, upper: bytes | None) -> bool:
        """Cuts a range out of an owned node whose keys are in lowest <= key < upper. True when nothing is left."""
        if type(node) is Leaf:
            start, end = bisect_left(node.keys, low), bisect_left(node.keys, high)
            for value in node.values[start:end]:
                self._retire_value(value)
            del node.keys[start:end], node.values[start:end]
            node.size = leaf_size(node.keys, node.values, large=node.large)
            return not node.keys
        assert type(node) is Branch
        first, last = bisect_right(node.keys, low), bisect_left(node.keys, high)
        # The children at both ends may keep a part; what is between them goes whole.
        gone: list[int] = []
        for index in range(first, last + 1):
            floor = node.keys[index - 1] if index else lowest
            ceiling = node.keys[index] if index < len(node.keys) else upper
            if floor is not None and low <= floor and ceiling is not None and ceiling <= high:
                self._drop(node.children[index], node.seals[index], node.level - 1)
                gone.append(index)
            elif self._cut(self._own_child(node, index), low, high, floor, ceiling):
                self._retire(self._own_child(node, index))
                gone.append(index)
        if gone:
            # They stand together. The separator before each goes along, or for the first child the one behind it.
            start, end = gone[0], gone[-1] + 1
            assert len(gone) == end - start
            del node.children[start:end], node.seals[start:end]
            if start:
                del node.keys[start - 1 : end - 1]
            else:
                del node.keys[start:end]
            node.size = branch_size(node.keys, len(node.children))
        if not node.children:
            return True
        # What is left of the two ends stands at `first` and behind it now. From the right, so that indices hold.
        for index in range(min(first + 1, len(node.children) - 1), max(first - 2, -1), -1):
            child = node.children[index]
            if not isinstance(child, int) and child.generation == self.generation and child.size < self._small:
                self._rebalance(node, index)
        return False

    def _drop(self, reference: Reference, seal: int, level: int) -> None:
        """Gives up a whole subtree. Leaves are read only when they may refer to large values."""
        if isinstance(reference, int) and level == 0 and not seal & LARGE_BIT:
            self.replaced.append(reference)
            return
        node = self.pages.node(reference, seal)
        if type(node) is Branch:
            for child, child_seal in zip(node.children, node.seals, strict=True):
                self._drop(child, child_seal, node.level - 1)
        else:
            assert type(node) is Leaf
            if node.large:
                for value in node.values:
                    self._retire_value(value)
        self._retire(node)

    def _holds(self, key: bytes) -> bool:
        node = self.root
        while type(node) is Branch:
            index = bisect_right(node.keys, key)
            node = self.pages.node(node.children[index], node.seals[index])
        position = bisect_left(node.keys, key)
        return position < len(node.keys) and node.keys[position] == key

    def _large(self, key: bytes, value: bytes) -> Value:
        if len(key) > self._key_bytes_max:
            raise ValueError(f"the key has {len(key)} bytes; this file takes up to {self._key_bytes_max}")
        if len(value) > VALUE_BYTES_MAX:
            raise ValueError(f"the value has {len(value)} bytes; {VALUE_BYTES_MAX} is the most")
        if len(value) <= LARGE_REFERENCE_BYTES:
            return value
        self.large_bytes += len(value)
        return Large(value, len(value))

    def _own_root(self) -> Node:
        if self.root.generation != self.generation:
            self.root = self._own(self.root)
        return self.root

    def _own_child(self, branch: Branch, index: int) -> Node:
        child = self.pages.node(branch.children[index], branch.seals[index])
        if child.generation != self.generation:
            child = branch.children[index] = self._own(child)
        return child

    def _own(self, node: Node) -> Node:
        """A copy that may be changed."""
        if node.generation < self.commit_generation:
            self.replaced.append(node if node.page is None else node.page)
            self.changed_nodes += 1
        return node.copy(self.generation)

    def _retire(self, node: Node) -> None:
        """The tree does without a node that it had."""
        if node.generation < self.commit_generation:
            self.replaced.append(node if node.page is None else node.page)
        else:
            self.changed_nodes -= 1

    def _retire_value(self, value: Value) -> None:
        if type(value) is Large:
            # It may have been there before the last commit, or be in the one that is under way.
            self.replaced.append(value)

    def _split(self, node: Node, path: Path, *, appended: bool) -> None:
        """Splits `node`, and its ancestors in `path` as far as they overflow."""
        generation = self.generation
        # Keys that come in ascending order would leave every node half empty if cut in the middle.
        at_right_edge = appended and all(index == len(branch.keys) for branch, index in path)
        right: Node
        while True:
            self.changed_nodes += 1
            keys = node.keys
            if type(node) is Branch:
                cut = len(keys) - 1 if at_right_edge else _middle(map(len, keys), node.size, 18)
                cut = max(1, min(cut, len(keys) - 2)) if len(keys) > 2 else 1
                separator = keys[cut]
                right = Branch(
                    generation, node.level, keys[cut + 1 :], node.children[cut + 1 :], node.seals[cut + 1 :], 0
                )
                del keys[cut:], node.children[cut + 1 :], node.seals[cut + 1 :]
                right.size = branch_size(right.keys, len(right.children))
                node.size = branch_size(keys, len(node.children))
            else:
                assert type(node) is Leaf
                cut = len(keys) - 1 if at_right_edge else len(keys) // 2
                moved = leaf_size(keys[cut:], node.values[cut:], large=node.large)
                if not node.size - self._capacity <= moved <= self._capacity:
                    # Entries of very different sizes: the middle of the entries is not that of the bytes.
                    sizes = (len(key) + stored_bytes(value) for key, value in zip(keys, node.values, strict=True))
                    cut = _middle(sizes, node.size, LEAF_ENTRY_OVERHEAD_BYTES)
                    moved = leaf_size(keys[cut:], node.values[cut:], large=node.large)
                separator = _separator(keys[cut - 1], keys[cut])
                right = Leaf(generation, keys[cut:], node.values[cut:], moved, node.large)
                del keys[cut:], node.values[cut:]
                node.size -= moved
            if not path:
                level = node.level + 1 if type(node) is Branch else 1
                self.root = Branch(generation, level, [separator], [node, right], [0, 0], branch_size([separator], 2))
                self.changed_nodes += 1
                return
            branch, index = path.pop()
            branch.keys.insert(index, separator)
            branch.children.insert(index + 1, right)
            branch.seals.insert(index + 1, 0)
            branch.size += len(separator) + BRANCH_KEY_OVERHEAD_BYTES + BRANCH_CHILD_BYTES
            if branch.size <= self._capacity:
                return
            node = branch

    def _rebalance(self, branch: Branch, index: int) -> None:
        """Merges the child at `index` with a neighbour when one page can hold both."""
        for left_index in (index - 1, index):
            if left_index < 0 or left_index + 1 >= len(branch.children):
                continue
            try:
                left = self.pages.node(branch.children[left_index], branch.seals[left_index])
                right = self.pages.node(branch.children[left_index + 1], branch.seals[left_index + 1])
            except OSError:
                # A small node is no fault. What was asked for can be done without its neighbour.
                continue
            separator = branch.keys[left_index]
            size = left.size + right.size
            if type(left) is Branch:
                size += len(separator) + BRANCH_KEY_OVERHEAD_BYTES
            if size > self._capacity:
                continue
            if left.generation != self.generation:
                left = branch.children[left_index] = self._own(left)
            if type(left) is Branch:
                assert type(right) is Branch
                left.keys.append(separator)
                left.keys.extend(right.keys)
                left.children.extend(right.children)
                left.seals.extend(right.seals)
            else:
                assert type(left) is Leaf
                assert type(right) is Leaf
                left.keys.extend(right.keys)
                left.values.extend(right.values)
                left.large |= right.large
            left.size = size
            self._retire(right)
            del branch.keys[left_index], branch.children[left_index + 1], branch.seals[left_index + 1]
            branch.size -= len(separator) + BRANCH_KEY_OVERHEAD_BYTES + BRANCH_CHILD_BYTES
            return

    def _lower(self) -> None:
        """Takes roots away that have one child."""
        while type(self.root) is Branch and len(self.root.children) == 1:
            try:
                child = self.pages.node(self.root.children[0], self.root.seals[0])
            except OSError:
                return
            self._retire(self.root)
            self.root = child


def _middle(sizes: Iterable[int], total: int, overhead: int) -> int:
    """How many leading entries make up at least half of the bytes; one is left at the end."""
    filled = count = 0
    for size in sizes:
        filled += size + overhead
        count += 1
        if filled * 2 >= total:
            break
    return count


def _separator(left: bytes, right: bytes) -> bytes:
    """The shortest bytes s with left < s <= right."""
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return right[: length + 1]
