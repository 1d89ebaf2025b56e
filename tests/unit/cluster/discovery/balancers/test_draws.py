import random

import pytest

from cluster.discovery.balancers.draws import DRAWS, draw
from runtime.sim import SeededRandomness


class Extreme:
    """All bits set."""

    def random(self) -> float:
        raise NotImplementedError

    def integer(self, low: int, high: int) -> int:
        raise NotImplementedError

    def bytes(self, length: int) -> bytes:
        return b"\xff" * length


def test_draws_are_uniform_and_below_one() -> None:
    source = SeededRandomness(random.Random(1))
    drawn = [number for _ in range(100) for number in draw(source)]
    assert len(drawn) == 100 * DRAWS
    assert all(0.0 <= number < 1.0 for number in drawn)
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.01)
    for tenth in range(10):
        assert sum(int(number * 10) == tenth for number in drawn) / len(drawn) == pytest.approx(0.1, abs=0.012)
    assert max(draw(Extreme())) < 1.0
