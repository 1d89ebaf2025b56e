"""The pieces against a sorted list, with pieces so small that there are many."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structures import sorted_pieces
from structures.sorted_pieces import SortedPieces

KEYS = st.binary(min_size=1, max_size=2)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_pieces, "PIECE_KEYS", 8)
    monkeypatch.setattr(sorted_pieces, "INSERTED_KEYS_MAX", 2)
    monkeypatch.setattr(sorted_pieces, "FIRST_STEP_KEYS", 2)
    monkeypatch.setattr(sorted_pieces, "STEP_KEYS_MAX", 16)


@given(st.lists(st.lists(KEYS, unique=True, max_size=40), max_size=8), st.none() | KEYS, st.none() | KEYS)
def test_a_walk_gives_what_is_in_the_range_in_order(
    additions: list[list[bytes]], low: bytes | None, high: bytes | None
) -> None:
    pieces = SortedPieces()
    model: set[bytes] = set()
    for keys in additions:
        new = [key for key in keys if key not in model]
        pieces.add(new)
        model.update(new)
    expected = [key for key in sorted(model) if (low is None or low <= key) and (high is None or key < high)]
    assert [key for keys in pieces.walk(low, high) for key in keys] == expected
    lists = list(pieces.walk(low, high, reverse=True))
    assert [key for keys in reversed(lists) for key in keys] == expected
    assert all(keys == sorted(keys) and keys for keys in lists)
    assert len(pieces) == len(model)


def test_what_is_added_during_a_walk_neither_repeats_nor_hides_a_key() -> None:
    source = random.Random(3)
    every = [number.to_bytes(2, "big") for number in range(500)]
    source.shuffle(every)
    pieces = SortedPieces()
    pieces.add(every[:300])
    seen: list[bytes] = []
    left = every[300:]
    for keys in pieces.walk(None, None):
        seen += keys
        pieces.add([left.pop() for _ in range(min(3, len(left)))])
    assert seen == sorted(set(seen))
    assert set(every[:300]) <= set(seen)
