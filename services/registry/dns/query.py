"""Reads queries. Strict: one question, nothing but OPT besides, nothing after it.

The work is linear in the length of the message: each byte is read once, and names in additional records are bounded.
"""

import struct
from dataclasses import dataclass

from services.registry.dns.codes import (
    FLAG_RESPONSE,
    HEADER_BYTES,
    LABEL_BYTES_MAX,
    NAME_BYTES_MAX,
    OPCODE_MASK,
    OPCODE_QUERY,
    PLAIN_UDP_BYTES_MAX,
    RCODE_NOTIMP,
    TYPE_OPT,
)
from services.registry.dns.malformed import Malformed, Unanswerable
from services.registry.dns.name import ROOT, read_name

QUERY_BYTES_MAX = 4096
"""A question has at most 271 bytes; the rest is room for options and signatures that are not looked at."""
ADDITIONAL_RECORDS_MAX = 8
OPTIONS_MAX = 64

_HEADER = struct.Struct(">HHHHHH")
_QUESTION = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_OPTION = struct.Struct(">HH")


@dataclass(slots=True)
class Edns:
    """What a client says by OPT (RFC 6891). Never changed; see `Query` for why it is not frozen."""

    payload_bytes: int
    """The largest response that it takes over UDP; at least 512."""
    version: int
    dnssec_ok: bool


@dataclass(slots=True)
class Query:
    """A question and how to answer it. Not frozen, since making a frozen one takes three times as long."""

    id: int
    flags: int
    question: bytes
    """As it came, for the answer: who mixes upper and lower case to be safe from forgers wants to see it again."""
    name: bytes
    """Lower case."""
    type: int
    record_class: int
    edns: Edns | None


def parse_query(data: bytes) -> Query:
    """Reads a message. Raises Unanswerable and Malformed."""
    size = len(data)
    if size < HEADER_BYTES:
        raise Unanswerable
    identity, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & FLAG_RESPONSE:
        raise Unanswerable
    if flags & OPCODE_MASK != OPCODE_QUERY:
        raise Malformed("only queries are answered", RCODE_NOTIMP)
    if size > QUERY_BYTES_MAX:
        raise Malformed(f"a query has at most {QUERY_BYTES_MAX} bytes")
    if questions != 1 or answers or authorities or additional > ADDITIONAL_RECORDS_MAX:
        raise Malformed("a query has one question, and no answers")
    # The first name of a message has nothing before it to point to, so a pointer is an error here.
    offset = HEADER_BYTES
    while True:
        if offset >= size:
            raise Malformed("the question is cut off")
        length = data[offset]
        if not length:
            break
        if length > LABEL_BYTES_MAX:
            raise Malformed("the question's name has a pointer, or a label that is too long")
        offset += length + 1
    end = offset + 1
    if end - HEADER_BYTES > NAME_BYTES_MAX:
        raise Malformed(f"a name is longer than {NAME_BYTES_MAX} bytes")
    if end + 4 > size:
        raise Malformed("the question is cut off")
    record_type, record_class = _QUESTION.unpack_from(data, end)
    if record_type == TYPE_OPT:
        raise Malformed("OPT cannot be asked for")
    edns = None
    after = end + 4
    if additional:
        edns, after = _read_additional(data, after, additional)
    if after != size:
        raise Malformed("something follows the message")
    return Query(
        identity,
        flags,
        data[HEADER_BYTES : end + 4],
        data[HEADER_BYTES:end].lower(),
        record_type,
        record_class,
        edns,
    )


def _read_additional(data: bytes, offset: int, count: int) -> tuple[Edns | None, int]:
    """The OPT among the additional records, if there is one, and where they end. Others are passed over."""
    edns = None
    for _ in range(count):
        if data[offset : offset + 1] == ROOT:  # OPT, nearly always: the general way takes longer than all the rest.
            name, offset = ROOT, offset + 1
        else:
            name, offset = read_name(data, offset)
        start = offset + _RECORD.size
        if start > len(data):
            raise Malformed("a record is cut off")
        record_type, record_class, ttl, length = _RECORD.unpack_from(data, offset)
        offset = start + length
        if offset > len(data):
            raise Malformed("a record is cut off")
        if record_type != TYPE_OPT:
            continue
        if edns is not None:
            raise Malformed("a second OPT")
        if name != ROOT:
            raise Malformed("an OPT with a name")
        version = ttl >> 16 & 0xFF
        if version == 0 and length:
            _check_options(data, start, offset)
        edns = Edns(max(record_class, PLAIN_UDP_BYTES_MAX), version, bool(ttl & 0x8000))
    return edns, offset


def _check_options(data: bytes, offset: int, end: int) -> None:
    """None of them is used, but a message that breaks them is broken."""
    for _ in range(OPTIONS_MAX):
        if offset == end:
            return
        if offset + _OPTION.size > end:
            break
        offset += _OPTION.size + _OPTION.unpack_from(data, offset)[1]
        if offset > end:
            break
    raise Malformed("the options of OPT are cut off, or too many")
