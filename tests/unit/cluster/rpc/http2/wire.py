"""What the tests of a connection say on its wire, and how they read what it answers."""

import struct
from collections.abc import Iterator

from cluster.rpc.http2 import Connection, ErrorCode, Limits, Stream, encode_headers, frames
from cluster.rpc.http2.events import ConnectionFailed, Event, HeadersReceived

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


def failure(events: list[Event]) -> ErrorCode | None:
    for event in events:
        if isinstance(event, ConnectionFailed):
            return event.code
    return None


def stream_of(events: list[Event]) -> Stream:
    event = events[0]
    assert isinstance(event, HeadersReceived)
    return event.stream


def flood(connection: Connection, unit: bytes, count: int) -> ErrorCode | None:
    for _ in range(count):
        code = failure(connection.receive(unit, 0.0))
        connection.take_output()
        if code is not None:
            return code
    return None


def assert_ends_the_connection(data: bytes, code: ErrorCode) -> None:
    """The server says why, and hears nothing more."""
    connection = server()
    events = connection.receive(data, 0.0)
    assert failure(events) is code
    kind, _, _, payload = sent(connection)[-1]
    assert kind == frames.GOAWAY
    assert struct.unpack_from(">II", payload)[1] == code
    assert connection.receive(headers(9), 0.0) == []


def assert_resets_the_stream(data: bytes, code: ErrorCode) -> None:
    """Stream 1 is reset, and the connection lives."""
    connection = server()
    events = connection.receive(data, 0.0)
    assert failure(events) is None
    resets = [entry for entry in sent(connection) if entry[0] == frames.RST_STREAM]
    _, _, stream_id, payload = resets[0]
    assert (stream_id, struct.unpack(">I", payload)[0]) == (1, code)
    assert not connection.streams
    events = connection.receive(headers(3, ends=True), 0.0)
    assert stream_of(events).id == 3
