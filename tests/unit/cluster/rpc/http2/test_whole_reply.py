"""A response that is read in one piece does what its frames do one by one.

Method: the same bytes, usual responses among broken ones, go to one client at once and to another byte by byte, which
can never take the short way. Both must report the same, answer the same, and be left in the same state.
"""

from hypothesis import given
from hypothesis import strategies as st

from cluster.rpc.http2 import Connection, Limits, encode_headers, frames
from cluster.rpc.http2.events import DataReceived, Event, HeadersReceived, ReplyReceived

REQUEST = encode_headers(
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"x"), (b"te", b"trailers")]
)
OK = encode_headers([(b":status", b"200"), (b"content-type", b"application/grpc")])
TRAILERS = encode_headers([(b"grpc-status", b"0")])
BLOCKS = (
    OK,
    TRAILERS,
    encode_headers([(b":status", b"103")]),
    encode_headers([(b":status", b"404")]),
    encode_headers([(b":status", b"200"), (b"content-length", b"3")]),
    encode_headers([(b"Capital", b"x")]),
    # An indexed literal: the table changes, so nothing of it may be remembered.
    bytes((0x40, 1)) + b"a" + bytes((1,)) + b"b",
)
STREAMS = 6
LIMITS = Limits(stream_window_bytes=65_535, connection_window_bytes=70_000, frame_bytes_max=16_384)


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return frames.frame_header(len(payload), kind, flags, stream_id) + payload


def reply(stream_id: int, data: bytes) -> bytes:
    return (
        frame(frames.HEADERS, 0x4, stream_id, OK)
        + frame(frames.DATA, 0, stream_id, data)
        + frame(frames.HEADERS, 0x5, stream_id, TRAILERS)
    )


def client() -> Connection:
    """With STREAMS requests sent, the last of which has not ended, and a first reply seen."""
    connection = Connection(LIMITS, client=True)
    connection.start()
    connection.receive(frames.settings_frame({}), 0.0)
    connection.request(REQUEST, b"request")
    for number in range(STREAMS):
        if number == STREAMS - 1:
            connection.open(REQUEST)
        else:
            connection.request(REQUEST, b"request")
    connection.receive(reply(1, b"first"), 0.0)
    connection.take_output()
    return connection


def described(events: list[Event]) -> list[object]:
    told: list[object] = []
    for event in events:
        match event:
            case ReplyReceived():
                told.append(("headers", event.stream.id, event.head.fields, False))
                told.append(("data", event.stream.id, event.data))
                told.append(("headers", event.stream.id, event.trailers.fields, True))
            case HeadersReceived():
                told.append(("headers", event.stream.id, event.block.fields, event.ended))
            case DataReceived():
                told.append(("data", event.stream.id, event.data))
            case _:
                told.append(repr(event))
    return told


def state(connection: Connection) -> object:
    streams = [(stream.id, stream.receive_window, stream.remote_ended) for stream in connection.streams.values()]
    return streams, connection.receive_window, connection.unconsumed, connection.failed, connection.take_output()


STREAM_IDS = st.integers(0, STREAMS + 2).map(lambda number: 2 * number + 1) | st.sampled_from((0, 2))
DATA = st.binary(max_size=20) | st.just(b"x" * 16_384) | st.just(b"x" * 16_385)
PIECES = st.one_of(
    st.builds(reply, STREAM_IDS, DATA),
    st.builds(reply, STREAM_IDS, DATA),
    st.builds(
        frame,
        st.sampled_from((frames.HEADERS, frames.DATA, frames.RST_STREAM, frames.PING)),
        st.sampled_from((0x0, 0x1, 0x4, 0x5, 0xC)),
        STREAM_IDS,
        st.sampled_from(BLOCKS) | DATA,
    ),
)


@given(st.lists(PIECES, max_size=8), st.integers(0, 60))
def test_at_once_and_byte_by_byte_are_the_same(pieces: list[bytes], cut: int) -> None:
    data = b"".join(pieces)
    data = data[: len(data) - cut] if pieces and cut < len(data) else data
    at_once, by_byte = client(), client()
    told = described(at_once.receive(data, 1.0))
    one_by_one: list[object] = []
    for position in range(len(data)):
        one_by_one += described(by_byte.receive(data[position : position + 1], 1.0))
    assert told == one_by_one
    assert state(at_once) == state(by_byte)


def test_the_short_way_is_taken() -> None:
    """Otherwise the test above would compare the long way with itself."""
    connection = client()
    events = connection.receive(reply(3, b"a") + reply(5, b"b"), 1.0)
    assert [type(event) for event in events] == [ReplyReceived, ReplyReceived]
    assert sorted(connection.streams) == [7, 9, 11, 13]


def test_windows_are_given_back() -> None:
    """Also when nothing but whole replies ever come: more than the connection's window in sum."""
    connection = client()
    left = LIMITS.connection_window_bytes
    for number in range(1_000):
        assert connection.can_open, "streams are not freed"
        stream = connection.request(REQUEST, b"")
        (event,) = connection.receive(reply(stream.id, b"x" * 199), float(number))
        assert type(event) is ReplyReceived
        left -= 199
        assert connection.receive_window > 0
    assert left < 0
    assert frames.window_update_frame(0, 1)[3:4] in connection.take_output()
