"""The bytes of a message: compact, bounded, and readable by a later version.

    message  = kind:u8 fields... update*
    update   = length:varint flags:u8 incarnation:varint name:text [details] [origin:text]
    details  = age:varint instance:u64 family:u8(4|6) address:4|16 port:u16 length:u16 metadata
    text     = length:u8 utf-8

Integers are big-endian; varint is LEB128. `flags` has the status in bits 0-1, details in bit 2, an origin in bit 3;
`age` is by how many incarnations the details are behind. What stands behind the known fields of an update is skipped: a
later version may say more. The version itself, and what protects all of it, is the envelope's:
`cluster.membership.envelope`. Limits are in `limits`; whatever breaks one, or ends early, is Malformed as a whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import ClassVar

from cluster.membership.core import limits
from cluster.membership.core.errors import Malformed
from cluster.membership.core.types import Address, Details, Status, Update

_STATUS = 0b0011
_DETAILS = 0b0100
_ORIGIN = 0b1000
_UPDATES_CACHED = 4_096
_NAMES_CACHED = 4_096


@dataclass(frozen=True, slots=True)
class Ping:
    """Do you live?"""

    KIND: ClassVar[int] = 1
    sequence: int
    source: str
    target: str
    """Whom it is for: an address may have changed hands."""


@dataclass(frozen=True, slots=True)
class Ack:
    """I do; or, relayed, the target does."""

    KIND: ClassVar[int] = 2
    sequence: int
    source: str
    instance: int


@dataclass(frozen=True, slots=True)
class PingRequest:
    """Ping the target for me, and relay its ack."""

    KIND: ClassVar[int] = 3
    sequence: int
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Nack:
    """I was asked to ping, and have heard nothing yet; but I hear you (Lifeguard, section IV.A)."""

    KIND: ClassVar[int] = 4
    sequence: int
    source: str


@dataclass(frozen=True, slots=True)
class Gossip:
    """Nothing but news."""

    KIND: ClassVar[int] = 5
    source: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A stream's first message: a digest of what I believe."""

    KIND: ClassVar[int] = 6
    source: str
    digest: int


@dataclass(frozen=True, slots=True)
class Same:
    """I believe the same."""

    KIND: ClassVar[int] = 7
    source: str


@dataclass(frozen=True, slots=True)
class State:
    """All that I believe, as updates with details."""

    KIND: ClassVar[int] = 8
    source: str
    reply_wanted: bool


Message = Ping | Ack | PingRequest | Nack | Gossip | Offer | Same | State


def encode(message: Message, updates: Iterable[bytes] = ()) -> bytes:
    """The bytes of a message, with updates that are encoded already."""
    head = bytes((message.KIND,))
    source = _text(message.source)
    if isinstance(message, Ping | PingRequest):
        head += message.sequence.to_bytes(4, "big") + source + _text(message.target)
    elif isinstance(message, Ack):
        head += message.sequence.to_bytes(4, "big") + source + message.instance.to_bytes(8, "big")
    elif isinstance(message, Nack):
        head += message.sequence.to_bytes(4, "big") + source
    elif isinstance(message, Offer):
        head += source + message.digest.to_bytes(8, "big")
    elif isinstance(message, State):
        head += source + bytes((message.reply_wanted,))
    else:
        head += source
    return b"".join((head, *updates))


def decode(data: bytes) -> tuple[Message, list[Update]]:
    """A message and its updates. Raises Malformed; nothing else, whatever the bytes are."""
    if not data:
        raise Malformed("nothing")
    reader = _Reader(data, 1)
    message = _message(data[0], reader)
    updates: list[Update] = []
    end = len(data)
    while reader.at < end:
        if len(updates) >= limits.RECORDS_MAX:
            raise Malformed(f"more than {limits.RECORDS_MAX} updates")
        length = reader.varint()
        if length > limits.UPDATE_BYTES_MAX:
            raise Malformed(f"an update of {length} bytes")
        updates.append(_decode_update(reader.take(length)))
    return message, updates


