"""Counts and spread, exactly; against nginx's algorithm where they must agree."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cluster.discovery.balancers import RoundRobin, Target
from runtime.sim import SeededRandomness

WEIGHTS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def make(weights: list[int], seed: int = 1) -> tuple[RoundRobin[Target], list[Target]]:
    targets = [Target(str(number), weight) for number, weight in enumerate(weights)]
    balancer: RoundRobin[Target] = RoundRobin(SeededRandomness(random.Random(seed)))
    balancer.update(targets, targets)
    return balancer, targets


def picks(balancer: RoundRobin[Target], count: int, tried: tuple[Target, ...] = ()) -> list[Target]:
    picked = [balancer.pick(None, tried, 0) for _ in range(count)]
    return [target for target in picked if target is not None]


@given(WEIGHTS, st.integers(0, 99), st.integers(0, 40))
def test_every_stretch_of_the_sum_of_weights_holds_each_target_by_its_weight(
    weights: list[int], seed: int, start: int
) -> None:
    balancer, targets = make(weights, seed)
    picks(balancer, start)
    counts = Counter(picks(balancer, sum(weights)))
    assert [counts[target] for target in targets] == weights


@given(WEIGHTS, st.integers(0, 99))
def test_a_target_comes_evenly(weights: list[int], seed: int) -> None:
    """In any stretch of k picks, its count is within its share by less than the number of targets over it allows."""
    balancer, targets = make(weights, seed)
    total = sum(weights)
    sequence = picks(balancer, 3 * total)
    for target in targets:
        count = 0
        for place, picked in enumerate(sequence[: 2 * total], start=1):
            count += picked is target
            # EDF's lag: virtual time after `place` picks is place/total, give or take half a pick of each target.
            assert abs(count - place * target.weight / total) <= 1 + len(weights) * target.weight / total


def test_five_one_one() -> None:
    balancer, _ = make([5, 1, 1])
    names = "".join(target.address for target in picks(balancer, 70))
    assert "000000" not in names
    assert names.count("0") == 50


def test_equal_weights_go_around() -> None:
    balancer, targets = make([2, 2, 2])
    order = picks(balancer, 6)
    assert order[:3] == order[3:]
    assert set(order) == set(targets)


def test_processes_begin_at_different_places() -> None:
    assert len({picks(make([1] * 8, seed)[0], 1)[0].address for seed in range(60)}) == 8
    assert len({picks(make([1, 1, 1, 2], seed)[0], 1)[0].address for seed in range(60)}) == 4


@given(WEIGHTS, st.sets(st.integers(0, 7)), st.integers(0, 9))
def test_tried_ones_are_passed_over_while_another_is_there(weights: list[int], tried: set[int], seed: int) -> None:
    balancer, targets = make(weights, seed)
    excluded = tuple(target for number, target in enumerate(targets) if number in tried)
    picked = balancer.pick(None, excluded, 0)
    if len(excluded) == len(targets):
        assert picked is None
    else:
        assert picked is not None
        assert picked not in excluded


def test_only_usable_ones_and_nobody() -> None:
    balancer, targets = make([1, 2, 3])
    balancer.update(targets, targets[1:])
    assert set(picks(balancer, 50)) == set(targets[1:])
    # One that was tried and is not usable any more changes nothing.
    assert set(picks(balancer, 50, (targets[0], targets[1]))) == {targets[2]}
    balancer.update(targets, [])
    assert balancer.pick(None, (), 0) is None
    balancer.update([], [])
    assert balancer.pick(None, (), 0) is None
