"""The format of entries that are more than a value: deletions, operands, values that expire.

deleted:  nothing
operands: count u32, length u32 of each, then the operands
expiring: milliseconds since the epoch i64, then the value
"""

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

from storage.lsm.columns import Entry, Expiring, Operands

OPERANDS_MAX = 1 << 20
"""Operands of one entry."""

VALUE = 0
DELETED = 1
OPERANDS = 2
EXPIRING = 3

_EXPIRES = struct.Struct("<q")
_COUNT = struct.Struct("<I")


def encode_entries(entries: Sequence[Entry]) -> tuple[bytes, list[bytes]]:
    """The kind of each entry, and its bytes. Raises ValueError beyond OPERANDS_MAX."""
    kinds = bytearray(len(entries))
    values: list[bytes] = []
    for position, entry in enumerate(entries):
        if isinstance(entry, bytes):
            values.append(entry)
        elif entry is None:
            kinds[position] = DELETED
            values.append(b"")
        elif isinstance(entry, Expiring):
            kinds[position] = EXPIRING
            values.append(_EXPIRES.pack(entry.expires_ms) + entry.value)
        else:
            kinds[position] = OPERANDS
            count = len(entry.operands)
            if count > OPERANDS_MAX:
                raise ValueError(f"{count} operands on one key are beyond the format's limits")
            lengths = struct.pack(f"<I{count}I", count, *map(len, entry.operands))
            values.append(b"".join((lengths, *entry.operands)))
    return bytes(kinds), values


def decode_entry(kind: int, data: bytes) -> Entry:
    """The entry of this kind with these bytes. Raises ValueError."""
    if kind == VALUE:
        return data
    if kind == DELETED:
        if data:
            raise ValueError("a deletion has a value")
        return None
    if kind == EXPIRING:
        if len(data) < _EXPIRES.size:
            raise ValueError("an expiring value is cut short")
        return Expiring(data[_EXPIRES.size :], _EXPIRES.unpack_from(data)[0])
    if kind != OPERANDS:
        raise ValueError(f"an entry is of kind {kind}")
    if len(data) < _COUNT.size:
        raise ValueError("operands are cut short")
    (count,) = _COUNT.unpack_from(data)
    start = _COUNT.size * (count + 1)
    if count > OPERANDS_MAX or start > len(data):
        raise ValueError("operands are cut short")
    offsets = tuple(accumulate(struct.unpack_from(f"<{count}I", data, _COUNT.size), initial=0))
    if start + offsets[-1] != len(data):
        raise ValueError("operands are cut short")
    return Operands([data[start + low : start + high] for low, high in pairwise(offsets)])