def encode_update(update: Update) -> bytes:
    """The bytes of an update, its length in front."""
    flags = int(update.status)
    parts = [_varint(update.incarnation), _text(update.name)]
    if update.details is not None:
        flags |= _DETAILS
        instance, address, metadata, incarnation = update.details
        packed = _pack_host(address.host)
        parts += (
            _varint(update.incarnation - incarnation),
            instance.to_bytes(8, "big"),
            b"\x04" if len(packed) == 4 else b"\x06",
            packed,
            address.port.to_bytes(2, "big"),
            len(metadata).to_bytes(2, "big"),
            metadata,
        )
    if update.origin:
        flags |= _ORIGIN
        parts.append(_text(update.origin))
    body = b"".join((bytes((flags,)), *parts))
    return _varint(len(body)) + body


def check_name(name: str) -> None:
    """Raises ValueError, saying what is wrong, when a member cannot have this name."""
    if not name or not name.isprintable() or name != name.strip():
        raise ValueError(f"a name must be printable, not empty, and without spaces around it: {name!r}")
    if len(name.encode("utf-8", "surrogatepass")) > limits.NAME_BYTES_MAX:
        raise ValueError(f"a name must have at most {limits.NAME_BYTES_MAX} bytes, not {name!r}")


def _message(kind: int, reader: "_Reader") -> Message:
    if kind == Ping.KIND:
        return Ping(reader.integer(4), reader.name(), reader.name())
    if kind == Ack.KIND:
        return Ack(reader.integer(4), reader.name(), reader.integer(8))
    if kind == PingRequest.KIND:
        return PingRequest(reader.integer(4), reader.name(), reader.name())
    if kind == Nack.KIND:
        return Nack(reader.integer(4), reader.name())
    if kind == Gossip.KIND:
        return Gossip(reader.name())
    if kind == Offer.KIND:
        return Offer(reader.name(), reader.integer(8))
    if kind == Same.KIND:
        return Same(reader.name())
    if kind == State.KIND:
        source, flag = reader.name(), reader.integer(1)
        if flag > 1:
            raise Malformed(f"a flag of {flag}")
        return State(source, bool(flag))
    raise Malformed(f"a message of the unknown kind {kind}")


@lru_cache(maxsize=_UPDATES_CACHED)
def _decode_update(body: bytes) -> Update:
    # The same news come from several members, and come again: most are found here. Errors are not cached.
    reader = _Reader(body, 0)
    flags = reader.integer(1)
    status = Status(flags & _STATUS)
    incarnation = reader.varint()
    if not 0 < incarnation <= limits.INCARNATION_MAX:
        raise Malformed(f"incarnation {incarnation}")
    name = reader.name()
    details = reader.details(incarnation) if flags & _DETAILS else None
    if status is Status.ALIVE and (details is None or details.incarnation != incarnation):
        raise Malformed("a living member that does not say where it is")
    origin = reader.name() if flags & _ORIGIN else ""
    return Update(name, status, incarnation, details, origin)


class _Reader:
    """Reads front to back. Every method raises Malformed when the bytes end early."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, length: int) -> bytes:
        start = self.at
        self.at = end = start + length
        if end > len(self.data):
            raise Malformed("cut short")
        return self.data[start:end]

    def integer(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.integer(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 56:
                raise Malformed("an endless number")

    def name(self) -> str:
        return _decode_name(self.take(self.integer(1)))

    def details(self, incarnation: int) -> Details:
        said = incarnation - self.varint()
        if said < 1:
            raise Malformed("details from before the first incarnation")
        instance = self.integer(8)
        family = self.integer(1)
        if family not in (4, 6):
            raise Malformed(f"address family {family}")
        host = _unpack_host(self.take(4 if family == 4 else 16))
        port = self.integer(2)
        if not port:
            raise Malformed("port 0")
        length = self.integer(2)
        if length > limits.METADATA_BYTES_MAX:
            raise Malformed(f"metadata of {length} bytes")
        return Details(instance, Address(host, port), self.take(length), said)


@lru_cache(maxsize=_NAMES_CACHED)
def _decode_name(raw: bytes) -> str:
    try:
        name = raw.decode()
        check_name(name)
    except ValueError as error:
        raise Malformed(str(error)) from error
    return name


@lru_cache(maxsize=_NAMES_CACHED)
def _text(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


@lru_cache(maxsize=_NAMES_CACHED)
def _pack_host(host: str) -> bytes:
    return ip_address(host).packed


@lru_cache(maxsize=_NAMES_CACHED)
def _unpack_host(packed: bytes) -> str:
    return str(ip_address(packed))


def _varint(value: int) -> bytes:
    pieces = bytearray()
    while value >= 0x80:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)
