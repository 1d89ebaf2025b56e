"""Half of the suite that every engine passes: random writes and reads against a dict, with snapshots held meanwhile.

`durable.py` has the other half, for engines on a disk.
"""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from storage.engine import Engine, Snapshot, WriteBatch

T = TypeVar("T")
Content = dict[bytes, bytes]
Change = tuple[str, bytes, bytes]
"""("put", key, value), ("delete", key, b""), ("delete_range", low, high) or ("merge", key, operand)."""

SNAPSHOTS_MAX = 3

KEYS = st.builds(
    lambda letter, digit, length: letter + digit * length,
    st.sampled_from([b"", b"a", b"b", b"m", b"\xff"]),
    st.sampled_from([b"0", b"1", b"5", b"\0", b"\xff"]),
    st.sampled_from([0, 1, 1, 2, 3, 60, 1000]),
)
VALUES = st.builds(
    lambda byte, length: byte * length,
    st.sampled_from([b"x", b"y", b"\0"]),
    st.sampled_from([0, 1, 1, 7, 30, 30, 600, 1300, 5000]),
)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("delete"), KEYS, st.just(b"")),
    st.tuples(st.just("delete_range"), KEYS, KEYS),
    st.tuples(st.just("merge"), KEYS, VALUES),
)
BOUNDS = st.none() | KEYS


def changed(content: Content, changes: list[Change]) -> Content:
    """The content after some changes."""
    content = dict(content)
    for kind, key, other in changes:
        if kind == "put":
            content[key] = other
        elif kind == "delete":
            content.pop(key, None)
        elif kind == "delete_range":
            content = {each: value for each, value in content.items() if not key <= each < other}
        else:
            content[key] = content.get(key, b"") + other
    return content


def pairs(content: Content, low: bytes | None, high: bytes | None, reverse: bool) -> list[tuple[bytes, bytes]]:
    """What a scan must give."""
    keys = sorted(content, reverse=reverse)
    return [(key, content[key]) for key in keys if (low is None or key >= low) and (high is None or key < high)]


class EngineMachine(RuleBasedStateMachine):
    """The rules for an engine that a subclass opens."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.states: list[Content] = [{}]
        """What the engine may hold after a crash: the states since the last flush, oldest first."""
        self.snapshots: list[tuple[Snapshot, Content]] = []

    @property
    def content(self) -> Content:
        return self.states[-1]

    def note(self, changes: list[Change]) -> None:
        """A write was made."""
        self.states.append(changed(self.content, changes))

    def run_here(self, call: Callable[[], T]) -> T:
        """Runs a call of the engine where its calls belong."""
        return call()

    # Writes.

    @rule(change=CHANGES)
    def write_one(self, change: Change) -> None:
        kind, key, other = change
        if kind == "put":
            self.run_here(lambda: self.engine.put(key, other))
        elif kind == "delete":
            self.run_here(lambda: self.engine.delete(key))
        elif kind == "delete_range":
            self.run_here(lambda: self.engine.delete_range(key, other))
        else:
            self.run_here(lambda: self.engine.merge(key, other))
        self.note([change])

    @rule(changes=st.lists(CHANGES, max_size=12))
    def write_batch(self, changes: list[Change]) -> None:
        batch = WriteBatch()
        for kind, key, other in changes:
            if kind == "put":
                batch.put(key, other)
            elif kind == "delete":
                batch.delete(key)
            elif kind == "delete_range":
                batch.delete_range(key, other)
            else:
                batch.merge(key, other)
        self.run_here(lambda: self.engine.write(batch))
        self.note(changes)

    @rule(start=st.integers(0, 200), count=st.integers(1, 120), size=st.sampled_from([0, 20, 400]))
    def fill(self, start: int, count: int, size: int) -> None:
        """Enough keys at once for a tree to grow and a table to have blocks."""
        changes: list[Change] = [
            ("put", f"n{number:03}".encode(), bytes([number % 256]) * size) for number in range(start, start + count)
        ]
        batch = WriteBatch()
        for _kind, key, value in changes:
            batch.put(key, value)
        self.run_here(lambda: self.engine.write(batch))
        self.note(changes)

    # Reads.

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        assert self.engine.get(key) == self.content.get(key)
        for snapshot, content in self.snapshots:
            assert snapshot.get(key) == content.get(key)

    @rule(low=BOUNDS, high=BOUNDS, reverse=st.booleans())
    def scan(self, low: bytes | None, high: bytes | None, reverse: bool) -> None:
        assert list(self.engine.scan(low, high, reverse=reverse)) == pairs(self.content, low, high, reverse)
        for snapshot, content in self.snapshots:
            assert list(snapshot.scan(low, high, reverse=reverse)) == pairs(content, low, high, reverse)

    @rule(reverse=st.booleans())
    def scan_all(self, reverse: bool) -> None:
        self.scan(None, None, reverse)

    @precondition(lambda self: len(self.snapshots) < SNAPSHOTS_MAX)
    @rule()
    def take_snapshot(self) -> None:
        self.snapshots.append((self.run_here(self.engine.snapshot), self.content))

    @precondition(lambda self: self.snapshots)
    @rule(which=st.integers(0, SNAPSHOTS_MAX))
    def close_snapshot(self, which: int) -> None:
        snapshot, _content = self.snapshots.pop(which % len(self.snapshots))
        self.run_here(snapshot.close)
        self.run_here(snapshot.close)
