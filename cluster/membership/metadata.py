"""What a member says of itself: which service it is, how it is reached, and a few labels.

On the wire it is MessagePack of [service, endpoints, labels], at most METADATA_BYTES_MAX bytes. What does not read as
that is shown as empty metadata of the service "": one member's nonsense must not hide that it is there.
"""

from collections.abc import Mapping

import msgspec

from cluster.membership.core.limits import METADATA_BYTES_MAX


class Metadata(msgspec.Struct, frozen=True, array_like=True):
    """All of it together must be short: every member keeps that of all others."""

    service: str = ""
    """`kv`, `registry`, ...; empty when the member does not say."""
    endpoints: Mapping[str, str] = {}
    """Where clients go, by protocol: `{"etcd": "127.0.0.1:2379"}`."""
    labels: Mapping[str, str] = {}
    """Anything else: zone, version, ..."""


EMPTY = Metadata()


def encode(metadata: Metadata) -> bytes:
    """The bytes. Raises ValueError when they are too many."""
    raw = msgspec.msgpack.encode(metadata)
    if len(raw) > METADATA_BYTES_MAX:
        raise ValueError(f"metadata take {len(raw)} bytes; the limit is {METADATA_BYTES_MAX}")
    return raw


def decode(raw: bytes) -> Metadata:
    """What the bytes say; EMPTY when they say nothing that can be understood."""
    if not raw:
        return EMPTY
    try:
        return msgspec.msgpack.decode(raw, type=Metadata)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return EMPTY
