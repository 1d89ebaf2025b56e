"""The HTTP/2 state machine.

Goal: whatever a peer sends, no exception escapes, memory stays bounded, and each violation gets the right error
code; and two of our own, however their bytes are cut, deliver everything in order.
"""

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.rpc.http2 import Allowance, Connection, ErrorCode, Limits, LocalFault, Stream, encode_headers, frames
from cluster.rpc.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PingAcknowledged,
    SettingsReceived,
    StreamEnded,
)

REQUEST = encode_headers(
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"x"), (b"te", b"trailers")]
)
RESPONSE = encode_headers([(b":status", b"200")])
TRAILERS = encode_headers([(b"grpc-status", b"0")])


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return frames.frame_header(len(payload), kind, flags, stream_id) + payload


def headers(stream_id: int, block: bytes = REQUEST, *, ends: bool = False) -> bytes:
    return frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if ends else 0), stream_id, block)


def server(limits: Limits | None = None) -> Connection:
    """A server that has had its handshake, with empty output."""
    connection = Connection(limits or Limits(), client=False)
    connection.start()
    connection.receive(frames.PREFACE + frames.settings_frame({}), 0.0)
    connection.take_output()
    return connection


def sent(connection: Connection) -> list[tuple[int, int, int, bytes]]:
    """The frames in the output: kind, flags, stream, payload."""
    return list(cut(connection.take_output()))


