"""The cache never tells anything old, keeps its budget, and keeps what is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structures.generation_cache import ENTRY_OVERHEAD_BYTES, GenerationCache

KEYS = st.binary(max_size=1)


@given(st.lists(st.tuples(st.sampled_from("pgfc"), KEYS, st.binary(max_size=300))))
def test_it_gives_what_was_put_last_or_nothing(actions: list[tuple[str, bytes, bytes]]) -> None:
    cache = GenerationCache(4000)
    model: dict[bytes, bytes] = {}
    for action, key, value in actions:
        if action == "p":
            cache.put(key, value)
            model[key] = value
        elif action == "f":
            cache.forget({key: None}.keys())
            model.pop(key, None)
        elif action == "c":
            cache.clear()
            model.clear()
        found = cache.get(key)
        assert found is None or found == model[key]
        assert cache.young.get(key) == found
        assert len(cache) * ENTRY_OVERHEAD_BYTES <= 4000


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    cache = GenerationCache(100 * (ENTRY_OVERHEAD_BYTES + 20))
    for number in range(1000):
        cache.put(b"%010d" % number, bytes(10))
        assert cache.get(b"%010d" % 0) == bytes(10)
    assert cache.get(b"%010d" % 999) is not None
    assert cache.get(b"%010d" % 500) is None
    assert 40 <= len(cache) <= 100
    assert cache.rotations > 5


@pytest.mark.parametrize("capacity", [0, 100])
def test_without_a_budget_nothing_is_kept(capacity: int) -> None:
    cache = GenerationCache(capacity)
    cache.put(b"a", b"b")
    assert cache.get(b"a") is None
    assert len(cache) == 0
