"""Header blocks and data that come in: what is wrong with them gets the right code, and costs no more than it must."""

import struct

import pytest

from cluster.rpc.http2 import ErrorCode, Limits, encode_headers, frames
from cluster.rpc.http2.events import HeadersReceived
from tests.unit.cluster.rpc.http2.wire import (
    REQUEST,
    RESPONSE,
    TRAILERS,
    assert_ends_the_connection,
    assert_resets_the_stream,
    failure,
    flood,
    frame,
    headers,
    pair,
    sent,
    server,
    stream_of,
)

OVER = frame(frames.DATA, 0, 1, b"x" * 16_384)


# ---- violations, each with its code (RFC 9113)


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
    ],
)
def test_a_broken_connection_ends_with_the_right_code(data: bytes, code: ErrorCode) -> None:
    assert_ends_the_connection(data, code)


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
        (headers(1) + OVER * 17, ErrorCode.FLOW_CONTROL_ERROR),
    ],
)
def test_a_broken_stream_is_reset_and_the_connection_lives(data: bytes, code: ErrorCode) -> None:
    assert_resets_the_stream(data, code)


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


def test_informational_responses_are_passed_over() -> None:
    client, _ = pair()
    stream = client.open(REQUEST, ends=True)
    events = client.receive(headers(1, encode_headers([(b":status", b"103")])) + headers(1, RESPONSE, ends=True), 0.0)
    assert [type(event) for event in events] == [HeadersReceived]
    assert stream.closed


def test_an_early_response_resets_the_request_without_error() -> None:
    connection = server()
    stream = stream_of(connection.receive(headers(1), 0.0))
    connection.take_output()
    connection.send_headers(stream, TRAILERS, ends=True)
    kinds = sent(connection)
    assert [entry[0] for entry in kinds] == [frames.HEADERS, frames.RST_STREAM]
    assert kinds[1][3] == b"\0\0\0\0"
    assert failure(connection.receive(frame(frames.DATA, 1, 1, b"late"), 0.0)) is None


# ---- floods: each ends the connection while what is kept stays flat


def test_empty_data_is_counted() -> None:
    connection = server()
    connection.receive(headers(1), 0.0)
    assert flood(connection, frame(frames.DATA, 0, 1), 20_000) is ErrorCode.ENHANCE_YOUR_CALM


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
