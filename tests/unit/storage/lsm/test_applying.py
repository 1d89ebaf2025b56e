"""Merges meet every kind of entry, above nothing and above older layers, before and after the end of what expires."""

import pytest

from storage.engine import DeleteRange, Merge, NoMergeOperator
from storage.lsm.applying import OPERANDS_MAX, apply, bytes_taken_by
from storage.lsm.columns import Entry, Expiring, Operands
from storage.lsm.memtable import MEMTABLE_ENTRY_BYTES, Memtable
from storage.lsm.operations_log import Logged
from storage.merge_operators import Append


def run(
    operations: list[tuple[bytes, Logged]],
    *,
    beneath: dict[bytes, Expiring] | None = None,
    nothing: bool = False,
    now_ms: int = 50,
) -> tuple[Memtable, list[tuple[bytes, Logged]]]:
    memtable = Memtable()
    told = apply(
        memtable,
        operations,
        Append(),
        expiring_beneath=beneath or {},
        nothing_beneath=nothing,
        now_ms=now_ms,
    )
    return memtable, told


def shown(entry: Entry) -> object:
    if isinstance(entry, Operands):
        return entry.operands
    if isinstance(entry, Expiring):
        return (entry.value, entry.expires_ms)
    return entry


M = Merge(b"+")


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([b"v", M], b"v+"),
        ([None, M], b"+"),
        ([M, M], [b"+", b"+"]),
        ([Expiring(b"v", 99), M], (b"v+", 99)),
        ([Expiring(b"v", 50), M], b"+"),
        ([DeleteRange(b"z"), M], b"+"),
        ([M, DeleteRange(b"z"), M], b"+"),
        ([DeleteRange(b"a"), M], [b"+"]),
    ],
)
def test_operands_meet_what_is_there(operations: list[Logged], expected: object) -> None:
    memtable, _ = run([(b"k", operation) for operation in operations])
    assert shown(memtable.entries[b"k"]) == expected


def test_above_nothing_an_operand_is_a_value() -> None:
    memtable, told = run([(b"k", M)], nothing=True)
    assert memtable.entries[b"k"] == b"+"
    assert told == [(b"k", M)]


@pytest.mark.parametrize(("now_ms", "expected"), [(50, (b"old+", 60)), (60, b"+")])
def test_what_expires_beneath_is_settled_at_once_and_told_by_its_outcome(now_ms: int, expected: object) -> None:
    memtable, told = run([(b"k", M), (b"other", M)], beneath={b"k": Expiring(b"old", 60)}, now_ms=now_ms)
    assert shown(memtable.entries[b"k"]) == expected
    assert told[0][1] is memtable.entries[b"k"]
    assert told[1][1] is M
    assert memtable.expiring
    assert not memtable.plain


def test_many_operands_become_one() -> None:
    memtable, _ = run([(b"k", M)] * (OPERANDS_MAX + 1))
    assert shown(memtable.entries[b"k"]) == [b"+" * (OPERANDS_MAX + 1)]


def test_without_an_operator_nothing_is_merged() -> None:
    with pytest.raises(NoMergeOperator):
        apply(Memtable(), [(b"k", M)], None, expiring_beneath={}, nothing_beneath=True, now_ms=0)


def test_operations_are_counted_in_bytes() -> None:
    operations: list[tuple[bytes, Logged]] = [(b"k", b"12"), (b"k", None), (b"k", M), (b"k", DeleteRange(b"zz"))]
    assert bytes_taken_by(operations) == 4 * MEMTABLE_ENTRY_BYTES + 4 + 2 + 1 + 2
