"""Resource records on the wire (RFC 1035, sections 3.3 and 4.1.3).

A record is its owner's name, as it is to be written, and a tail: type, class, TTL, and data with its length.
"""

import struct
from collections.abc import Sequence

from services.registry.dns.codes import (
    CLASS_IN,
    HEADER_BYTES,
    POINTER_OFFSET_MAX,
    TYPE_A,
    TYPE_AAAA,
    TYPE_CNAME,
    TYPE_NS,
    TYPE_PTR,
    TYPE_SOA,
    TYPE_SRV,
    TYPE_TXT,
)

STRING_BYTES_MAX = 255
"""Of one character string in TXT."""
TXT_BYTES_MAX = 4096
"""Of one TXT record; what is longer is cut, since it could not be sent at all."""
TTL_S_MAX = 0x7FFF_FFFF
"""RFC 2181, section 8."""

_FIXED = struct.Struct(">HHIH")
_SRV = struct.Struct(">HHH")
_SOA = struct.Struct(">IIIII")
_POINTER = struct.Struct(">H")

SRV_TARGET_AT = _FIXED.size + _SRV.size
"""Where the target's name begins in the tail of an SRV record."""
TARGET_AT = _FIXED.size
"""Where it begins in that of a CNAME, NS or PTR record."""

QUESTION_POINTER = b"\xc0\x0c"
"""The name of the question, which always stands right after the header."""


def pointer_to(offset: int) -> bytes:
    """A pointer to a name at `offset` of the message, at most POINTER_OFFSET_MAX."""
    assert HEADER_BYTES <= offset <= POINTER_OFFSET_MAX, offset
    return _POINTER.pack(0xC000 | offset)


def _tail(record_type: int, ttl_s: int, data: bytes) -> bytes:
    return _FIXED.pack(record_type, CLASS_IN, ttl_s, len(data)) + data


def address(packed: bytes, ttl_s: int) -> bytes:
    """The tail of an A record for 4 bytes, of an AAAA record (RFC 3596) for 16."""
    return _tail(TYPE_A if len(packed) == 4 else TYPE_AAAA, ttl_s, packed)


def cname(target: bytes, ttl_s: int) -> bytes:
    """The tail of a CNAME record."""
    return _tail(TYPE_CNAME, ttl_s, target)


def ns(target: bytes, ttl_s: int) -> bytes:
    """The tail of an NS record."""
    return _tail(TYPE_NS, ttl_s, target)


def ptr(target: bytes, ttl_s: int) -> bytes:
    """The tail of a PTR record."""
    return _tail(TYPE_PTR, ttl_s, target)


def srv(priority: int, weight: int, port: int, target: bytes, ttl_s: int) -> bytes:
    """The tail of an SRV record. The target must not be a pointer (RFC 2782)."""
    return _tail(TYPE_SRV, ttl_s, _SRV.pack(priority, weight, port) + target)


def txt(text: str, ttl_s: int) -> bytes:
    """The tail of a TXT record: `text` in strings of 255 bytes, cut after TXT_BYTES_MAX."""
    data = text.encode("utf-8", "replace")[:TXT_BYTES_MAX]
    strings = [data[start : start + STRING_BYTES_MAX] for start in range(0, len(data), STRING_BYTES_MAX)] or [b""]
    return _tail(TYPE_TXT, ttl_s, b"".join(bytes((len(string),)) + string for string in strings))


def soa(server: bytes, mailbox: bytes, timers: Sequence[int], ttl_s: int) -> bytes:
    """The tail of an SOA record; `timers` are serial, refresh, retry, expire and minimum. Names may end in pointers."""
    return _tail(TYPE_SOA, ttl_s, server + mailbox + _SOA.pack(*timers))
