"""Rounds of reads: whoever waits is answered as soon as any question asked after the call is."""

import asyncio
import itertools

import pytest

from cluster.raft.core.types import ReadState
from cluster.replica.interface import ReadTimeout, ReplicaStopped
from cluster.replica.reads import RETRY_DOUBLINGS_MAX, RETRY_TICKS, ROUNDS_IN_FLIGHT_MAX, ReadRounds


def ticked(rounds: ReadRounds, ticks: int) -> list[bytes]:
    """Lets ticks pass, asking whenever something is due."""
    asked = []
    for _ in range(ticks):
        if rounds.tick():
            asked += rounds.start()
    return asked


async def test_an_answer_that_takes_longer_than_the_patience_counts() -> None:
    """Found by the simulator: where a way there and back took more than RETRY_TICKS, no read ever ended."""
    rounds = ReadRounds(incarnation=7)
    waiter = rounds.join(60)
    [context] = rounds.start()
    for _ in range(20):
        again = ticked(rounds, RETRY_TICKS)
        assert set(again) <= {context}, "the same question, or the first answer would be to none"
    rounds.confirmed([ReadState(5, context)], applied_index=5)
    await waiter
    rounds.confirmed([ReadState(6, context)], applied_index=6)
    assert ticked(rounds, 100) == []


async def test_who_hears_nothing_asks_less_and_less_often_but_goes_on() -> None:
    rounds = ReadRounds(incarnation=7)
    waiter = rounds.join(60)
    [context] = rounds.start()
    at = [tick for tick in range(400) if ticked(rounds, 1)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert at[0] == RETRY_TICKS - 1
    assert gaps[0] == 2 * RETRY_TICKS
    assert gaps == sorted(gaps)
    assert gaps[-1] == RETRY_TICKS << RETRY_DOUBLINGS_MAX
    # A new leader is asked at once.
    rounds.retry()
    assert rounds.due
    assert rounds.start() == [context]
    assert ticked(rounds, RETRY_TICKS) == [context]
    waiter.cancel()


async def test_a_call_never_joins_a_round_that_was_asked_before_it() -> None:
    rounds = ReadRounds(incarnation=7)
    early = rounds.join(60)
    [first] = rounds.start()
    late = rounds.join(60)
    again = ticked(rounds, RETRY_TICKS)
    [second] = {*again} - {first}
    rounds.confirmed([ReadState(5, first)], applied_index=5)
    assert early.done()
    assert not late.done()
    rounds.confirmed([ReadState(9, second)], applied_index=8)
    assert not late.done()
    rounds.applied(9)
    await late


async def test_few_rounds_are_under_way_and_who_has_given_up_is_not_asked_for() -> None:
    rounds = ReadRounds(incarnation=7)
    waiters = []
    for _ in range(ROUNDS_IN_FLIGHT_MAX + 2):
        waiters.append(rounds.join(60))
        rounds.start()
    assert rounds.waiting == 2
    for waiter in waiters[:ROUNDS_IN_FLIGHT_MAX]:
        waiter.cancel()
    [shared] = ticked(rounds, RETRY_TICKS)
    assert rounds.waiting == 0
    rounds.confirmed([ReadState(1, shared)], applied_index=1)
    assert all(waiter.done() for waiter in waiters)


async def test_waiters_time_out_and_end_with_the_replica() -> None:
    rounds = ReadRounds(incarnation=7)
    with pytest.raises(ReadTimeout):
        await rounds.join(0.001)
    asked, confirmed, unasked = rounds.join(60), None, None
    [context] = rounds.start()
    rounds.confirmed([ReadState(5, context)], applied_index=4)
    confirmed = rounds.join(60)
    rounds.start()
    unasked = rounds.join(60)
    rounds.stop()
    for waiter in (asked, confirmed, unasked):
        with pytest.raises(ReplicaStopped):
            await waiter
    await asyncio.sleep(0)
    assert not rounds.due
