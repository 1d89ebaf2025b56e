"""The format: what was written is read, at its own place only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.wal.segment import (
    FRAME_ALIGNMENT,
    SegmentHeader,
    body_is_valid,
    decode_body,
    decode_frame_header,
    encode_frame,
    may_be_unpersisted,
)

HEADER = SegmentHeader(b"0123456789abcdef", 17)


def test_segment_header_round_trip_and_every_flipped_bit() -> None:
    data = HEADER.encode()
    assert SegmentHeader.decode(data) == HEADER
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            SegmentHeader.decode(bytes(broken))
    with pytest.raises(ValueError, match="short"):
        SegmentHeader.decode(data[:-1])


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(8, 1 << 40))
def test_a_frame_is_valid_at_its_own_place_only(records: list[bytes], offset: int) -> None:
    head, body = encode_frame(HEADER, offset, 20, 64, records)
    assert (len(head) + len(body)) % FRAME_ALIGNMENT == 0
    assert body[-1] != 0
    decoded = decode_frame_header(HEADER, offset, head)
    assert decoded is not None
    assert (decoded.first_lsn, decoded.synced_offset, decoded.count) == (20, 64, len(records))
    assert body_is_valid(HEADER, offset, decoded, body)
    assert decode_body(decoded, body) == records
    assert decode_frame_header(HEADER, offset + 8, head) is None
    assert decode_frame_header(SegmentHeader(b"0123456789abcdeX", 17), offset, head) is None
    assert decode_frame_header(SegmentHeader(HEADER.log_id, 18), offset, head) is None
    assert not body_is_valid(HEADER, offset + 8, decoded, body)


def test_a_zero_share_of_one_sector_may_be_unpersisted() -> None:
    assert may_be_unpersisted(bytes(8) + b"x" * 600, 504)
    assert not may_be_unpersisted(bytes(8) + b"x" * 600, 500)
    assert may_be_unpersisted(b"x" * 512 + bytes(512) + b"x", 0)
    assert not may_be_unpersisted(b"x" * 512 + bytes(512) + b"x" * 512, 256)
