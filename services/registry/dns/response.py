"""Puts answers on the wire: what fits, in order, with TC where something of the answer itself does not."""

import struct
from collections.abc import Sequence

from services.registry.dns.codes import (
    EDNS_DNSSEC_OK,
    FLAG_AUTHORITATIVE,
    FLAG_CHECKING_DISABLED,
    FLAG_RECURSION_DESIRED,
    FLAG_RESPONSE,
    FLAG_TRUNCATED,
    HEADER_BYTES,
    MESSAGE_BYTES_MAX,
    OPCODE_MASK,
    OPTION_EXTENDED_ERROR,
    PLAIN_UDP_BYTES_MAX,
    POINTER_OFFSET_MAX,
    RCODE_FORMERR,
    TYPE_OPT,
)
from services.registry.dns.plan import Choice
from services.registry.dns.query import Query

_HEADER = struct.Struct(">HHHHHH")
_OPT = struct.Struct(">BHHIH")
_EXTENDED_ERROR = struct.Struct(">HHH")
_POINTER = struct.Struct(">H")

_KEPT_FLAGS = FLAG_RECURSION_DESIRED | FLAG_CHECKING_DISABLED
"""What a response repeats of its query's flags."""


def room_for(query: Query, is_udp: bool, udp_bytes_max: int) -> int:
    """Bytes that the whole response may have."""
    if not is_udp:
        return MESSAGE_BYTES_MAX
    return PLAIN_UDP_BYTES_MAX if query.edns is None else min(query.edns.payload_bytes, udp_bytes_max)


def refuse_unread(data: bytes, rcode: int) -> bytes:
    """The answer to a message with a whole header, of which nothing else may be believed: no question is repeated."""
    identity, flags = struct.unpack_from(">HH", data)
    kept = flags & (OPCODE_MASK | FLAG_RECURSION_DESIRED)
    return _HEADER.pack(identity, FLAG_RESPONSE | kept | (rcode or RCODE_FORMERR), 0, 0, 0, 0)


def respond(
    query: Query,
    rcode: int,
    choices: Sequence[Choice] = (),
    *,
    room: int,
    payload_bytes: int,
    is_authoritative: bool,
    authority: bytes = b"",
    extended_error: int | None = None,
    says_truncated: bool = True,
) -> tuple[bytes, bool]:
    """The response, and whether some of the answer did not fit.

    `room` is kept to, also by additional records, which are left out without a word (RFC 2181, section 9).
    `payload_bytes` is what OPT says that this server takes. `extended_error` goes only to who speaks EDNS.
    """
    opt = b""
    if query.edns is not None:
        option = b"" if extended_error is None else _EXTENDED_ERROR.pack(OPTION_EXTENDED_ERROR, 2, extended_error)
        ttl = rcode >> 4 << 24 | (EDNS_DNSSEC_OK if query.edns.dnssec_ok else 0)
        opt = _OPT.pack(0, TYPE_OPT, payload_bytes, ttl, len(option)) + option
    offset = HEADER_BYTES + len(query.question)
    room -= len(opt)
    parts = [b"", query.question]
    answers = additional = 0
    owners: list[tuple[int, Choice]] = []
    is_cut = False
    for choice in choices:
        record = choice.record
        if offset + len(record) > room:
            is_cut = True
            break
        parts.append(record)
        answers += 1
        target = offset + choice.target_at
        offset += len(record)
        if choice.following and target <= POINTER_OFFSET_MAX:
            pointer = _POINTER.pack(0xC000 | target)
            for tail in choice.following:
                if offset + len(tail) + 2 > room:
                    is_cut = True
                    break
                parts += (pointer, tail)
                answers += 1
                offset += len(tail) + 2
        elif choice.additional:
            owners.append((target, choice))
    authorities = 0
    if authority and offset + len(authority) <= room:
        parts.append(authority)
        authorities = 1
        offset += len(authority)
    if owners and not is_cut:
        added, size = _add_additional(owners, offset, room)
        parts += added
        additional = size
    flags = FLAG_RESPONSE | query.flags & _KEPT_FLAGS | rcode & 0xF
    if is_authoritative:
        flags |= FLAG_AUTHORITATIVE
    if is_cut and says_truncated:
        flags |= FLAG_TRUNCATED
    if opt:
        parts.append(opt)
        additional += 1
    parts[0] = _HEADER.pack(query.id, flags, 1, answers, authorities, additional)
    return b"".join(parts), is_cut


def _add_additional(owners: list[tuple[int, Choice]], offset: int, room: int) -> tuple[list[bytes], int]:
    """The additional records that fit, and how many they are. Choices that share a target get it once."""
    parts: list[bytes] = []
    count = 0
    known: set[bytes] = set()
    for target, choice in owners:
        name = choice.record[choice.target_at :]
        if name in known or target > POINTER_OFFSET_MAX:
            continue
        known.add(name)
        pointer = _POINTER.pack(0xC000 | target)
        for tail in choice.additional:
            if offset + len(tail) + 2 > room:
                return parts, count
            parts += (pointer, tail)
            count += 1
            offset += len(tail) + 2
    return parts, count
