"""What the service writes into kv: JSON, so that an operator can read it with etcdctl.

etcd's mutex leaves the value of its keys empty, and its election keeps the candidate's value there. So a value of ours
begins with a mark, and everything else is a place of another client: exclusive.
"""

from typing import Annotated, Literal

import msgspec

from cluster.pb.etcd.mvccpb.kv_pb2 import KeyValue
from services.lock.limits import HOLDS_PER_KEY_MAX, LOCK_DELAY_S_MAX, OWNER_BYTES_MAX, RECORD_BYTES_MAX, TTL_S_MAX
from services.lock.queue import PERMITS_MAX, Entry

MARK = b"orrery.lock/1 "

HoldId = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
Permits = Annotated[int, msgspec.Meta(ge=1, le=PERMITS_MAX)]


class PlaceRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a lock's key."""

    mode: Literal["exclusive", "shared", "semaphore"]
    holds: Annotated[tuple[HoldId, ...], msgspec.Meta(min_length=1, max_length=HOLDS_PER_KEY_MAX)]
    owner: Annotated[str, msgspec.Meta(max_length=OWNER_BYTES_MAX)] = ""
    permits: Permits = 1
    limit: Permits = 1
    until_ms: Annotated[int, msgspec.Meta(ge=0)] = 0


class SessionRecord(msgspec.Struct, frozen=True):
    """The value of a session's key."""

    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=2 * TTL_S_MAX)]
    lock_delay_s: Annotated[int, msgspec.Meta(ge=0, le=LOCK_DELAY_S_MAX)]
    owner: Annotated[str, msgspec.Meta(max_length=OWNER_BYTES_MAX)] = ""


class AuditRecord(msgspec.Struct, frozen=True):
    """The value of an audit key: one forced release."""

    name: str
    token: int
    session_id: int
    owner: str
    who: str
    why: str
    wall_ms: int


_place = msgspec.json.Decoder(PlaceRecord)
_session = msgspec.json.Decoder(SessionRecord)
_audit = msgspec.json.Decoder(AuditRecord)


def encode_place(record: PlaceRecord) -> bytes:
    """The value of a lock's key."""
    return MARK + msgspec.json.encode(record)


def decode_place(value: bytes) -> PlaceRecord | None:
    """The record in the value of a lock's key, or None when another client wrote it. Never fails."""
    if not value.startswith(MARK) or len(value) > RECORD_BYTES_MAX:
        return None
    try:
        record = _place.decode(value[len(MARK) :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return record if record.permits <= record.limit else None


def entry_of(pair: KeyValue) -> Entry:
    """The place in the queue that a key stands for."""
    record = decode_place(pair.value)
    if record is None:
        return Entry(pair.key, pair.create_revision, pair.mod_revision, pair.lease, "exclusive", foreign=True)
    return Entry(
        pair.key,
        pair.create_revision,
        pair.mod_revision,
        pair.lease,
        record.mode,
        record.permits,
        record.limit,
        record.owner,
        record.holds,
        record.until_ms,
    )


def encode_session(record: SessionRecord) -> bytes:
    """The value of a session's key."""
    return msgspec.json.encode(record)


def decode_session(value: bytes) -> SessionRecord | None:
    """The record of a session, or None when it cannot be understood."""
    try:
        return _session.decode(value[:RECORD_BYTES_MAX])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def encode_audit(record: AuditRecord) -> bytes:
    """The value of an audit key."""
    return msgspec.json.encode(record)


def decode_audit(value: bytes) -> AuditRecord | None:
    """A record of a forced release, or None when it cannot be understood."""
    try:
        return _audit.decode(value[: 4 * RECORD_BYTES_MAX])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
