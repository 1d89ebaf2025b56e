"""Sending: windows, fairness between streams, and what waits while the transport is full."""

import struct

import pytest

from cluster.rpc.http2 import Connection, ErrorCode, Limits, LocalFault, encode_headers, frames
from cluster.rpc.http2.events import DataReceived, StreamDrained
from tests.unit.cluster.rpc.http2.wire import (
    REQUEST,
    RESPONSE,
    TRAILERS,
    exchange,
    failure,
    frame,
    headers,
    pair,
    sent,
    server,
    stream_of,
)

OVER = frame(frames.DATA, 0, 1, b"x" * 16_384)


def test_a_reply_waits_for_the_window_and_streams_take_turns() -> None:
    connection = server()
    connection.receive(frames.settings_frame({4: 10}), 0.0)
    streams = [stream_of(connection.receive(headers(number, ends=True), 0.0)) for number in (1, 3)]
    connection.take_output()
    for stream in streams:
        connection.send_reply(stream, RESPONSE, b"12345", b"x" * 20, TRAILERS)
    assert [entry[:3:2] for entry in sent(connection)] == [(1, 1), (0, 1), (1, 3), (0, 3)]
    connection.receive(frames.window_update_frame(3, 100), 0.0)
    assert [(kind, stream_id, len(payload)) for kind, _, stream_id, payload in sent(connection)] == [
        (frames.DATA, 3, 15),
        (frames.HEADERS, 3, len(TRAILERS)),
    ]
    assert list(connection.streams) == [1]


def test_the_connections_window_is_shared_fairly() -> None:
    connection = server()
    connection.receive(frames.settings_frame({4: 1 << 20}), 0.0)
    streams = [stream_of(connection.receive(headers(number, ends=True), 0.0)) for number in (1, 3, 5)]
    connection.take_output()
    for stream in streams:
        connection.send_headers(stream, RESPONSE)
        connection.send_data(stream, b"x" * 100_000)
    sent(connection)
    connection.receive(frames.window_update_frame(0, 16_384 * 3), 0.0)
    turns = [stream_id for kind, _, stream_id, _ in sent(connection) if kind == frames.DATA]
    assert set(turns) == {1, 3, 5}


def test_a_lowered_initial_window_may_go_negative_and_recovers() -> None:
    connection = server()
    connection.receive(frames.settings_frame({4: 1000}), 0.0)
    stream = stream_of(connection.receive(headers(1, ends=True), 0.0))
    connection.send_headers(stream, RESPONSE)
    connection.send_data(stream, b"x" * 800)
    connection.receive(frames.settings_frame({4: 100}), 0.0)
    assert stream.send_window == -700
    connection.take_output()
    connection.send_data(stream, b"y" * 50)
    assert not [entry for entry in sent(connection) if entry[0] == frames.DATA]
    connection.receive(frames.window_update_frame(1, 750), 0.0)
    assert [payload for kind, _, _, payload in sent(connection) if kind == frames.DATA] == [b"y" * 50]


def test_nothing_of_a_stream_goes_out_while_the_transport_is_full() -> None:
    connection = server(Limits(streams_max=2))
    streams = [stream_of(connection.receive(headers(number, ends=True), 0.0)) for number in (1, 3)]
    connection.take_output()
    connection.block()
    for stream in streams:
        connection.send_reply(stream, RESPONSE, b"", b"x" * 100, TRAILERS)
    assert connection.out == []
    assert len(connection.streams) == 2, "the peer cannot open more while its replies wait"
    connection.receive(headers(5, ends=True), 0.0)
    assert [entry[0] for entry in sent(connection)] == [frames.RST_STREAM]
    connection.unblock()
    assert [entry[0] for entry in sent(connection)] == [1, 0, 1, 0, 1, 1]
    assert not connection.streams


def test_a_writer_is_told_when_its_queue_is_low() -> None:
    connection = server()
    stream = stream_of(connection.receive(headers(1, ends=True), 0.0))
    connection.send_headers(stream, RESPONSE)
    connection.send_data(stream, b"x" * 200_000)
    assert stream.queued_bytes == 200_000 - 65_535
    events = connection.receive(frames.window_update_frame(0, 200_000) + frames.window_update_frame(1, 200_000), 0.0)
    assert [type(event) for event in events] == [StreamDrained]
    assert stream.queued_bytes == 0


def test_unconsumed_data_keeps_the_windows_shut() -> None:
    limits = Limits(stream_window_bytes=100_000, connection_window_bytes=100_000, unconsumed_bytes_max=40_000)
    connection = server(limits)
    events = connection.receive(headers(1) + frame(frames.DATA, 0, 1, b"x" * 16_000) * 4, 0.0)
    assert not sent(connection)
    assert connection.unconsumed == 64_000
    data = [event for event in events if isinstance(event, DataReceived)]
    for event in data:
        connection.consume(event.stream, event.credit)
    updates = {stream_id: struct.unpack(">I", payload)[0] for _, _, stream_id, payload in sent(connection)}
    assert updates == {0: 64_000, 1: 64_000}


def test_more_than_the_connections_window_ends_it() -> None:
    connection = server(Limits(connection_window_bytes=65_535, unconsumed_bytes_max=0))
    events = connection.receive(headers(1) + headers(3) + OVER * 2 + frame(frames.DATA, 0, 3, b"x" * 16_384) * 2, 0.0)
    assert failure(events) is ErrorCode.FLOW_CONTROL_ERROR


def test_data_on_a_stream_that_we_reset_still_counts_for_the_connection() -> None:
    connection = server(Limits(connection_window_bytes=65_535))
    stream = stream_of(connection.receive(headers(1), 0.0))
    connection.reset(stream, ErrorCode.CANCEL)
    connection.take_output()
    for _ in range(20):
        assert failure(connection.receive(OVER, 0.0)) is None
    increments = [struct.unpack(">I", payload)[0] for kind, _, _, payload in sent(connection) if kind == 8]
    assert sum(increments) >= 20 * 16_384 - 65_535


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