def cut(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at < len(data):
        high, low, kind, flags, stream_id = struct.unpack_from(">HBBBI", data, at)
        length = high << 8 | low
        yield kind, flags, stream_id, data[at + 9 : at + 9 + length]
        at += 9 + length


def pair(limits: Limits | None = None) -> tuple[Connection, Connection]:
    client = Connection(limits or Limits(), client=True)
    peer = Connection(limits or Limits(), client=False)
    client.start()
    peer.start()
    exchange(client, peer)
    return client, peer


def exchange(client: Connection, peer: Connection) -> tuple[list[Event], list[Event]]:
    """Carries bytes both ways until nothing moves. Returns the client's and the server's events."""
    at_client: list[Event] = []
    at_server: list[Event] = []
    while True:
        out = client.take_output()
        back = peer.take_output()
        if not out and not back:
            return at_client, at_server
        if out:
            at_server += peer.receive(out, 0.0)
        if back:
            at_client += client.receive(back, 0.0)


def failure(events: list[Event]) -> ErrorCode | None:
    for event in events:
        if isinstance(event, ConnectionFailed):
            return event.code
    return None


def stream_of(events: list[Event]) -> Stream:
    event = events[0]
    assert isinstance(event, HeadersReceived)
    return event.stream


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


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bytes_cut_anywhere_arrive_whole_and_in_order(data: st.DataObject) -> None:
    """Streams of any sizes, over small windows, cut at any place: each delivers what was sent, in order."""
    limits = Limits(stream_window_bytes=65_535, connection_window_bytes=65_535)
    client, peer = pair(limits)
    sizes = data.draw(st.lists(st.integers(0, 200_000), min_size=1, max_size=4))
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
    for _ in range(10_000):
        pending += client.take_output()
        if not pending:
            break
        step = data.draw(st.integers(1, max(1, len(pending))))
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


# ---- violations, each with its code (RFC 9113)

OVER = frame(frames.DATA, 0, 1, b"x" * 16_384)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(frames.DATA, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.DATA, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
        (headers(0), ErrorCode.PROTOCOL_ERROR),
        (headers(2), ErrorCode.PROTOCOL_ERROR),
        (headers(3, ends=True) + headers(1), ErrorCode.STREAM_CLOSED),
        (headers(1) + frame(frames.DATA, frames.PADDED, 1, b"\x05ab"), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.HEADERS, frames.PADDED | frames.END_HEADERS, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.HEADERS, 0, 1, REQUEST) + headers(3), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.HEADERS, 0, 1, REQUEST) + frame(frames.CONTINUATION, 4, 3), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.CONTINUATION, 4, 1), ErrorCode.PROTOCOL_ERROR),
        (headers(1, b"\x80"), ErrorCode.COMPRESSION_ERROR),
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
        (frames.frame_header(16_385, frames.DATA, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_a_broken_connection_ends_with_the_right_code(data: bytes, code: ErrorCode) -> None:
    connection = server()
    events = connection.receive(data, 0.0)
    assert failure(events) is code
    kind, _, _, payload = sent(connection)[-1]
    assert kind == frames.GOAWAY
    assert struct.unpack_from(">II", payload)[1] == code
    assert connection.receive(headers(9), 0.0) == []


def malformed(*fields: tuple[bytes, bytes]) -> bytes:
    base = {b":method": b"POST", b":scheme": b"http", b":path": b"/"}
    return encode_headers([*base.items(), *fields])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (headers(1, ends=True) + frame(frames.DATA, 0, 1, b"x"), ErrorCode.STREAM_CLOSED),
        (headers(1, ends=True) + headers(1), ErrorCode.STREAM_CLOSED),
        (headers(1) + headers(1, TRAILERS), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + headers(1, RESPONSE, ends=True), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b"Upper", b"x"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b"a b", b"x"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b"a", b"x\ny"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b"connection", b"close"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b"te", b"gzip"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b"a", b"x"), (b":path", b"/"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b":path", b"/"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b":status", b"200"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b"content-length", b"x"))), ErrorCode.PROTOCOL_ERROR),
        (headers(1, malformed((b"content-length", b"1")), ends=True), ErrorCode.PROTOCOL_ERROR),
        (headers(1, encode_headers([(b":method", b"POST"), (b":scheme", b"http")])), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + frame(frames.WINDOW_UPDATE, 0, 1, b"\0" * 4), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + frame(frames.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\0"), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + frame(frames.PRIORITY, 0, 1, b"\0\0\0"), ErrorCode.FRAME_SIZE_ERROR),
        (headers(1) + OVER * 17, ErrorCode.FLOW_CONTROL_ERROR),
    ],
)
def test_a_broken_stream_is_reset_and_the_connection_lives(data: bytes, code: ErrorCode) -> None:
    connection = server()
    events = connection.receive(data, 0.0)
    assert failure(events) is None
    resets = [entry for entry in sent(connection) if entry[0] == frames.RST_STREAM]
    _, _, stream_id, payload = resets[0]
    assert (stream_id, struct.unpack(">I", payload)[0]) == (1, code)
    assert not connection.streams
    events = connection.receive(headers(3, ends=True), 0.0)
    assert stream_of(events).id == 3


def test_a_list_that_is_too_long_loses_its_stream_only() -> None:
    connection = server()
    block = malformed(*[(b"a", b"x" * 5_000)] * 14)
    pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    data = frame(frames.HEADERS, 0, 1, pieces[0])
    for piece in pieces[1:]:
        data += frame(frames.CONTINUATION, frames.END_HEADERS if piece is pieces[-1] else 0, 1, piece)
    events = connection.receive(data, 0.0)
    assert failure(events) is None
    kind, _, _, payload = sent(connection)[-1]
    assert (kind, struct.unpack(">I", payload)[0]) == (frames.RST_STREAM, ErrorCode.ENHANCE_YOUR_CALM)


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


# ---- floods: each ends the connection while what is kept stays flat


def flood(connection: Connection, unit: bytes, count: int) -> ErrorCode | None:
    for _ in range(count):
        code = failure(connection.receive(unit, 0.0))
        connection.take_output()
        if code is not None:
            return code
    return None


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


def test_empty_data_is_counted() -> None:
    connection = server()
    connection.receive(headers(1), 0.0)
    assert flood(connection, frame(frames.DATA, 0, 1), 20_000) is ErrorCode.ENHANCE_YOUR_CALM


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


