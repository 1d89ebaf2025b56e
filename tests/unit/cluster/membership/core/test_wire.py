"""The bytes of messages: what is said comes out again, and nothing that comes in can do harm."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.membership.core import Address, Details, Malformed, Status, limits
from cluster.membership.core.types import Update
from cluster.membership.core.wire import (
    Ack,
    Gossip,
    Message,
    Nack,
    Offer,
    Ping,
    PingRequest,
    Same,
    State,
    check_name,
    decode,
    encode,
    encode_update,
)

NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=32)
SEQUENCES = st.integers(0, 2**32 - 1)
LONG = st.integers(0, 2**64 - 1)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, SEQUENCES, NAMES, NAMES),
    st.builds(Ack, SEQUENCES, NAMES, LONG),
    st.builds(PingRequest, SEQUENCES, NAMES, NAMES),
    st.builds(Nack, SEQUENCES, NAMES),
    st.builds(Gossip, NAMES),
    st.builds(Offer, NAMES, LONG),
    st.builds(Same, NAMES),
    st.builds(State, NAMES, st.booleans()),
)
ADDRESSES = st.builds(Address, st.ip_addresses().map(str), st.integers(1, 65_535))


@st.composite
def updates(draw: st.DrawFn) -> Update:
    status = draw(st.sampled_from(Status))
    incarnation = draw(st.integers(1, limits.INCARNATION_MAX))
    details = None
    if status is Status.ALIVE or draw(st.booleans()):
        said = incarnation if status is Status.ALIVE else draw(st.integers(1, incarnation))
        metadata = draw(st.binary(max_size=limits.METADATA_BYTES_MAX))
        details = Details(draw(LONG), draw(ADDRESSES), metadata, said)
    return Update(draw(NAMES), status, incarnation, details, draw(st.just("") | NAMES))


@given(MESSAGES, st.lists(updates(), max_size=6))
def test_what_is_said_comes_out_again(message: Message, said: list[Update]) -> None:
    pieces = [encode_update(update) for update in said]
    assert all(len(piece) <= limits.UPDATE_BYTES_MAX for piece in pieces)
    data = encode(message, pieces)
    assert len(data) - sum(map(len, pieces)) <= limits.MESSAGE_BYTES_MAX
    assert decode(data) == (message, said)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        message, said = decode(data)
    except Malformed:
        return
    assert decode(encode(message, map(encode_update, said))) == (message, said)


@settings(max_examples=200)
@given(st.data())
def test_damaged_messages_are_read_or_malformed(data: st.DataObject) -> None:
    whole = encode(data.draw(MESSAGES), [encode_update(data.draw(updates())) for _ in range(2)])
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from(
            [whole[:at], whole[:at] + whole[at + 1 :], whole[:at] + data.draw(st.binary(max_size=3)) + whole[at:]]
        )
    )
    try:
        decode(damaged)
    except Malformed:
        pass


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "nothing"),
        (b"\x63\x01a", "unknown kind"),
        (b"\x05\x05ab", "cut short"),
        (b"\x05\x00", "name"),
        (b"\x05\x01\n", "printable"),
        (b"\x05\x01\xff", "utf-8"),
        (b"\x08\x01a\x02", "flag"),
        (b"\x05\x01a" + b"\xff" * 10, "endless"),
        (b"\x05\x01a\xff\x7f", "an update of"),
        (b"\x05\x01a\x04\x01\x00\x01b", "incarnation 0"),
        (b"\x05\x01a\x04\x00\x01\x01b", "does not say where"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decode(data)


@pytest.mark.parametrize(
    ("details", "why"),
    [
        (b"\x01" + bytes(8) + b"\x04\x7f\0\0\x01\0\x01\0\0", "first incarnation"),
        (b"\x00" + bytes(8) + b"\x05\x7f\0\0\x01\0\x01\0\0", "family"),
        (b"\x00" + bytes(8) + b"\x04\x7f\0\0\x01\0\0\0\0", "port 0"),
        (b"\x00" + bytes(8) + b"\x04\x7f\0\0\x01\0\x01\xff\xff", "metadata of"),
    ],
)
def test_what_is_wrong_with_details_is_said(details: bytes, why: str) -> None:
    body = b"\x05\x01\x01b" + details
    with pytest.raises(Malformed, match=why):
        decode(b"\x05\x01a" + bytes((len(body),)) + body)


def test_an_update_of_a_later_version_may_say_more() -> None:
    body = b"\x01\x07\x01b" + b"and more"
    _, said = decode(b"\x05\x01a" + bytes((len(body),)) + body)
    assert said == [Update("b", Status.SUSPECT, 7)]


def test_too_many_updates_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_MAX", 3)
    piece = encode_update(Update("b", Status.SUSPECT, 7))
    assert len(decode(encode(Gossip("a"), [piece] * 3))[1]) == 3
    with pytest.raises(Malformed, match="more than 3"):
        decode(encode(Gossip("a"), [piece] * 4))


def test_a_ping_is_small() -> None:
    assert len(encode(Ping(1, "kv-1", "kv-2"))) == 15


@pytest.mark.parametrize("name", ["", " a", "a ", "a\n", "a\x00", "\u202e", "x" * 129, "é" * 65])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match="a name must"):
        check_name(name)
