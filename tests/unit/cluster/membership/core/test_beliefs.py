"""What is believed of whom: the table at the top of the module, line by line, and how suspicions end."""

from itertools import permutations

import pytest

from cluster.membership.core import EventKind, Mechanisms, Status, SwimConfig
from cluster.membership.core.testing import Single, alive
from cluster.membership.core.types import Update
from cluster.membership.core.wire import Gossip, State

ALIVE, SUSPECT, FAILED, LEFT = Status


def said(status: Status, incarnation: int = 1, name: str = "b", origin: str = "x") -> Update:
    if status is ALIVE:
        return alive(name, incarnation)
    return Update(name, status, incarnation, None, origin if status in (SUSPECT, FAILED) else "")


@pytest.mark.parametrize("first", list(Status))
@pytest.mark.parametrize("then", list(Status))
def test_within_an_incarnation_the_graver_holds(first: Status, then: Status) -> None:
    single = Single().meet("b", "c", "d")
    single.hear(said(first))
    single.hear(said(then))
    assert single.status("b") is max(first, then)


@pytest.mark.parametrize("first", list(Status))
@pytest.mark.parametrize("then", list(Status))
def test_a_higher_incarnation_holds_against_everything_and_a_lower_one_against_nothing(
    first: Status, then: Status
) -> None:
    single = Single().meet("b")
    single.hear(said(first, 5))
    single.hear(said(then, 4))
    assert single.status("b") is first
    single.hear(said(then, 6))
    assert single.status("b") is then


def test_the_order_in_which_things_are_heard_does_not_matter() -> None:
    things = (said(SUSPECT, 2), said(FAILED, 2), said(ALIVE, 3), said(SUSPECT, 3), said(LEFT, 1))
    found = set()
    for order in permutations(things):
        single = Single().meet("b")
        single.hear(*order)
        member = single.swim.member("b")
        assert member is not None
        found.add((member.status, member.incarnation, member.details))
    assert found == {(SUSPECT, 3, alive("b", 3).details)}


def test_nobody_is_met_by_what_others_say_of_him() -> None:
    single = Single()
    single.hear(said(SUSPECT), said(FAILED), said(LEFT))
    assert single.status("b") is None
    assert single.events == []


def test_words_that_come_late_are_taken_without_clearing_the_suspicion() -> None:
    single = Single().meet("b")
    single.hear(said(SUSPECT, 2))
    single.events.clear()
    single.hear(alive("b", 2, metadata=b"new"))
    member = single.swim.member("b")
    assert member is not None
    assert (member.status, member.details.metadata) == (SUSPECT, b"new")
    assert single.events == [(EventKind.UPDATED, "b")]


def test_of_two_lives_at_one_incarnation_the_older_ones_words_hold() -> None:
    for order in ((3, 7), (7, 3)):
        single = Single()
        for instance in order:
            single.hear(alive("b", 1, instance=instance))
        member = single.swim.member("b")
        assert member is not None
        assert member.details.instance == 3


def test_events_tell_the_story() -> None:
    single = Single()
    story = [
        (alive("b", 1), [EventKind.JOINED]),
        (alive("b", 1), []),
        (alive("b", 2), []),
        (alive("b", 3, metadata=b"x"), [EventKind.UPDATED]),
        (said(SUSPECT, 3), [EventKind.SUSPECT]),
        (said(SUSPECT, 4), []),
        (alive("b", 5, metadata=b"y"), [EventKind.REFUTED, EventKind.UPDATED]),
        (said(FAILED, 5), [EventKind.FAILED]),
        (said(FAILED, 6), []),
        (said(SUSPECT, 7), [EventKind.JOINED, EventKind.SUSPECT]),
        (said(LEFT, 7), [EventKind.LEFT]),
        (alive("b", 8), [EventKind.JOINED]),
    ]
    for update, expected in story:
        single.events.clear()
        single.hear(update)
        assert single.events == [(kind, "b") for kind in expected], update


def others(count: int) -> Single:
    return Single(answered=True).meet(*(f"m{number}" for number in range(count)))


def ticks_until_failed(single: Single, name: str) -> int:
    for ticks in range(2_000):
        if single.status(name) is FAILED:
            return ticks
        single.tick()
    raise AssertionError("it never failed")


def test_a_suspicion_ends_in_a_failure_after_the_longest_time_when_nobody_confirms() -> None:
    single = others(9)
    single.hear(said(SUSPECT, name="m1"))
    assert ticks_until_failed(single, "m1") == 240
    assert (EventKind.FAILED, "m1") in single.events


def test_independent_suspicions_shorten_it_and_are_told_on() -> None:
    single = others(9)
    single.hear(said(SUSPECT, name="m1", origin="m2"))
    for origin in ("m3", "m4", "m5"):
        single.hear(said(SUSPECT, name="m1", origin=origin))
    single.tick(24)
    told = [update for sent in single.take() for update in sent.updates]
    assert said(SUSPECT, name="m1", origin="m5") in told
    assert ticks_until_failed(single, "m1") == 40 - 24


def test_with_too_few_others_nobody_is_waited_for() -> None:
    single = others(3)
    single.hear(said(SUSPECT, name="m1"))
    assert ticks_until_failed(single, "m1") == 40


def test_without_the_mechanism_it_is_short() -> None:
    single = Single(SwimConfig(mechanisms=Mechanisms(shrinking_suspicion=False)), answered=True)
    single.meet(*(f"m{number}" for number in range(9)))
    single.hear(said(SUSPECT, name="m1"))
    assert ticks_until_failed(single, "m1") == 40


def test_a_refutation_ends_it() -> None:
    single = others(3)
    single.hear(said(SUSPECT, name="m1"))
    single.tick(39)
    single.hear(alive("m1", 2))
    single.tick(10)
    assert single.status("m1") is ALIVE
    assert single.swim.suspects == 0


def test_a_failure_from_a_state_exchange_is_a_suspicion_only() -> None:
    single = others(3)
    failed = alive("m1")._replace(status=FAILED, origin="m2")
    single.exchange(State("m2", reply_wanted=False), failed)
    assert single.status("m1") is SUSPECT
    left = alive("m2")._replace(status=LEFT)
    single.exchange(State("m2", reply_wanted=False), left)
    assert single.status("m2") is LEFT


def test_one_who_failed_long_ago_is_remembered_without_an_event() -> None:
    single = Single()
    single.exchange(State("m2", reply_wanted=False), alive("m1")._replace(status=FAILED, origin="m2"))
    assert single.status("m1") is FAILED
    assert single.events == []
    assert single.swim.living == 1


def test_a_suspect_of_whom_one_hears_first_by_an_exchange_is_met_and_suspected() -> None:
    single = others(3)
    single.exchange(State("m2", reply_wanted=False), alive("n")._replace(status=SUSPECT, origin="m2"))
    assert single.events == [(EventKind.JOINED, "n"), (EventKind.SUSPECT, "n")]
    assert ticks_until_failed(single, "n") == 240


def test_one_too_many_is_refused_and_counted() -> None:
    single = Single(SwimConfig(members_max=3)).meet("a", "b")
    single.hear(alive("c"), message=Gossip("a"))
    assert single.status("c") is None
    assert single.swim.counters.members_refused == 1
