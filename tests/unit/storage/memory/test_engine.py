"""The engine in memory against a dict, with snapshots held across writes."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from storage.engine import Engine, NoMergeOperator, Snapshot, WriteBatch
from storage.memory import MemoryEngine
from storage.memory.engine import ENTRY_OVERHEAD_BYTES
from storage.merge_operators import Append

KEYS = st.binary(min_size=1, max_size=2)
VALUES = st.binary(max_size=4)


class EngineAgainstDict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.engine: Engine = MemoryEngine(Append())
        self.model: dict[bytes, bytes] = {}
        self.snapshots: list[tuple[Snapshot, dict[bytes, bytes]]] = []

    @rule(key=KEYS, value=VALUES)
    def put(self, key: bytes, value: bytes) -> None:
        self.engine.put(key, value)
        self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        self.engine.delete(key)
        self.model.pop(key, None)

    @rule(low=KEYS, high=KEYS, batched=st.booleans())
    def delete_range(self, low: bytes, high: bytes, batched: bool) -> None:
        if batched:
            batch = WriteBatch()
            batch.delete_range(low, high)
            self.engine.write(batch)
        else:
            self.engine.delete_range(low, high)
        self.model = {key: value for key, value in self.model.items() if not low <= key < high}

    @rule(key=KEYS, operand=VALUES, batched=st.booleans())
    def merge(self, key: bytes, operand: bytes, batched: bool) -> None:
        if batched:
            batch = WriteBatch()
            batch.merge(key, operand)
            self.engine.write(batch)
        else:
            self.engine.merge(key, operand)
        self.model[key] = self.model.get(key, b"") + operand

    @rule(operations=st.lists(st.tuples(KEYS, st.none() | VALUES), max_size=20))
    def write(self, operations: list[tuple[bytes, bytes | None]]) -> None:
        batch = WriteBatch()
        for key, value in operations:
            if value is None:
                batch.delete(key)
                self.model.pop(key, None)
            else:
                batch.put(key, value)
                self.model[key] = value
        assert len(batch) == len(operations)
        self.engine.write(batch)

    @rule()
    def snapshot(self) -> None:
        self.snapshots.append((self.engine.snapshot(), dict(self.model)))

    @rule(low=st.none() | KEYS, high=st.none() | KEYS, reverse=st.booleans())
    def scan(self, low: bytes | None, high: bytes | None, reverse: bool) -> None:
        for reader, model in [*self.snapshots, (self.engine, self.model)]:
            expected = [
                (key, model[key])
                for key in sorted(model, reverse=reverse)
                if (low is None or key >= low) and (high is None or key < high)
            ]
            assert list(reader.scan(low, high, reverse=reverse)) == expected

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        for reader, model in [*self.snapshots, (self.engine, self.model)]:
            assert reader.get(key) == model.get(key)

    @rule()
    def close(self) -> None:
        if self.snapshots:
            self.snapshots.pop(0)[0].close()

    @invariant()
    def size_is_what_is_there(self) -> None:
        expected = sum(len(key) + len(value) + ENTRY_OVERHEAD_BYTES for key, value in self.model.items())
        assert self.engine.size_bytes == expected


TestEngineAgainstDict = EngineAgainstDict.TestCase
TestEngineAgainstDict.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_without_an_operator_nothing_is_merged_and_nothing_of_the_batch_applied() -> None:
    engine = MemoryEngine()
    batch = WriteBatch()
    batch.put(b"a", b"1")
    batch.merge(b"b", b"2")
    with pytest.raises(NoMergeOperator):
        engine.write(batch)
    with pytest.raises(NoMergeOperator):
        engine.merge(b"b", b"2")
    assert list(engine.scan()) == []
