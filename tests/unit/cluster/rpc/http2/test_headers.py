"""HPACK: ours against the `hpack` library's encoder and decoder, and the cache against the table it depends on."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.rpc.http2 import ErrorCode, HeaderDecoder, RemoteFault, encode_headers

names = st.sampled_from(
    [b":path", b":method", b"content-type", b"grpc-timeout", b"te", b"x-a", b"x-long-name-" * 4, b"authorization"]
)
values = st.binary(max_size=40) | st.sampled_from([b"POST", b"/a/b", b"trailers", b"x" * 200])
lists = st.lists(st.tuples(names, values), max_size=12)


def decoder() -> HeaderDecoder:
    return HeaderDecoder(1 << 20, 1 << 16)


@given(st.lists(st.tuples(lists, st.booleans(), st.sampled_from([None, 0, 100, 4096])), max_size=12))
def test_blocks_of_a_peer_that_indexes_decode_to_what_it_encoded(
    blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]],
) -> None:
    peer = hpack.Encoder()
    ours = decoder()
    for fields, huffman, size in blocks:
        if size is not None:
            peer.header_table_size = size
        encoded = peer.encode(fields, huffman=huffman)
        assert list(ours.decode(encoded).fields) == fields


@given(lists)
def test_what_we_encode_is_understood_and_never_changes(fields: list[tuple[bytes, bytes]]) -> None:
    encoded = encode_headers(fields)
    assert encode_headers(fields) == encoded
    theirs = hpack.Decoder()
    decoded = theirs.decode(encoded, raw=True)
    assert [tuple(field) for field in decoded] == fields
    assert list(decoder().decode(encoded).fields) == fields


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_decode_or_are_a_compression_error(blocks: list[bytes]) -> None:
    ours = decoder()
    for block in blocks:
        code = None
        try:
            ours.decode(block)
        except RemoteFault as fault:
            code = fault.code
        assert code in (None, ErrorCode.COMPRESSION_ERROR)
        if code is not None:
            return


table_blocks = [b"\x82", b"\x40\x01a\x01b", b"\x40\x01c\x01d", b"\xbe", b"\xbf", b"\x20", b"\x3f\x21"]
"""Static, two that index, two that name dynamic entries, and two that resize the table."""


@given(st.lists(st.sampled_from(table_blocks), max_size=30))
def test_the_cache_never_answers_for_another_table(blocks: list[bytes]) -> None:
    """Fails when entries survive a change of the table: index 62 then keeps its old meaning."""
    cached = decoder()
    plain = HeaderDecoder(1 << 20, 0)
    for block in blocks:
        outcomes: list[tuple[tuple[bytes, bytes], ...] | None] = []
        for each in (cached, plain):
            try:
                outcomes.append(each.decode(block).fields)
            except RemoteFault:
                outcomes.append(None)
        assert outcomes[0] == outcomes[1]
        if outcomes[0] is None:
            return


def test_a_repeated_block_is_the_same_object() -> None:
    ours = decoder()
    block = encode_headers([(b":status", b"200"), (b"a", b"b")])
    assert ours.decode(block) is ours.decode(block)


def test_a_list_that_is_too_long_is_cut_and_the_table_follows() -> None:
    peer = hpack.Encoder()
    ours = HeaderDecoder(100, 1 << 16)
    first = ours.decode(peer.encode([(b"a", b"x" * 90), (b"b", b"y")]))
    assert first.oversize
    second = ours.decode(peer.encode([(b"b", b"y")]))
    assert second.fields == ((b"b", b"y"),)
    assert not second.oversize


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (b"\x80", "index 0"),
        (b"\xff\x80\x80\x80\x80\x80\x01", "an integer that is too long"),
        (b"\x82\x20", "a size update behind a field"),
        (b"\x3f\xe2\x1f", "a table above 4096"),
        (b"\x00\x05ab", "a string beyond the block"),
        (b"\x00\x81\xff\x01a", "padding of the Huffman code"),
    ],
)
def test_malformed_blocks(block: bytes, why: str) -> None:
    with pytest.raises(RemoteFault) as caught:
        decoder().decode(block)
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR, why
