"""Frames that carry no message: what is wrong with them gets the right code, and who sends too many is cut off."""

import pytest

from cluster.rpc.http2 import Allowance, ErrorCode, Limits, LocalFault, frames
from cluster.rpc.http2.events import GoAwayReceived, PingAcknowledged, SettingsReceived, StreamEnded
from tests.unit.cluster.rpc.http2.wire import (
    REQUEST,
    RESPONSE,
    TRAILERS,
    assert_ends_the_connection,
    assert_resets_the_stream,
    exchange,
    failure,
    flood,
    frame,
    headers,
    pair,
    server,
    stream_of,
)

# ---- violations, each with its code (RFC 9113)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(frames.RST_STREAM, 0, 1, b"\0\0\0\0"), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + frame(frames.RST_STREAM, 0, 1, b"\0\0\0"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.SETTINGS, 0, 0, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(frames.SETTINGS, 1, 0, b"123456"), ErrorCode.FRAME_SIZE_ERROR),
        (frames.settings_frame({2: 2}), ErrorCode.PROTOCOL_ERROR),
        (frames.settings_frame({4: 1 << 31}), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.settings_frame({5: 16_383}), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2"), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.PING, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(frames.PING, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.GOAWAY, 0, 1, b"\0" * 8), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.GOAWAY, 0, 0, b"\0" * 7), ErrorCode.FRAME_SIZE_ERROR),
        (frame(frames.WINDOW_UPDATE, 0, 0, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\1"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_a_broken_connection_ends_with_the_right_code(data: bytes, code: ErrorCode) -> None:
    assert_ends_the_connection(data, code)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (headers(1) + frame(frames.WINDOW_UPDATE, 0, 1, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + frame(frames.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\0"), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + frame(frames.PRIORITY, 0, 1, b"\0\0\0"), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_a_broken_stream_is_reset_and_the_connection_lives(data: bytes, code: ErrorCode) -> None:
    assert_resets_the_stream(data, code)


# ---- floods: each ends the connection while what is kept stays flat


@pytest.mark.parametrize(
    "unit",
    [
        frames.settings_frame({}),
        frames.settings_frame({4: 70_000}),
        frames.ping_frame(b"12345678", acknowledge=False),
        frame(frames.PRIORITY, 0, 1, b"\0\0\0\3\0"),
        frame(99, 0, 0, b"what"),
        frame(frames.SETTINGS, frames.ACK, 0),
        frames.window_update_frame(0, 1),
    ],
)
def test_frames_that_carry_nothing_are_counted(unit: bytes) -> None:
    assert flood(server(), unit, 20_000) is ErrorCode.ENHANCE_YOUR_CALM


def test_useful_work_pays_for_pings() -> None:
    """grpcio gives windows back twice for each answer, grpc-go pings after each burst: neither is to be cut off."""
    connection = server(Limits(idle_work=Allowance(burst=10, rate_per_s=0.0)))
    number = 1
    for _ in range(200):
        stream = stream_of(connection.receive(headers(number, ends=True), 0.0))
        connection.send_reply(stream, RESPONSE, b"", b"data", TRAILERS)
        nothing = frames.ping_frame(b"12345678", acknowledge=False) + 2 * frames.window_update_frame(0, 9)
        assert failure(connection.receive(nothing, 0.0)) is None
        number += 2


def test_rapid_reset() -> None:
    connection = server()
    number = 1
    for _ in range(5_000):
        events = connection.receive(headers(number) + frames.reset_frame(number, ErrorCode.CANCEL), 0.0)
        connection.take_output()
        assert len(connection.streams) <= 1
        if failure(events) is not None:
            assert failure(events) is ErrorCode.ENHANCE_YOUR_CALM
            return
        number += 2
    pytest.fail("rapid resets were not noticed")


def test_resets_provoked_from_us_count_too() -> None:
    """MadeYouReset: the peer makes us reset its streams."""
    connection = server()
    number = 1
    for _ in range(5_000):
        events = connection.receive(headers(number) + frame(frames.WINDOW_UPDATE, 0, number, b"\0" * 4), 0.0)
        connection.take_output()
        if failure(events) is not None:
            assert failure(events) is ErrorCode.ENHANCE_YOUR_CALM
            return
        number += 2
    pytest.fail("provoked resets were not noticed")


def test_a_peer_that_does_not_read_its_acknowledgements() -> None:
    connection = server()
    connection.block()
    code = None
    for _ in range(2_000):
        code = code or failure(connection.receive(frames.ping_frame(b"12345678", acknowledge=False), 0.0))
    assert code is ErrorCode.ENHANCE_YOUR_CALM
    assert sum(map(len, connection.out)) < 100_000


# ---- what they do


def test_settings_are_acknowledged_and_reported() -> None:
    connection = server()
    events = connection.receive(frames.settings_frame({3: 7, 99: 1}), 0.0)
    assert [type(event) for event in events] == [SettingsReceived]
    assert connection.peer.streams_max == 7
    assert connection.take_output() == frames.SETTINGS_ACK


def test_ping_and_its_answer() -> None:
    client, peer = pair()
    client.ping(b"12345678")
    events, _ = exchange(client, peer)
    assert [event.opaque for event in events if isinstance(event, PingAcknowledged)] == [b"12345678"]


def test_goaway_refuses_what_was_not_processed() -> None:
    client, _ = pair()
    streams = [client.open(REQUEST, ends=True) for _ in range(3)]
    events = client.receive(frames.goaway_frame(1, 0, b"bye"), 0.0)
    ended = [event for event in events if isinstance(event, StreamEnded)]
    assert [event.stream for event in ended] == streams[1:]
    assert all(event.unprocessed for event in ended)
    assert isinstance(events[-1], GoAwayReceived)
    assert not client.can_open
    with pytest.raises(LocalFault):
        client.open(REQUEST)
