"""What is around a message: another cluster's, damaged, unsealed, or of another version is not opened."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.membership.envelope import Channel, Envelope, Refusal, Refused
from cluster.membership.keyring import KeyRing
from runtime.sim import SeededRandomness


def ring(key: bytes = b"k" * 16) -> KeyRing:
    return KeyRing((key,), SeededRandomness(random.Random(1)))


def refusal(envelope: Envelope, data: bytes, channel: Channel = Channel.DATAGRAM) -> Refusal:
    with pytest.raises(Refused) as caught:
        envelope.unwrap(data, channel)
    return caught.value.reason


@pytest.mark.parametrize("sealed", [False, True])
def test_what_is_wrapped_is_unwrapped(sealed: bool) -> None:
    envelope = Envelope("here", ring() if sealed else None)
    for channel in Channel:
        data = envelope.wrap(b"message", channel)
        assert len(data) == len(b"message") + envelope.overhead_bytes
        assert envelope.unwrap(data, channel) == b"message"


def test_nothing_else_is_opened() -> None:
    plain, sealed = Envelope("here"), Envelope("here", ring())
    data = plain.wrap(b"message", Channel.DATAGRAM)
    assert refusal(plain, b"") is Refusal.SHORT
    assert refusal(plain, b"\x02" + data[1:]) is Refusal.VERSION
    assert refusal(plain, data[:-1] + b"x") is Refusal.CHECKSUM
    assert refusal(Envelope("there"), data) is Refusal.CHECKSUM
    assert refusal(plain, data, Channel.STREAM) is Refusal.CHECKSUM
    assert refusal(sealed, data) is Refusal.UNSEALED
    secret = sealed.wrap(b"message", Channel.DATAGRAM)
    assert refusal(plain, secret) is Refusal.KEY
    assert refusal(Envelope("there", ring()), secret) is Refusal.KEY
    assert refusal(sealed, secret, Channel.STREAM) is Refusal.KEY
    assert refusal(Envelope("here", ring(b"x" * 16)), secret) is Refusal.KEY
    assert refusal(sealed, secret[:9]) is Refusal.KEY


def test_keys_come_to_a_running_cluster_in_three_steps() -> None:
    steps = [
        Envelope("here"),
        Envelope("here", ring(), seal_outgoing=False, refuse_unsealed=False),
        Envelope("here", ring(), refuse_unsealed=False),
        Envelope("here", ring()),
    ]
    for one, other in itertools.pairwise(steps):
        for source, target in ((one, other), (other, one)):
            assert target.unwrap(source.wrap(b"x", Channel.DATAGRAM), Channel.DATAGRAM) == b"x"


@given(st.binary(max_size=80), st.booleans(), st.sampled_from(Channel))
def test_any_bytes_are_refused_and_nothing_else_happens(data: bytes, sealed: bool, channel: Channel) -> None:
    envelope = Envelope("here", ring() if sealed else None)
    for start in (b"", b"\x01\x00", b"\x01\x01"):
        try:
            envelope.unwrap(start + data, channel)
        except Refused:
            pass


def test_a_label_is_bounded() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        Envelope("é" * 33)
