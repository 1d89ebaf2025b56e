"""Order by chance: every one comes first as often as it should."""

import random
from collections import Counter
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from runtime.sim import SeededRandomness
from services.registry.dns.plan import Choice
from services.registry.dns.selection import shuffled, weighted

DRAWS = 6000


def chance(seed: int = 1) -> SeededRandomness:
    return SeededRandomness(random.Random(seed))


def draw(choices: list[Choice], count: int, source: SeededRandomness) -> list[Choice]:
    return weighted(choices, list(accumulate(choice.weight for choice in choices)), count, source)


@given(st.integers(0, 30), st.integers(0, 40), st.integers(0, 5))
def test_each_at_most_once(size: int, count: int, seed: int) -> None:
    choices = [Choice(bytes((number,)), weight=number % 4) for number in range(size)]
    for picked in (shuffled(choices, count, chance(seed)), draw(choices, count, chance(seed)) if size else []):
        assert not size or len(picked) == min(size, count)
        assert len({choice.record for choice in picked}) == len(picked)


def test_all_orders_are_equally_likely() -> None:
    choices = [Choice(bytes((number,))) for number in range(3)]
    source = chance()
    seen = Counter(tuple(choice.record for choice in shuffled(choices, 3, source)) for _ in range(DRAWS))
    assert len(seen) == 6
    assert all(abs(count - DRAWS / 6) < 150 for count in seen.values()), seen


def test_the_first_place_follows_the_weights() -> None:
    choices = [Choice(b"a", weight=1), Choice(b"b", weight=3), Choice(b"c", weight=0)]
    source = chance()
    first = Counter(draw(choices, 3, source)[0].record for _ in range(DRAWS))
    assert first[b"c"] == 0
    assert abs(first[b"b"] / DRAWS - 0.75) < 0.03


def test_without_weight_comes_last() -> None:
    choices = [Choice(b"z", weight=0), *(Choice(bytes((number,)), weight=1 + number) for number in range(5))]
    assert draw(choices, 6, chance())[-1].record == b"z"
    assert len(draw([Choice(b"z", weight=0), Choice(b"y", weight=0)], 2, chance())) == 2


def test_a_weight_that_dwarfs_the_others_leaves_them_their_places() -> None:
    choices = [Choice(b"a", weight=65_535), *(Choice(bytes((number,)), weight=1) for number in range(50))]
    picked = draw(choices, 51, chance())
    assert picked[0].record == b"a"
    assert len(picked) == 51
