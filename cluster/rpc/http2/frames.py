"""Frames on the wire (RFC 9113 sections 4 and 6): their numbers, and bytes for those that we send.

Parsing is in `connection`, in one loop: a function call for each frame would cost more than the parsing.
"""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

HEADER = struct.Struct(">HBBBI")
"""A frame's nine bytes: length (high 16 bits, low 8 bits), type, flags, stream."""
HEADER_BYTES = 9
UINT32 = struct.Struct(">I")
GOAWAY_HEAD = struct.Struct(">II")
SETTING = struct.Struct(">HI")
STREAM_ID_MAX = 0x7FFF_FFFF
WINDOW_MAX = 0x7FFF_FFFF

_RST_STREAM = struct.Struct(">HBBBII")
_GOAWAY = struct.Struct(">HBBBIII")


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `length` bytes."""
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings_frame(values: dict[int, int]) -> bytes:
    """A SETTINGS frame with `values` by identifier."""
    payload = b"".join(SETTING.pack(identifier, value) for identifier, value in values.items())
    return frame_header(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK = frame_header(0, SETTINGS, ACK, 0)


def ping_frame(opaque: bytes, *, acknowledge: bool) -> bytes:
    """A PING frame with eight opaque bytes."""
    return frame_header(8, PING, ACK if acknowledge else 0, 0) + opaque


def reset_frame(stream_id: int, code: int) -> bytes:
    """An RST_STREAM frame."""
    return _RST_STREAM.pack(0, 4, RST_STREAM, 0, stream_id, code)


def window_update_frame(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return _RST_STREAM.pack(0, 4, WINDOW_UPDATE, 0, stream_id, increment)


def goaway_frame(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """A GOAWAY frame with debug data behind it."""
    length = 8 + len(debug)
    return _GOAWAY.pack(length >> 8, length & 0xFF, GOAWAY, 0, 0, last_stream_id, code) + debug


def headers_frames(stream_id: int, block: bytes, flags: int, payload_bytes_max: int) -> bytes:
    """A header block as one HEADERS frame, and CONTINUATION frames when it is longer than the peer takes."""
    if len(block) <= payload_bytes_max:
        return frame_header(len(block), HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [frame_header(payload_bytes_max, HEADERS, flags, stream_id), block[:payload_bytes_max]]
    at = payload_bytes_max
    while at < len(block):
        piece = block[at : at + payload_bytes_max]
        at += len(piece)
        parts.append(frame_header(len(piece), CONTINUATION, END_HEADERS if at == len(block) else 0, stream_id))
        parts.append(piece)
    return b"".join(parts)
