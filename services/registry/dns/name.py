"""Domain names on the wire (RFC 1035, sections 3.1 and 4.1.4) and as labels.

A name here is `bytes`: labels with a length byte before each, and a zero byte at the end. Case is compared as ASCII
(RFC 4343): `lower` of the whole is right, since length bytes are at most 63, and the letter "A" is 65.
"""

from services.registry.dns.codes import HEADER_BYTES, LABEL_BYTES_MAX, NAME_BYTES_MAX
from services.registry.dns.malformed import Malformed

POINTERS_MAX = 32
"""Pointers that one name may go through. Each points backwards, so none loops; this bounds the work on top."""

ROOT = b"\0"
_POINTER = 0xC0


def read_name(data: bytes, offset: int) -> tuple[bytes, int]:
    """The name at `offset`, without pointers, and where what follows it begins. Raises Malformed.

    Reads at most NAME_BYTES_MAX bytes and POINTERS_MAX pointers, whatever the message holds.
    """
    size = len(data)
    parts: list[bytes] = []
    total = 1
    end = -1
    pointers = 0
    # A pointer must point before the part of the name that it ends, so each brings the reader closer to the beginning.
    limit = offset
    while True:
        if offset >= size:
            raise Malformed("a name is cut off")
        length = data[offset]
        if length <= LABEL_BYTES_MAX:
            if length == 0:
                parts.append(ROOT)
                return b"".join(parts), offset + 1 if end < 0 else end
            total += length + 1
            if total > NAME_BYTES_MAX:
                raise Malformed(f"a name is longer than {NAME_BYTES_MAX} bytes")
            after = offset + 1 + length
            if after > size:
                raise Malformed("a label is cut off")
            parts.append(data[offset:after])
            offset = after
        elif length >= _POINTER:
            if offset + 2 > size:
                raise Malformed("a pointer is cut off")
            target = (length & 0x3F) << 8 | data[offset + 1]
            if end < 0:
                end = offset + 2
            pointers += 1
            if target >= limit or target < HEADER_BYTES:
                raise Malformed("a pointer does not point backwards into the message")
            if pointers > POINTERS_MAX:
                raise Malformed(f"a name goes through more than {POINTERS_MAX} pointers")
            offset = limit = target
        else:
            raise Malformed("a label of a kind that RFC 6891 has abolished, or that never was")


def split_name(name: bytes) -> list[bytes]:
    """The labels of a name that has no pointers, without the root."""
    labels: list[bytes] = []
    offset = 0
    while length := name[offset]:
        labels.append(name[offset + 1 : offset + 1 + length])
        offset += 1 + length
    return labels


def join_name(labels: list[bytes]) -> bytes:
    """The opposite of `split_name`. Raises ValueError when a label is empty or too long, or all together are."""
    parts: list[bytes] = []
    for label in labels:
        if not 0 < len(label) <= LABEL_BYTES_MAX:
            raise ValueError(f"a label has 1 to {LABEL_BYTES_MAX} bytes, not {len(label)}: {label[:80]!r}")
        parts.append(bytes((len(label),)) + label)
    name = b"".join(parts) + ROOT
    if len(name) > NAME_BYTES_MAX:
        raise ValueError(f"a name has at most {NAME_BYTES_MAX} bytes, not {len(name)}")
    return name


def parse_text(text: str) -> bytes:
    """A name from `a.b.c`, with or without the dot at its end; no escapes. Raises ValueError."""
    stripped = text.removesuffix(".")
    return join_name([label.encode() for label in stripped.split(".")] if stripped else [])
