"""The memtable against a dict, and what two of them are together."""

import random

from hypothesis import given
from hypothesis import strategies as st

from storage.lsm.columns import SILENCE, Operands
from storage.lsm.memtable import Memtable
from storage.merge_operators import Append

KEYS = st.binary(min_size=1, max_size=1)
ACTIONS = st.lists(st.tuples(st.sampled_from("pppdr"), KEYS, KEYS), max_size=60)


def apply(memtable: Memtable, actions: list[tuple[str, bytes, bytes]]) -> None:
    for action, key, other in actions:
        if action == "p":
            memtable.entries[key] = other
        elif action == "d":
            memtable.plain = False
            memtable.entries[key] = None
        else:
            memtable.delete_range(key, other)


def over(memtable: Memtable, older: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """What is seen of older content through the memtable."""
    seen = {key: value for key, value in older.items() if not memtable.covers(key)}
    for columns in memtable.columns(None, None):
        for key, entry in zip(columns.keys, columns.entries, strict=True):
            if isinstance(entry, bytes):
                seen[key] = entry
            else:
                seen.pop(key, None)
    return seen


def model_of(actions: list[tuple[str, bytes, bytes]], content: dict[bytes, bytes]) -> dict[bytes, bytes]:
    content = dict(content)
    for action, key, other in actions:
        if action == "p":
            content[key] = other
        elif action == "d":
            content.pop(key, None)
        else:
            content = {each: value for each, value in content.items() if not key <= each < other}
    return content


OLDER = {bytes([number]): b"older" for number in range(256)}


@given(ACTIONS)
def test_it_hides_what_it_deletes(actions: list[tuple[str, bytes, bytes]]) -> None:
    memtable = Memtable()
    apply(memtable, actions)
    assert over(memtable, OLDER) == model_of(actions, OLDER)
    assert all(memtable.find(key) is SILENCE or key in memtable.entries for key in OLDER)
    assert memtable.is_empty == (not memtable.entries and not memtable.range_deletes)


@given(ACTIONS, ACTIONS)
def test_absorbing_the_newer_one_is_writing_to_the_older_one(
    first: list[tuple[str, bytes, bytes]], second: list[tuple[str, bytes, bytes]]
) -> None:
    older, newer = Memtable(), Memtable()
    apply(older, first)
    apply(newer, second)
    list(older.columns(None, None))
    older.absorb(newer, None)
    assert over(older, OLDER) == model_of(second, model_of(first, OLDER))


def test_operands_are_absorbed_by_what_is_there() -> None:
    older, newer = Memtable(), Memtable()
    older.entries.update({b"value": b"1", b"gone": None, b"operands": Operands([b"1"])})
    for key in (b"value", b"gone", b"operands", b"new"):
        newer.entries[key] = Operands([b"2", b"3"])
    newer.plain = older.plain = False
    older.absorb(newer, Append())
    assert older.entries[b"value"] == b"123"
    assert older.entries[b"gone"] == b"23"
    for key, operands in ((b"operands", [b"1", b"2", b"3"]), (b"new", [b"2", b"3"])):
        entry = older.entries[key]
        assert isinstance(entry, Operands)
        assert entry.operands == operands


def test_columns_are_in_order_both_ways_while_it_is_written_to() -> None:
    source = random.Random(4)
    memtable = Memtable()
    keys = [source.randbytes(8) for _ in range(30_000)]
    for start in range(0, len(keys), 10_000):
        memtable.entries.update((key, key) for key in keys[start : start + 10_000])
        memtable.sort_new()
    low, high = sorted(keys[:2])
    forward = [key for columns in memtable.columns(low, high) for key in columns.keys]
    backward = [key for columns in memtable.columns(low, high, reverse=True) for key in reversed(columns.keys)]
    assert forward == backward[::-1] == sorted(key for key in keys if low <= key < high)
