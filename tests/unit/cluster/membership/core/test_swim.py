"""The core as its driver sees it: limits at its border, joining and leaving, gossip, and what it forgets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.membership.core import Address, EventKind, Malformed, MetadataTooLarge, Status, Swim, SwimConfig
from cluster.membership.core.testing import Single, address_of, alive
from cluster.membership.core.types import Update
from cluster.membership.core.wire import Ack, Gossip, Ping


def make(**changes: object) -> Swim:
    arguments: dict[str, object] = {"name": "me", "instance": 1, "address": address_of("me"), "metadata": b""}
    arguments.update(changes)
    return Swim(SwimConfig(), random=lambda low, high: low, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": ""}, "a name must"),
        ({"instance": -1}, "instance"),
        ({"instance": 1 << 64}, "instance"),
        ({"address": Address("10.0.0.1", 0)}, "port"),
        ({"address": Address("10.0.0.1", 65_536)}, "port"),
        ({"address": Address("localhost", 1)}, "localhost"),
    ],
)
def test_a_member_that_cannot_be_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make(**changes)


def test_metadata_are_bounded() -> None:
    with pytest.raises(MetadataTooLarge):
        make(metadata=bytes(513))
    swim = make(metadata=bytes(512))
    with pytest.raises(MetadataTooLarge):
        swim.update_metadata(bytes(513))
    assert swim.own.incarnation == 1


def test_new_metadata_are_news_and_the_same_are_none() -> None:
    single = Single().meet("a")
    single.swim.update_metadata(b"x")
    single.swim.update_metadata(b"x")
    assert single.swim.own.incarnation == 2
    single.tick(2)
    (told,) = {update for sent in single.take() for update in sent.updates if update.name == "me"}
    assert told.details is not None
    assert told.details.metadata == b"x"


def test_a_cluster_of_one_knows_itself_and_is_silent() -> None:
    single = Single()
    single.tick(1_000)
    assert single.take() == []
    assert single.streams == []
    assert [member.name for member in single.swim.members()] == ["me"]


def test_malformed_bytes_change_nothing() -> None:
    single = Single().meet("a")
    digest = single.swim.digest
    for data in (b"", b"\x05", b"\x05\x01a\x09\x01"):
        with pytest.raises(Malformed):
            single.swim.datagram(data, address_of("a"))
        with pytest.raises(Malformed):
            single.swim.stream_message(data)
    assert single.swim.digest == digest


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_in_the_core_goes_on(data: bytes, stream: bool) -> None:
    single = Single().meet("a", "b")
    try:
        if stream:
            single.swim.stream_message(data)
        else:
            single.swim.datagram(data, address_of("a"))
    except Malformed:
        pass
    single.tick(30)
    assert single.swim.own.status is Status.ALIVE


def test_leaving_is_said_at_once_and_often_enough() -> None:
    single = Single(answered=True).meet("a", "b")
    single.tick(100)
    single.take()
    single.swim.leave()
    too_early = single.swim.left
    assert not too_early
    goodbye = Update("me", Status.LEFT, 1)
    assert [goodbye in sent.updates for sent in single.take()] == [True, True]
    single.tick(20)
    assert single.swim.left
    assert "me" not in [member.name for member in single.swim.members()]
    single.take()
    single.tick(100)
    assert single.take() == [], "it probes nobody any more"
    single.hear(message=Ping(3, "a", "me"))
    assert [type(sent.message) for sent in single.take()] == [Ack], "but answers while it runs"
    single.swim.leave()
    single.swim.update_metadata(b"too late")
    assert single.swim.own.incarnation == 1


def test_leaving_alone_takes_no_time() -> None:
    single = Single()
    single.swim.leave()
    assert single.swim.left


def test_others_hear_left_and_not_failed() -> None:
    single = Single().meet("a")
    single.hear(Update("a", Status.LEFT, 1))
    assert single.events == [(EventKind.LEFT, "a")]


def test_news_go_to_a_few_each_round_until_told_often_enough() -> None:
    single = Single(answered=True).meet(*(f"m{number}" for number in range(20)))
    single.tick(200)
    single.take()
    single.hear(alive("new"))
    told = 0
    for _ in range(20):
        single.tick(2)
        gossip = [sent for sent in single.take() if isinstance(sent.message, Gossip)]
        assert len(gossip) <= 3
        told += sum(update.name == "new" for sent in gossip for update in sent.updates)
    assert told <= 4 * 2, "four times the logarithm of 22, rounded up"
    assert single.swim.rumours == 0


def test_who_is_gone_is_forgotten_in_the_end() -> None:
    single = Single(SwimConfig(reap_ticks=100)).meet("a", "b")
    single.hear(Update("a", Status.LEFT, 1))
    single.tick(100)
    assert single.status("a") is Status.LEFT
    single.tick(20)
    assert single.status("a") is None


def test_a_name_that_was_forgotten_can_be_met_again() -> None:
    single = Single(SwimConfig(reap_ticks=20)).meet("a", "b")
    single.hear(Update("a", Status.LEFT, 7))
    single.tick(60)
    single.events.clear()
    single.hear(alive("a", 1))
    assert single.events == [(EventKind.JOINED, "a")]
