"""Whose name is it: former lives, older and younger namesakes, refutation."""

import random

from cluster.membership.core import Address, Details, EventKind, Mechanisms, Status, SwimConfig
from cluster.membership.core.testing import Cluster, Sent, Single
from cluster.membership.core.types import Update
from cluster.membership.core.wire import Ack, Ping
from runtime.sim import SeededRandomness

ELSEWHERE = Address("10.8.8.8", 8)


def namesake(incarnation: int, instance: int, *, status: Status = Status.ALIVE, address: Address = ELSEWHERE) -> Update:
    return Update("me", status, incarnation, Details(instance, address, b"", incarnation))


def challenges(sent: list[Sent]) -> list[Ping]:
    return [item.message for item in sent if item.target == ELSEWHERE and isinstance(item.message, Ping)]


def test_what_is_said_of_oneself_is_refuted_by_a_higher_incarnation() -> None:
    single = Single().meet("a")
    single.hear(Update("me", Status.SUSPECT, 1, None, "a"))
    assert single.swim.own.incarnation == 2
    single.hear(Update("me", Status.FAILED, 7, None, "a"))
    assert single.swim.own.incarnation == 8
    assert single.swim.own.status is Status.ALIVE
    assert single.swim.counters.refutations == 2
    assert single.swim.health == 2
    single.tick(2)
    told = [update for sent in single.take() for update in sent.updates]
    assert any(update.name == "me" and update.incarnation == 8 for update in told)


def test_old_news_of_oneself_are_nothing() -> None:
    single = Single().meet("a")
    single.hear(Update("me", Status.SUSPECT, 5, None, "a"))
    single.hear(Update("me", Status.FAILED, 5, None, "a"), Update("me", Status.LEFT, 3))
    assert single.swim.own.incarnation == 6


def test_without_the_mechanism_nothing_is_refuted() -> None:
    single = Single(SwimConfig(mechanisms=Mechanisms(refutation=False))).meet("a")
    single.hear(Update("me", Status.SUSPECT, 1, None, "a"))
    assert single.swim.own.incarnation == 1


def test_a_former_life_that_is_over_is_taken_over_at_once() -> None:
    for status in (Status.FAILED, Status.LEFT):
        single = Single().meet("a")
        single.hear(namesake(9, 50, status=status))
        assert single.swim.own.incarnation == 10
        assert not single.swim.contested
        assert single.swim.health == 0, "that is no sign of bad health"


def test_a_former_life_at_the_same_address_is_taken_over_at_once() -> None:
    single = Single()
    single.hear(namesake(9, 50, address=single.swim.own.details.address))
    assert single.swim.own.incarnation == 10
    assert not single.swim.contested


def test_an_older_namesake_that_answers_keeps_the_name() -> None:
    single = Single().meet("a")
    single.hear(namesake(9, 50))
    assert single.swim.contested
    assert single.swim.own.incarnation == 1, "as long as the other one may live"
    (ping,) = challenges(single.take())
    single.hear(message=Ack(ping.sequence, "me", 77))
    too_early = single.swim.refused
    assert not too_early, "that was some other process"
    single.hear(message=Ack(ping.sequence, "me", 50))
    assert single.swim.refused
    assert single.events == [(EventKind.NAME_TAKEN, "me")]
    single.take()
    single.tick(50)
    single.hear(message=Ping(1, "a", "me"))
    assert single.take() == []
    assert single.exchange(Ping(1, "a", "me")) is None


def test_an_older_namesake_that_is_silent_is_taken_over() -> None:
    single = Single()
    single.hear(namesake(9, 50))
    single.hear(namesake(11, 50))
    single.tick(20)
    pings = challenges(single.take())
    assert len(pings) == 5
    assert {ping.sequence for ping in pings} == {pings[0].sequence}
    assert single.swim.own.incarnation == 12
    assert not single.swim.contested


def test_a_younger_namesake_is_refuted() -> None:
    single = Single()
    single.hear(namesake(9, 500))
    assert single.swim.own.incarnation == 10
    single.hear(namesake(10, 500))
    assert single.swim.own.incarnation == 11, "at one incarnation, nobody could tell the two apart"


def test_who_has_left_objects_to_nothing() -> None:
    single = Single().meet("a")
    single.swim.leave()
    single.hear(Update("me", Status.FAILED, 5, None, "a"))
    assert single.swim.own.status is Status.LEFT
    assert single.swim.own.incarnation == 1


def test_of_two_living_namesakes_the_older_one_stays() -> None:
    cluster = Cluster(SeededRandomness(random.Random(3)))
    config = SwimConfig()
    for name in ("a", "b", "c"):
        cluster.add(name, config)
        cluster.join(name, "a")
    assert cluster.run(100, cluster.agreed)
    older = cluster.nodes["c"]
    # The same name once more, on another host: known to the network under a name of its own.
    younger = cluster.add("c", config, address=ELSEWHERE)
    cluster.join("c", "a")
    assert cluster.run(100, lambda: younger.swim.refused)
    cluster.nodes["c"] = older
    assert cluster.run(300, cluster.agreed)
    assert not older.swim.refused
    member = cluster.nodes["a"].swim.member("c")
    assert member is not None
    assert member.details.address == older.address


def test_a_name_that_two_sides_of_a_partition_have_used_ends_with_one() -> None:
    cluster = Cluster(SeededRandomness(random.Random(4)))
    config = SwimConfig(reconnect_ticks=20)
    for name in ("a", "b"):
        cluster.add(name, config)
    older = cluster.add("c", config)
    younger = cluster.add("c", config, address=ELSEWHERE)
    for node, seed in ((older, "a"), (younger, "b")):
        node.swim.join([cluster.nodes[seed].address])
        cluster.flush(node)
    cluster.run(50)
    assert not younger.swim.refused
    cluster.join("a", "b")
    assert cluster.run(300, lambda: younger.swim.refused)
    assert not older.swim.refused
    cluster.nodes["c"] = older
    cluster.run(300, cluster.agreed)
    for name in ("a", "b"):
        member = cluster.nodes[name].swim.member("c")
        assert member is not None
        assert member.details.address == older.address


def test_an_ack_of_something_else_is_no_answer() -> None:
    single = Single()
    single.hear(message=Ack(1, "me", 50))
    assert not single.swim.refused
