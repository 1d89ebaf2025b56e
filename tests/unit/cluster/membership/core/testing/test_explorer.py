"""Goal: whatever happens to a cluster, in the end all that run believe that exactly they are there.

Method: seeds of random faults (`Explorer`), then everything is healed, and a bounded time must do. With refutation
taken away the judge must find it out, or it would find nothing.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.membership.core import Mechanisms, SwimConfig
from cluster.membership.core.testing import Disagreement, Explorer, Faults
from runtime.sim import SeededRandomness

SETTLE_TICKS_MAX = 1_000
"""A suspicion of the longest kind, a few reconnections and exchanges."""


def explore(seed: int, config: SwimConfig, *, faults: Faults | None = None) -> tuple[float, int]:
    randomness = SeededRandomness(random.Random(seed))
    explorer = Explorer(randomness, config, randomness.integer(2, 9), faults=faults)
    explorer.run(60)
    took = explorer.settle(SETTLE_TICKS_MAX)
    return took, sum(node.sent_bytes for node in explorer.cluster.nodes.values())


CONFIG = SwimConfig(sync_ticks=100, reconnect_ticks=30)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_after_any_faults_all_agree(seed: int) -> None:
    explore(seed, CONFIG)


@pytest.mark.parametrize("mechanisms", [Mechanisms.swim(), Mechanisms.without_lifeguard()])
def test_with_less_than_all_mechanisms_too(mechanisms: Mechanisms) -> None:
    config = SwimConfig(sync_ticks=100, reconnect_ticks=30, mechanisms=mechanisms)
    for seed in range(10):
        explore(seed, config)


def test_without_refutation_they_do_not() -> None:
    config = SwimConfig(sync_ticks=100, reconnect_ticks=30, mechanisms=Mechanisms(refutation=False))
    found = 0
    for seed in range(10):
        try:
            explore(seed, config)
        except Disagreement:
            found += 1
    assert found > 3


def test_after_a_partition_that_all_believed_in_the_sides_find_each_other() -> None:
    randomness = SeededRandomness(random.Random(1))
    explorer = Explorer(randomness, CONFIG, 8)
    cluster = explorer.cluster
    assert cluster.run(300, cluster.agreed)
    sides = [f"m{number}" for number in range(4)], [f"m{number}" for number in range(4, 8)]
    cluster.partition(*sides)
    cluster.run(400)
    assert all(node.swim.living == 4 for node in cluster.nodes.values())
    assert explorer.settle(SETTLE_TICKS_MAX) < 300


def test_a_seed_is_a_run() -> None:
    assert [explore(seed, CONFIG) for seed in range(5)] == [explore(seed, CONFIG) for seed in range(5)]
