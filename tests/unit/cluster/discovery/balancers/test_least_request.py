"""Distributions under a seed, and the load that two choices leave."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.discovery.balancers import LeastRequest, Target
from runtime.sim import SeededRandomness


def make(weights: list[int], seed: int = 1) -> tuple[LeastRequest[Target], list[Target]]:
    targets = [Target(str(number), weight) for number, weight in enumerate(weights)]
    balancer: LeastRequest[Target] = LeastRequest(SeededRandomness(random.Random(seed)))
    balancer.update(targets, targets)
    return balancer, targets


def pick(balancer: LeastRequest[Target], tried: tuple[Target, ...] = ()) -> Target:
    target = balancer.pick(None, tried, 0)
    assert target is not None
    return target


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [1, 2, 3, 4], [9, 1]])
def test_idle_targets_are_picked_by_weight(weights: list[int]) -> None:
    balancer, targets = make(weights)
    counts = Counter(pick(balancer) for _ in range(20_000))
    for target in targets:
        assert counts[target] / 20_000 == pytest.approx(target.weight / sum(weights), abs=0.012)


@pytest.mark.parametrize("weights", [[1, 1, 1, 1, 1], [3, 1, 2, 2, 1]])
def test_the_pair_is_two_different_ones(weights: list[int]) -> None:
    """A full target is picked only when it is compared with itself, which never happens."""
    balancer, targets = make(weights)
    targets[0].in_flight = 1_000
    assert targets[0] not in {pick(balancer) for _ in range(5_000)}
    for target in targets[1:]:
        target.in_flight = 5_000
    counts = Counter(pick(balancer) for _ in range(5_000))
    if len(set(weights)) == 1:
        assert counts[targets[0]] / 5_000 == pytest.approx(2 / 5, abs=0.03)


def test_slow_targets_get_less() -> None:
    """One of ten holds its calls ten times as long: with two choices it is not ten times as full."""
    balancer, targets = make([1] * 10)
    source = random.Random(3)
    running: list[tuple[float, Target]] = []
    fullest = 0
    for moment in range(4_000):
        for entry in [entry for entry in running if entry[0] <= moment]:
            running.remove(entry)
            entry[1].in_flight -= 1
        target = pick(balancer)
        target.in_flight += 1
        slow = target is targets[0]
        running.append((moment + source.expovariate(1 / (500 if slow else 50)), target))
        if moment > 1_000:
            fullest = max(fullest, targets[0].in_flight)
    # At random it would have 1/10 of 1 call a moment for 500 moments: 50.
    assert fullest < 25


def test_weights_count_in_load() -> None:
    balancer, (light, heavy) = make([1, 3])
    light.in_flight, heavy.in_flight = 2, 5
    assert {pick(balancer) for _ in range(200)} == {heavy}
    heavy.in_flight = 7
    assert {pick(balancer) for _ in range(200)} == {light}


@given(st.lists(st.integers(1, 5), max_size=6), st.sets(st.integers(0, 5)), st.integers(0, 9))
def test_never_one_that_was_tried(weights: list[int], tried: set[int], seed: int) -> None:
    balancer, targets = make(weights, seed)
    excluded = tuple(target for number, target in enumerate(targets) if number in tried)
    for _ in range(5):
        picked = balancer.pick(None, excluded, 0)
        assert (picked is None) == (len(excluded) == len(targets))
        assert picked not in excluded
