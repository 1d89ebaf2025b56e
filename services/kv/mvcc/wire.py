"""Serialized messages put together from serialized parts.

Records are stored as serialized KeyValue messages. An answer that carries thousands of them is made by joining their
bytes under the field's tag, and parsed once in C; decoding each one and adding it to the answer would cost a Python
call a record, twice. See "Encoding" in the protobuf documentation for tags and lengths.
"""

RANGE_RESPONSE_KVS = b"\x12"
"""Tag of RangeResponse.kvs."""
DELETE_RANGE_RESPONSE_PREV_KVS = b"\x1a"
"""Tag of DeleteRangeResponse.prev_kvs."""
WATCH_RESPONSE_EVENTS = b"\x5a"
"""Tag of WatchResponse.events."""
EVENT_IS_DELETE = b"\x08\x01"
"""Event.type = DELETE; PUT is the default, and is not written."""
EVENT_KV = b"\x12"
"""Tag of Event.kv."""
EVENT_PREV_KV = b"\x1a"
"""Tag of Event.prev_kv."""

_VARINTS = [bytes([number]) for number in range(0x80)] + [
    bytes([number & 0x7F | 0x80, number >> 7]) for number in range(0x80, 0x4000)
]


def varint(number: int) -> bytes:
    """A non-negative number as a base-128 varint."""
    if number < 0x4000:
        return _VARINTS[number]
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def field(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field."""
    return tag + varint(len(payload)) + payload


def repeated(tag: bytes, payloads: list[bytes]) -> bytes:
    """A repeated length-delimited field."""
    return b"".join([part for payload in payloads for part in (tag, varint(len(payload)), payload)])


def key_of_record(record: bytes) -> bytes:
    """The key in a serialized KeyValue that the store wrote: it is always the first field, and never empty."""
    length = record[1]
    if length < 0x80:
        return record[2 : 2 + length]
    position = 2
    shift = 7
    length &= 0x7F
    while True:
        byte = record[position]
        length |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return record[position : position + length]
