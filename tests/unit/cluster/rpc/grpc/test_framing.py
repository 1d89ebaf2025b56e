import gzip
import zlib

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.rpc.grpc.framing import DEFLATE, GZIP, IDENTITY, PREFIX, Assembler, CallFault, compress, decompress

LIMIT = 1_000


def frame(payload: bytes, flag: int = 0) -> bytes:
    return PREFIX.pack(flag, len(payload)) + payload


@given(st.lists(st.binary(max_size=300), max_size=10), st.data())
def test_messages_cut_anywhere_come_out_whole(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(message) for message in messages)
    assembler = Assembler(IDENTITY, LIMIT)
    received: list[bytes] = []
    while stream:
        step = data.draw(st.integers(1, len(stream)))
        received += assembler.feed(stream[:step])
        stream = stream[step:]
    assert received == messages
    assert assembler.empty


@given(st.lists(st.binary(max_size=50), max_size=20), st.sampled_from([IDENTITY, GZIP, DEFLATE, b"snappy"]))
def test_any_bytes_are_messages_or_a_fault(chunks: list[bytes], encoding: bytes) -> None:
    assembler = Assembler(encoding, LIMIT)
    for chunk in chunks:
        try:
            messages = assembler.feed(chunk)
        except CallFault:
            return
        assert all(len(message) <= LIMIT for message in messages)


def test_a_length_above_the_limit_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(CallFault) as caught:
        Assembler(IDENTITY, LIMIT).feed(PREFIX.pack(0, LIMIT + 1))
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("encoding", [GZIP, DEFLATE])
def test_compressed_messages(encoding: bytes) -> None:
    packed = compress(b"hello" * 100, encoding)
    assert len(packed) < 500
    assert Assembler(encoding, LIMIT).feed(frame(packed, 1)) == [b"hello" * 100]


def test_our_encodings_are_everybodys() -> None:
    assert gzip.decompress(compress(b"x", GZIP)) == b"x"
    assert zlib.decompress(compress(b"x", DEFLATE)) == b"x"


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = compress(b"\0" * 50_000_000, GZIP)
    with pytest.raises(CallFault) as caught:
        decompress(bomb, GZIP, LIMIT)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("payload", "encoding"),
    [(b"not gzip", GZIP), (compress(b"x" * 500, GZIP)[:-9], GZIP), (b"x", IDENTITY), (b"x", b"snappy")],
)
def test_compressed_messages_that_are_none(payload: bytes, encoding: bytes) -> None:
    with pytest.raises(CallFault) as caught:
        Assembler(encoding, LIMIT).feed(frame(payload, 1))
    assert caught.value.code is grpc.StatusCode.INTERNAL
