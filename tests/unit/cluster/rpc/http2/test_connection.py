"""The HTTP/2 state machine as a whole.

Goal: whatever a peer sends, no exception escapes and memory stays bounded; and two of our own, however their bytes are
cut, deliver everything in order. Which violation gets which code is in `test_messages.py` and `test_control.py`.
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.rpc.http2 import Connection, ErrorCode, Limits, LocalFault, frames
from cluster.rpc.http2.events import DataReceived, HeadersReceived
from tests.unit.cluster.rpc.http2.wire import (
    REQUEST,
    RESPONSE,
    TRAILERS,
    assert_ends_the_connection,
    cut,
    exchange,
    failure,
    frame,
    headers,
    pair,
    stream_of,
)

# ---- a call


def test_a_call_there_and_back() -> None:
    client, peer = pair()
    stream = client.open(REQUEST)
    client.send_data(stream, b"ping", ends=True)
    _, events = exchange(client, peer)
    assert [type(event) for event in events] == [HeadersReceived, DataReceived]
    theirs = stream_of(events)
    assert events[1].data == b"ping"  # type: ignore[attr-defined]
    peer.send_reply(theirs, RESPONSE, b"12345", b"pong", TRAILERS)
    events, _ = exchange(client, peer)
    assert [type(event) for event in events] == [HeadersReceived, DataReceived, HeadersReceived]
    assert events[1].data == b"12345pong"  # type: ignore[attr-defined]
    assert events[2].ended  # type: ignore[attr-defined]
    assert not client.streams
    assert not peer.streams


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 150_000), min_size=1, max_size=3),
    st.lists(st.integers(1, 30) | st.integers(1, 100_000), max_size=50),
)
def test_bytes_cut_anywhere_arrive_whole_and_in_order(sizes: list[int], cuts: list[int]) -> None:
    """Streams of any sizes, over small windows, cut at any place: each delivers what was sent, in order."""
    limits = Limits(stream_window_bytes=65_535, connection_window_bytes=65_535)
    client, peer = pair(limits)
    expected: dict[int, bytes] = {}
    for index, size in enumerate(sizes):
        stream = client.open(REQUEST)
        body = bytes([65 + index]) * size
        expected[stream.id] = body
        client.send_data(stream, body[: size // 3])
        client.send_data(stream, body[size // 3 :], ends=True)
    received: dict[int, bytearray] = {number: bytearray() for number in expected}
    ended: set[int] = set()
    pending = b""
    # Again and again, with all that is left at the end of each round.
    for step in itertools.cycle([*cuts, 1 << 20]):
        pending += client.take_output()
        if not pending:
            break
        events = peer.receive(pending[:step], 0.0)
        pending = pending[step:]
        for event in events:
            if isinstance(event, DataReceived):
                received[event.stream.id] += event.data
                if event.credit:
                    peer.consume(event.stream, event.credit)
                if event.ended:
                    ended.add(event.stream.id)
        assert failure(client.receive(peer.take_output(), 0.0)) is None
    assert {number: bytes(body) for number, body in received.items()} == expected
    assert ended == set(expected)
    assert peer.unconsumed == 0


# ---- any bytes


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=10), st.booleans())
def test_no_bytes_raise(chunks: list[bytes], handshake: bool) -> None:
    for client in (False, True):
        connection = Connection(Limits(), client=client)
        connection.start()
        if handshake:
            connection.receive((b"" if client else frames.PREFACE) + frames.settings_frame({}), 0.0)
        for chunk in chunks:
            connection.receive(chunk, 0.0)


fuzzed_frame = st.builds(
    frame,
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 9, 12, 13, 0x20, 0x24, 0x25, 0x2D]),
    st.integers(0, 9),
    st.binary(max_size=40)
    | st.sampled_from([REQUEST, RESPONSE, TRAILERS, b"\0" * 4, b"\0" * 8, b"\x7f" + b"\xff" * 3]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(fuzzed_frame, max_size=30), st.booleans())
def test_no_frames_raise_and_what_is_kept_is_bounded(sequence: list[bytes], as_client: bool) -> None:
    connection = Connection(Limits(), client=as_client)
    connection.start()
    if as_client:
        connection.receive(frames.settings_frame({}), 0.0)
        for _ in range(3):
            connection.open(REQUEST)
    else:
        connection.receive(frames.PREFACE + frames.settings_frame({}), 0.0)
    for each in sequence:
        events = connection.receive(each, 0.0)
        for event in events:
            if isinstance(event, HeadersReceived) and not as_client and not event.stream.closed:
                connection.send_headers(event.stream, RESPONSE)
            if isinstance(event, DataReceived):
                connection.consume(event.stream, event.credit)
    assert connection.unconsumed >= 0
    assert len(connection.streams) <= 15
    if connection.failed:
        last = [
            entry for entry in cut(connection.take_output().removeprefix(frames.PREFACE)) if entry[0] == frames.GOAWAY
        ]
        assert last, "a failed connection says why"
        assert not connection.streams


# ---- the beginning


def test_the_preface_is_checked_byte_by_byte() -> None:
    connection = Connection(Limits(), client=False)
    connection.start()
    for byte in frames.PREFACE[:10]:
        assert connection.receive(bytes([byte]), 0.0) == []
    assert failure(connection.receive(b"X", 0.0)) is ErrorCode.PROTOCOL_ERROR


def test_the_first_frame_must_be_settings() -> None:
    connection = Connection(Limits(), client=False)
    connection.start()
    assert failure(connection.receive(frames.PREFACE + headers(1), 0.0)) is ErrorCode.PROTOCOL_ERROR


def test_a_frame_longer_than_was_agreed_ends_the_connection() -> None:
    assert_ends_the_connection(frames.frame_header(16_385, frames.DATA, 0, 1), ErrorCode.FRAME_SIZE_ERROR)


# ---- a client's streams


def test_a_client_keeps_to_the_servers_stream_limit() -> None:
    client, peer = pair(Limits(streams_max=2))
    first = client.open(REQUEST)
    client.open(REQUEST)
    with pytest.raises(LocalFault):
        client.open(REQUEST)
    client.reset(first, ErrorCode.CANCEL)
    assert client.can_open
    exchange(client, peer)
    assert len(peer.streams) == 1