def test_continuation_without_end() -> None:
    for piece in (b"", b"x" * 10_000):
        connection = server()
        connection.receive(frame(frames.HEADERS, 0, 1, REQUEST), 0.0)
        assert flood(connection, frame(frames.CONTINUATION, 0, 1, piece), 100) is ErrorCode.ENHANCE_YOUR_CALM


def test_streams_above_the_limit_are_refused() -> None:
    connection = server(Limits(streams_max=2))
    for number in (1, 3, 5):
        connection.receive(headers(number), 0.0)
    kind, _, stream_id, payload = sent(connection)[-1]
    assert (kind, stream_id, struct.unpack(">I", payload)[0]) == (frames.RST_STREAM, 5, ErrorCode.REFUSED_STREAM)
    assert len(connection.streams) == 2


def test_a_peer_that_does_not_read_its_acknowledgements() -> None:
    connection = server()
    connection.block()
    code = None
    for _ in range(2_000):
        code = code or failure(connection.receive(frames.ping_frame(b"12345678", acknowledge=False), 0.0))
    assert code is ErrorCode.ENHANCE_YOUR_CALM
    assert sum(map(len, connection.out)) < 100_000


# ---- the rest


def test_an_early_response_resets_the_request_without_error() -> None:
    connection = server()
    stream = stream_of(connection.receive(headers(1), 0.0))
    connection.take_output()
    connection.send_headers(stream, TRAILERS, ends=True)
    kinds = sent(connection)
    assert [entry[0] for entry in kinds] == [frames.HEADERS, frames.RST_STREAM]
    assert kinds[1][3] == b"\0\0\0\0"
    assert failure(connection.receive(frame(frames.DATA, 1, 1, b"late"), 0.0)) is None


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


def test_a_request_that_never_went_out_is_not_reset_on_the_wire() -> None:
    client, peer = pair()
    client.block()
    stream = client.open(REQUEST)
    client.reset(stream, ErrorCode.CANCEL)
    client.unblock()
    second = client.open(REQUEST, ends=True)
    _, events = exchange(client, peer)
    assert failure(events) is None
    assert stream_of(events).id == second.id


def test_ping_and_its_answer() -> None:
    client, peer = pair()
    client.ping(b"12345678")
    events, _ = exchange(client, peer)
    assert [event.opaque for event in events if isinstance(event, PingAcknowledged)] == [b"12345678"]


def test_our_first_block_says_that_our_encoder_keeps_no_table() -> None:
    client = Connection(Limits(), client=True)
    client.start()
    client.take_output()
    client.open(REQUEST)
    client.open(REQUEST)
    blocks = [payload for kind, _, _, payload in sent(client) if kind == frames.HEADERS]
    assert blocks == [b"\x20" + REQUEST, REQUEST]


def test_long_header_blocks_are_continued() -> None:
    client, peer = pair()
    block = encode_headers([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"a", b"x" * 40_000)])
    client.open(block, ends=True)
    _, events = exchange(client, peer)
    assert stream_of(events).id == 1
    assert events[0].block.fields[-1] == (b"a", b"x" * 40_000)  # type: ignore[attr-defined]


def test_sending_after_the_end_is_our_own_fault() -> None:
    client, _ = pair()
    stream = client.open(REQUEST, ends=True)
    with pytest.raises(LocalFault):
        client.send_data(stream, b"x")


def test_settings_are_acknowledged_and_reported() -> None:
    connection = server()
    events = connection.receive(frames.settings_frame({3: 7, 99: 1}), 0.0)
    assert [type(event) for event in events] == [SettingsReceived]
    assert connection.peer.streams_max == 7
    assert connection.take_output() == frames.SETTINGS_ACK


def test_informational_responses_are_passed_over() -> None:
    client, _ = pair()
    stream = client.open(REQUEST, ends=True)
    events = client.receive(headers(1, encode_headers([(b":status", b"103")])) + headers(1, RESPONSE, ends=True), 0.0)
    assert [type(event) for event in events] == [HeadersReceived]
    assert stream.closed
