"""The failure detector: pings, helpers, nacks, streams, and what all that says of one's own health."""

from cluster.membership.core import Mechanisms, Purpose, Status, SwimConfig
from cluster.membership.core.testing import STRANGER, Sent, Single, address_of, alive
from cluster.membership.core.types import Update
from cluster.membership.core.wire import Ack, Gossip, Nack, Ping, PingRequest, decode, encode, encode_update

QUIET = SwimConfig(mechanisms=Mechanisms(gossip=False))


def probed(config: SwimConfig = QUIET, *names: str) -> tuple[Single, Sent]:
    """A core that has just begun to probe, and its ping."""
    single = Single(config).meet(*(names or ("a", "b", "c", "d", "e")))
    for _ in range(config.probe_interval_ticks + 1):
        single.tick()
        for sent in single.take():
            if isinstance(sent.message, Ping):
                return single, sent
    raise AssertionError("no probe in an interval")


def ping_of(sent: Sent) -> Ping:
    assert isinstance(sent.message, Ping)
    return sent.message


def test_a_ping_goes_to_its_member_and_an_ack_ends_it() -> None:
    single, sent = probed()
    ping = ping_of(sent)
    assert sent.target == address_of(ping.target)
    single.hear(message=Ack(ping.sequence, ping.target, 1))
    single.tick(9)
    assert single.take() == []
    single.tick()
    assert [type(item.message) for item in single.take()] == [Ping]
    assert single.swim.counters.probes == 2
    assert single.swim.counters.probes_indirect == 0


def test_all_members_are_probed_in_turn() -> None:
    single, sent = probed()
    seen = [ping_of(sent).target]
    for _ in range(4):
        single.hear(message=Ack(ping_of(sent).sequence, "x", 1))
        single.tick(10)
        (sent,) = single.take()
        seen.append(ping_of(sent).target)
    assert sorted(seen) == ["a", "b", "c", "d", "e"]


def test_without_an_ack_helpers_and_a_stream_are_asked_and_then_it_is_suspected() -> None:
    single, sent = probed()
    ping = ping_of(sent)
    single.tick(5)
    asked = single.take()
    assert {type(item.message) for item in asked} == {PingRequest}
    assert len({item.target for item in asked}) == 3
    assert sent.target not in {item.target for item in asked}
    (call,) = [call for call in single.streams if call.purpose is Purpose.PROBE]
    assert call.target == sent.target
    assert decode(call.data) == (ping, [])
    for item in asked:
        single.hear(message=Nack(ping.sequence, "helper"), source=item.target)
    single.tick(4)
    assert single.status(ping.target) is Status.ALIVE
    single.tick()
    assert single.status(ping.target) is Status.SUSPECT
    assert single.swim.counters.probes_failed == 1
    assert single.swim.health == 0, "all helpers have answered: this member hears well"


def test_helpers_that_say_nothing_speak_against_oneself() -> None:
    single, sent = probed()
    single.tick(5)
    single.hear(message=Nack(ping_of(sent).sequence, "helper"))
    single.tick(5)
    assert single.swim.counters.nacks_missed == 2
    assert single.swim.health == 2


def test_a_nack_counts_at_most_once_a_helper_and_only_for_the_probe_under_way() -> None:
    single, sent = probed()
    single.tick(5)
    for _ in range(9):
        single.hear(message=Nack(ping_of(sent).sequence, "helper"))
    single.hear(message=Nack(ping_of(sent).sequence + 1, "helper"))
    single.tick(5)
    assert single.swim.counters.nacks_missed == 0


def test_without_anybody_to_help_the_failure_itself_counts() -> None:
    single, _ = probed(QUIET, "a")
    single.tick(10)
    assert single.status("a") is Status.SUSPECT
    assert single.swim.health == 1


def test_an_ack_through_a_helper_or_a_stream_is_one() -> None:
    single, sent = probed()
    ping = ping_of(sent)
    single.tick(7)
    single.hear(message=Ack(ping.sequence, ping.target, 1))
    single.tick(3)
    assert single.status(ping.target) is Status.ALIVE
    single, sent = probed()
    ping = ping_of(sent)
    single.tick(7)
    assert single.exchange(Ack(ping.sequence, ping.target, 1)) is None
    single.tick(3)
    assert single.status(ping.target) is Status.ALIVE
    assert single.swim.counters.probes_by_stream == 1


def test_a_late_ack_changes_nothing() -> None:
    single, sent = probed()
    single.tick(10)
    single.hear(message=Ack(ping_of(sent).sequence, "x", 1))
    assert single.status(ping_of(sent).target) is Status.SUSPECT


def test_bad_health_slows_probes_down_and_makes_them_patient() -> None:
    single, sent = probed()
    single.hear(message=Ack(ping_of(sent).sequence, "x", 1))
    for incarnation in (1, 2, 3):
        single.hear(Update("me", Status.SUSPECT, incarnation, None, "a"))
    assert single.swim.health == 3
    single.tick(10)
    (sent,) = [item for item in single.take() if isinstance(item.message, Ping)]
    single.tick(19)
    assert single.take() == [], "four times five ticks before helpers are asked"
    single.tick()
    assert {type(item.message) for item in single.take()} == {PingRequest}
    single.tick(19)
    assert single.status(ping_of(sent).target) is Status.ALIVE
    single.tick()
    assert single.status(ping_of(sent).target) is Status.SUSPECT


