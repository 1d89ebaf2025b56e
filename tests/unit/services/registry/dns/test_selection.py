"""Order by chance: every one comes first as often as it should."""

import random
from collections import Counter
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.sim import SeededRandomness
from services.registry.dns.selection import shuffled, weighted

DRAWS = 6000


def chance(seed: int = 1) -> SeededRandomness:
    return SeededRandomness(random.Random(seed))


def draw(weights: list[int], count: int, source: SeededRandomness) -> list[int]:
    return weighted(list(accumulate(weights)), count, source)


@given(st.integers(0, 30), st.integers(0, 40), st.integers(0, 5))
@settings(deadline=None)
def test_each_at_most_once(size: int, count: int, seed: int) -> None:
    weights = [number % 4 for number in range(size)]
    for picked in (shuffled(size, count, chance(seed)), draw(weights, count, chance(seed)) if size else []):
        assert not size or len(picked) == min(size, count)
        assert len(set(picked)) == len(picked)
        assert set(picked) <= set(range(size))


def test_all_orders_are_equally_likely() -> None:
    source = chance()
    seen = Counter(tuple(shuffled(3, 3, source)) for _ in range(DRAWS))
    assert len(seen) == 6
    assert all(abs(count - DRAWS / 6) < 150 for count in seen.values()), seen


def test_all_parts_are_equally_likely() -> None:
    source = chance()
    seen = Counter(tuple(sorted(shuffled(5, 2, source))) for _ in range(DRAWS))
    assert len(seen) == 10
    assert all(abs(count - DRAWS / 10) < 120 for count in seen.values()), seen


def test_the_first_place_follows_the_weights() -> None:
    source = chance()
    first = Counter(draw([1, 3, 0], 3, source)[0] for _ in range(DRAWS))
    assert first[2] == 0
    assert abs(first[1] / DRAWS - 0.75) < 0.03


def test_without_weight_comes_last() -> None:
    assert draw([0, 1, 2, 3, 4, 5], 6, chance())[-1] == 0
    assert sorted(draw([0, 0], 2, chance())) == [0, 1]


def test_a_weight_that_dwarfs_the_others_leaves_them_their_places() -> None:
    picked = draw([65_535, *[1] * 50], 51, chance())
    assert picked[0] == 0
    assert sorted(picked) == list(range(51))
