"""The relay counts gRPC messages however the bytes are cut."""

from hypothesis import given
from hypothesis import strategies as st

from tests.conformance.etcdctl.tap import MessageCounter


def frame(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def message(payload: bytes) -> bytes:
    return b"\0" + len(payload).to_bytes(4, "big") + payload


@given(
    st.lists(st.tuples(st.sampled_from([1, 3]), st.binary(max_size=20)), max_size=8),
    st.integers(min_value=1, max_value=40),
    st.integers(min_value=1, max_value=40),
)
def test_messages_are_counted(sent: list[tuple[int, bytes]], frame_size: int, read_size: int) -> None:
    wire = frame(4, 0, b"\0" * 6)
    for stream, payload in sent:
        data = message(payload)
        for start in range(0, len(data), frame_size):
            wire += frame(0, stream, data[start : start + frame_size])
        wire += frame(1, stream, b"headers")
    counter = MessageCounter()
    for start in range(0, len(wire), read_size):
        counter.receive(wire[start : start + read_size])
    assert counter.messages == len(sent)


def test_two_messages_in_one_frame_and_padding() -> None:
    counter = MessageCounter()
    counter.receive(frame(0, 1, message(b"a") + message(b"")))
    counter.receive(frame(0, 3, b"\x02" + message(b"b") + b"\0\0", flags=0x8))
    assert counter.messages == 3
