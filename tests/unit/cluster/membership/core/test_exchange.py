"""State exchanges: who learns what, at what price, and who is looked for."""

import random

from cluster.membership.core import Address, Purpose, Status, SwimConfig
from cluster.membership.core.testing import Cluster, Single, address_of, alive
from cluster.membership.core.types import Update
from cluster.membership.core.wire import Gossip, Offer, Ping, Same, State, decode
from runtime.sim import SeededRandomness


def test_equal_beliefs_cost_one_small_answer() -> None:
    one, other = Single().meet("a", "b"), Single().meet("a", "b")
    offer = Offer("you", other.swim.digest)
    assert one.exchange(offer) == (Same("me"), [])
    assert one.swim.counters.syncs_equal == 1
    assert one.exchange(Same("you")) is None
    assert one.swim.contacts == 2


def test_different_beliefs_are_exchanged_and_each_gives_what_the_other_lacks() -> None:
    one, other = Single().meet("a", "b"), Single(name="you", instance=5).meet("b", "c")
    answer = one.exchange(Offer("you", other.swim.digest))
    assert answer is not None
    state, updates = answer
    assert state == State("me", reply_wanted=True)
    assert {update.name for update in updates} == {"me", "a", "b"}
    answer = other.exchange(state, *updates)
    assert answer is not None
    state, updates = answer
    assert state == State("you", reply_wanted=False)
    assert {update.name for update in updates} == {"you", "c"}, "the first one has told the rest itself"
    assert one.exchange(state, *updates) is None
    assert one.swim.digest == other.swim.digest
    assert {member.name for member in one.swim.members()} == {"me", "you", "a", "b", "c"}


def test_whoever_joins_sends_its_state_and_does_not_tell_all_it_hears() -> None:
    single = Single()
    seeds = [Address("10.0.0.1", 1), Address("10.0.0.2", 2), single.swim.own.details.address]
    single.swim.join(seeds)
    single.tick(0)
    single.take()
    assert [(call.target, call.purpose) for call in single.streams] == [(seed, Purpose.SYNC) for seed in seeds[:2]]
    message, updates = decode(single.streams[0].data)
    assert message == State("me", reply_wanted=True)
    assert [update.name for update in updates] == ["me"]
    single.exchange(State("a", reply_wanted=False), alive("a"), alive("b"), alive("c"))
    assert single.swim.living == 4
    assert single.swim.rumours == 1, "of itself"


def test_what_others_learn_of_a_newcomer_they_tell() -> None:
    single = Single(answered=True).meet("a", "b")
    single.tick(100)
    before = single.swim.rumours
    single.exchange(State("new", reply_wanted=True), alive("new"))
    assert single.swim.rumours == before + 1


def test_seeds_are_bounded() -> None:
    single = Single(SwimConfig(seeds_max=2))
    single.swim.join([Address("10.0.0.1", port) for port in range(1, 9)])
    single.tick(0)
    single.take()
    assert len(single.streams) == 2


def syncs(single: Single) -> list[Address]:
    found = [call.target for call in single.streams if isinstance(decode(call.data)[0], Offer)]
    single.streams.clear()
    return found


def test_an_exchange_comes_around_rarer_in_a_large_cluster() -> None:
    counts = []
    for members in (3, 200):
        single = Single(SwimConfig(sync_ticks=50, reconnect_ticks=10_000), answered=True)
        single.meet(*(f"m{number}" for number in range(members)))
        single.tick(600)
        counts.append(len(syncs(single)))
    assert counts == [12, 3]


def test_one_who_failed_is_looked_for_until_it_is_forgotten() -> None:
    config = SwimConfig(sync_ticks=100_000, reconnect_ticks=10, reap_ticks=200)
    single = Single(config, random=lambda low, high: 0).meet("a")
    single.tick(20)
    assert syncs(single) in ([], [address_of("a")])
    single.hear(Update("a", Status.FAILED, 1, None, "x"), message=Gossip("x"))
    single.tick(100)
    assert syncs(single) == [address_of("a")] * 10
    single.tick(150)
    syncs(single)
    assert single.status("a") is None
    single.tick(100)
    assert syncs(single) == []


def test_one_who_left_is_not_looked_for() -> None:
    config = SwimConfig(sync_ticks=100_000, reconnect_ticks=10)
    single = Single(config, random=lambda low, high: 0).meet("a")
    single.tick(5)
    syncs(single)
    single.hear(Update("a", Status.LEFT, 1), message=Gossip("x"))
    single.tick(100)
    assert syncs(single) == []


def test_seeds_that_are_no_members_are_looked_for() -> None:
    config = SwimConfig(sync_ticks=100_000, reconnect_ticks=10)
    single = Single(config, random=lambda low, high: 0)
    single.swim.set_seeds([address_of("a")])
    single.tick(50)
    assert syncs(single) == [address_of("a")] * 5
    single.meet("a")
    single.tick(5)
    syncs(single)
    single.tick(50)
    assert address_of("a") not in syncs(single)


def test_in_a_large_cluster_all_together_look_about_once_each_time() -> None:
    cluster = Cluster(SeededRandomness(random.Random(1)))
    config = SwimConfig(sync_ticks=100_000, reconnect_ticks=20)
    for number in range(50):
        cluster.add(f"m{number}", config)
    cluster.introduce_all()
    cluster.stop("m7")
    assert cluster.run(400, cluster.agreed)
    before = sum(node.streams for node in cluster.nodes.values())
    cluster.run(2_000)
    attempts = sum(node.streams for node in cluster.nodes.values()) - before
    assert 50 < attempts < 200, "a hundred times, by about one of them"


def test_a_stream_ping_is_answered_by_whom_it_is_for() -> None:
    single = Single()
    answer = single.exchange(Ping(7, "a", "me"))
    assert answer is not None
    assert single.exchange(Ping(7, "a", "you")) is None
    assert single.exchange(Gossip("a")) is None