def test_with_the_mechanism_off_health_stays_well() -> None:
    config = SwimConfig(mechanisms=Mechanisms(gossip=False, health_aware_probes=False))
    single, _ = probed(config)
    single.hear(Update("me", Status.SUSPECT, 1, None, "a"))
    single.tick(10)
    assert single.swim.health == 0


def test_a_ping_is_answered_where_it_came_from_and_only_by_whom_it_is_for() -> None:
    single = Single().meet("a")
    single.hear(message=Ping(7, "a", "me"))
    (sent,) = single.take()
    assert sent.target == STRANGER
    assert sent.message == Ack(7, "me", 100)
    single.hear(message=Ping(7, "a", "you"))
    assert single.take() == []
    assert single.swim.counters.misdirected == 1


def test_a_helper_pings_and_relays_the_ack() -> None:
    single = Single().meet("a", "b")
    single.hear(message=PingRequest(7, "a", "b"), source=address_of("a"))
    (sent,) = single.take()
    ping = ping_of(sent)
    assert (sent.target, ping.target) == (address_of("b"), "b")
    single.hear(message=Ack(ping.sequence, "b", 5), source=address_of("b"))
    (sent,) = single.take()
    assert (sent.target, sent.message) == (address_of("a"), Ack(7, "b", 5))
    single.hear(message=Ack(ping.sequence, "b", 5), source=address_of("b"))
    assert single.take() == [], "once"


def test_a_helper_says_in_time_that_it_has_heard_nothing_and_relays_a_late_ack_still() -> None:
    single = Single(SwimConfig(mechanisms=Mechanisms(gossip=False))).meet("a", "b")
    single.hear(message=PingRequest(7, "a", "b"), source=address_of("a"))
    ping = ping_of(single.take()[0])
    single.tick(3)
    single.take()
    single.tick()
    assert next(item for item in single.take() if item.message == Nack(7, "me")).target == address_of("a")
    single.hear(message=Ack(ping.sequence, "b", 5))
    assert [item.message for item in single.take()] == [Ack(7, "b", 5)]


def test_a_helper_pings_members_only_and_not_too_many_at_once() -> None:
    single = Single(SwimConfig(relays_max=1)).meet("a", "b")
    for target in ("stranger", "b", "b"):
        single.hear(message=PingRequest(7, "a", target), source=address_of("a"))
    assert [type(item.message) for item in single.take()] == [Nack, Ping, Nack]
    single.tick(90)
    single.hear(alive("b", 9))
    single.take()
    single.hear(message=PingRequest(8, "a", "b"), source=address_of("a"))
    assert [type(item.message) for item in single.take()] == [Ping]


def test_a_helper_that_is_itself_asked_for_answers() -> None:
    single = Single().meet("a")
    single.hear(message=PingRequest(7, "a", "me"), source=address_of("a"))
    assert [item.message for item in single.take()] == [Ack(7, "me", 100)]


def test_whoever_is_suspected_hears_of_it_first_in_every_packet() -> None:
    accusation = Update("b", Status.SUSPECT, 1, None, "me")
    single = Single().meet("a", "b")
    single.hear(Update("b", Status.SUSPECT, 1, None, "a"))
    single.take()
    single.hear(message=Ping(7, "b", "me"), source=address_of("b"))
    (sent,) = single.take()
    assert sent.updates[0] == accusation
    assert [update.name for update in sent.updates].count("b") == 1
    single = Single(SwimConfig(mechanisms=Mechanisms(buddy=False, gossip=False))).meet("a", "b")
    for _ in range(20):
        single.hear(message=Ping(7, "a", "me"))
    single.take()
    single.hear(Update("b", Status.SUSPECT, 1, None, "a"))
    for _ in range(20):
        single.hear(message=Ping(7, "a", "me"))
    single.take()
    single.hear(message=Ping(7, "b", "me"), source=address_of("b"))
    assert single.take()[0].updates == [], "off, only news are told, and these have been told"


def test_one_who_failed_or_left_is_told_so_when_it_speaks() -> None:
    for status in (Status.FAILED, Status.LEFT):
        single = Single().meet("a", "b")
        single.hear(Update("b", status, 1, None, "a" if status is Status.FAILED else ""))
        single.take()
        single.hear(message=Ping(7, "b", "me"), source=address_of("b"))
        assert single.take()[0].updates[0][:3] == ("b", status, 1)


def test_news_of_a_packet_count_before_its_question() -> None:
    single = Single().meet("a")
    single.hear(Update("me", Status.SUSPECT, 1, None, "a"), message=Ping(7, "a", "me"))
    (sent,) = single.take()
    assert next(update for update in sent.updates if update.name == "me").incarnation == 2
    assert isinstance(sent.message, Ack)


def test_packets_stay_below_their_limit() -> None:
    single = Single()
    for number in range(300):
        single.hear(alive(f"member-{number}", metadata=bytes(300)), message=Gossip("x"))
    single.tick(2)
    output = [sent for sent in single.take() if isinstance(sent.message, Gossip)]
    assert output
    sizes = [len(encode(sent.message, map(encode_update, sent.updates))) for sent in output]
    assert all(1_000 < size <= 1_360 for size in sizes)
