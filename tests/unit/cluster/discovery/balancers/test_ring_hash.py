import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.discovery.balancers import RingHash, Target
from cluster.discovery.balancers.ring_hash import POINTS_OF_RING_MAX, _points_each
from runtime.sim import SeededRandomness

KEYS = [b"key-%d" % number for number in range(1_000)]


def make(count: int, load_max: float | None = None) -> tuple[RingHash[Target], list[Target]]:
    targets = [Target(f"10.0.0.{number}:80") for number in range(count)]
    balancer: RingHash[Target] = RingHash(SeededRandomness(random.Random(1)), load_max)
    use(balancer, targets, targets)
    return balancer, targets


def use(balancer: RingHash[Target], targets: list[Target], usable: list[Target]) -> None:
    for target in targets:
        target.is_usable = target in usable
    balancer.update(targets, usable)


def where(balancer: RingHash[Target]) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for key in KEYS:
        target = balancer.pick(key, (), 0)
        assert target is not None
        found[key] = target.address
    return found


def test_a_key_stays_where_it_is_in_every_process() -> None:
    one, other = make(5)[0], RingHash[Target](SeededRandomness(random.Random(2)))
    shuffled = [Target(f"10.0.0.{number}:80") for number in (3, 1, 4, 0, 2)]
    use(other, shuffled, shuffled)
    assert where(one) == where(one) == where(other)
    assert len(set(where(one).values())) == 5


@given(st.sets(st.integers(0, 5), min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_keys_of_one_that_is_out_move_and_come_back_and_no_others_move(out: set[int]) -> None:
    balancer, targets = make(6)
    before = where(balancer)
    gone = {targets[number].address for number in out}
    use(balancer, targets, [target for target in targets if target.address not in gone])
    during = where(balancer)
    assert all(during[key] == home for key, home in before.items() if home not in gone)
    assert not gone & set(during.values())
    use(balancer, targets, targets)
    assert where(balancer) == before


def test_targets_that_come_and_go_one_at_a_time_and_many_at_once() -> None:
    balancer, targets = make(40)
    before = where(balancer)
    for left in (39, 20):
        use(balancer, targets[:left], targets[:left])
        kept = {target.address for target in targets[:left]}
        now = where(balancer)
        assert all(now[key] == home for key, home in before.items() if home in kept)
    use(balancer, targets, targets)
    assert where(balancer) == before


def test_one_that_was_tried_is_passed_over() -> None:
    balancer, targets = make(3)
    for key in KEYS[:50]:
        first = balancer.pick(key, (), 0)
        assert first is not None
        second = balancer.pick(key, (first,), 0)
        assert second is not None
        assert second is not first
        assert balancer.pick(key, tuple(targets), 0) is None


def test_calls_without_a_key_go_anywhere() -> None:
    balancer, targets = make(4)
    counts = Counter(balancer.pick(None, (), 0) for _ in range(4_000))
    assert min(counts[target] for target in targets) > 600


def test_weights() -> None:
    balancer, targets = make(4)
    targets[0].weight = 3
    use(balancer, targets, targets)
    share = Counter(where(balancer).values())[targets[0].address] / len(KEYS)
    assert share == pytest.approx(0.5, abs=0.1)
    targets[0].weight = 60_000
    use(balancer, targets, targets)
    assert Counter(where(balancer).values())[targets[0].address] / len(KEYS) < 0.95


def test_a_bound_on_the_load_holds_for_one_hot_key() -> None:
    balancer, targets = make(10, load_max=1.25)
    for in_flight in range(200):
        target = balancer.pick(b"hot", (), in_flight)
        assert target is not None
        target.in_flight += 1
        assert target.in_flight <= 1.25 * (in_flight + 1) / 10 + 1
    assert max(target.in_flight for target in targets) <= 25
    # What runs ends, and the key is at its own target again.
    for target in targets:
        target.in_flight = 0
    assert balancer.pick(b"hot", (), 0) is make_home(b"hot", targets)


def make_home(key: bytes, targets: list[Target]) -> Target | None:
    plain: RingHash[Target] = RingHash(SeededRandomness(random.Random(1)))
    use(plain, targets, targets)
    return plain.pick(key, (), 0)


def test_refusals_and_nobody() -> None:
    with pytest.raises(ValueError, match="load_max"):
        RingHash(SeededRandomness(random.Random(1)), 1.0)
    balancer, targets = make(2)
    use(balancer, targets, [])
    assert balancer.pick(b"a", (), 0) is None
    use(balancer, [], [])
    assert balancer.pick(b"a", (), 0) is None


def test_a_huge_ring_has_fewer_points_each() -> None:
    assert _points_each(100) == _points_each(400) == 160
    assert _points_each(4_096) * 4_096 <= POINTS_OF_RING_MAX
