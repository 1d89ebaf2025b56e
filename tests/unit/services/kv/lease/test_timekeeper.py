from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kv.lease.timekeeper import (
    CHECKPOINT_INTERVAL_S,
    EXPIRATIONS_PER_SECOND,
    EXPIRE_BATCH_MAX,
    EXPIRE_RETRY_S,
    Timekeeper,
)
from services.kv.mvcc.leases import Lease


def started(*leases: Lease, now_s: float = 100.0, grace_s: float = 1.0) -> Timekeeper:
    keeper = Timekeeper()
    keeper.start(leases, now_s, grace_s)
    return keeper


def test_a_new_leader_gives_the_whole_time_or_the_checkpoint_and_a_grace() -> None:
    keeper = started(Lease(1, 10), Lease(2, 10, remaining_ttl_s=4))
    assert keeper.remaining_s(1, 100) == 11
    assert keeper.remaining_s(2, 100) == 5
    assert keeper.remaining_s(3, 100) is None
    assert keeper.pop_over(104.9) == []
    assert keeper.pop_over(105) == [2]


def test_what_is_over_comes_again_until_it_is_gone() -> None:
    keeper = started(Lease(1, 10))
    assert keeper.pop_over(111) == [1]
    assert keeper.pop_over(112) == []
    assert keeper.pop_over(111 + EXPIRE_RETRY_S) == [1]
    keeper.ended(1)
    assert keeper.pop_over(1000) == []


def test_renewing_postpones_the_end_and_is_refused_after_it() -> None:
    lease = Lease(1, 10)
    keeper = started(lease)
    keeper.renew(lease, 110)
    assert keeper.pop_over(119.9) == []
    assert keeper.is_over(1, 120)
    with pytest.raises(AssertionError):
        keeper.renew(lease, 120)


def test_only_the_running_one_keeps_the_time() -> None:
    keeper = Timekeeper()
    keeper.granted(Lease(1, 10), 100)
    assert keeper.remaining_s(1, 100) is None
    keeper.start([], 100, 1)
    keeper.granted(Lease(1, 10), 100)
    assert keeper.remaining_s(1, 100) == 10
    keeper.stop()
    assert keeper.pop_over(1000) == []


def test_ends_are_batched() -> None:
    keeper = started(*(Lease(number, 5) for number in range(1, 700)))
    assert len(keeper.pop_over(200)) == EXPIRE_BATCH_MAX
    assert len(keeper.pop_over(200)) == 699 - EXPIRE_BATCH_MAX


@given(count=st.integers(1000, 4000), stride=st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_a_new_leader_spreads_many_ends(count: int, stride: int) -> None:
    ttls = [number % stride + 1 for number in range(count)]
    keeper = started(*(Lease(number, ttl) for number, ttl in enumerate(ttls, 1)))
    ends = {number: keeper._deadlines[number] for number in range(1, len(ttls) + 1)}
    assert all(end >= 101 + ttl for end, ttl in zip(ends.values(), ttls, strict=True)), "none ends early"
    counts = Counter(int(end) for end in ends.values())
    assert max(counts.values()) <= 2 * EXPIRATIONS_PER_SECOND


def test_long_leases_are_checkpointed_again_and_again() -> None:
    keeper = started(Lease(1, 1000), Lease(2, 100))
    assert keeper.pop_checkpoints(100 + CHECKPOINT_INTERVAL_S) == [(1, 701)]
    assert keeper.pop_checkpoints(100 + CHECKPOINT_INTERVAL_S) == []
    assert keeper.pop_checkpoints(100 + 2 * CHECKPOINT_INTERVAL_S) == [(1, 401)]
    assert keeper.pop_checkpoints(100 + 3 * CHECKPOINT_INTERVAL_S) == [(1, 101)]
    assert keeper.pop_checkpoints(100 + 4 * CHECKPOINT_INTERVAL_S) == []


def test_a_stall_is_nobodys_fault() -> None:
    keeper = started(Lease(1, 10))
    keeper.forgive(30)
    assert keeper.pop_over(140) == []
    assert keeper.pop_over(141) == [1]
