"""Metadata and timeouts between their wire form and grpc's.

Keys end in `-bin` when their value is bytes, which travel as base64 without padding; a receiver must take both kinds
and several values joined by commas (gRPC over HTTP/2, "Custom-Metadata").
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import grpc.aio

from cluster.rpc.http2 import Field

Datum: TypeAlias = tuple[str, str | bytes]
MetadataLike: TypeAlias = grpc.aio.Metadata | Sequence[Datum]
Pairs: TypeAlias = tuple[Datum, ...]

_KEY = re.compile(r"[0-9a-z_.\-]+").fullmatch
_VALUE = re.compile(r"[ -~]*").fullmatch
_NOT_METADATA = frozenset({b"content-type", b"te", b"grpc-encoding", b"grpc-accept-encoding", b"grpc-timeout",
                           b"grpc-status", b"grpc-message", b"content-length"})  # fmt: skip
_RESERVED_KEYS = frozenset(name.decode() for name in _NOT_METADATA)

_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
TIMEOUT_DIGITS_MAX = 8


class Metadatum(NamedTuple):
    """One pair, as grpc hands it to servicers: by position or by name."""

    key: str
    value: str | bytes


def read_metadata(fields: Iterable[Field]) -> Pairs:
    """The metadata among header fields. Raises ValueError for a `-bin` value that is not base64."""
    pairs: list[Datum] = []
    for name, value in fields:
        if name[0] == 0x3A or name in _NOT_METADATA:
            continue
        key = name.decode("ascii")
        if name.endswith(b"-bin"):
            pairs.extend(Metadatum(key, _decode_base64(part)) for part in value.split(b","))
        else:
            pairs.append(Metadatum(key, value.decode("ascii", "replace")))
    return tuple(pairs)


def write_metadata(metadata: MetadataLike) -> list[Field]:
    """Header fields for `metadata`. Raises ValueError for what cannot be sent; reserved keys cannot either."""
    fields: list[Field] = []
    for key, value in metadata:
        if not _KEY(key):
            raise ValueError(f"metadata was invalid: illegal key {key!r}")
        if key in _RESERVED_KEYS or (key.startswith("grpc-") and key not in _ALLOWED_GRPC):
            raise ValueError(f"metadata was invalid: reserved key {key!r}")
        if key.endswith("-bin"):
            raw = value.encode() if isinstance(value, str) else bytes(value)
            fields.append((key.encode(), base64.b64encode(raw).rstrip(b"=")))
            continue
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if not _VALUE(text):
            raise ValueError(f"metadata was invalid: illegal value for {key!r}")
        fields.append((key.encode(), text.strip(" ").encode()))
    return fields


# Names in gRPC's own space that applications do set.
_ALLOWED_GRPC = frozenset({"grpc-trace-bin", "grpc-tags-bin", "grpc-status-details-bin", "grpc-previous-rpc-attempts",
                           "grpc-retry-pushback-ms", "grpc-internal-encoding-request"})  # fmt: skip


def _decode_base64(value: bytes) -> bytes:
    stripped = value.strip().rstrip(b"=")
    try:
        return binascii.a2b_base64(stripped + b"=" * (-len(stripped) % 4))
    except binascii.Error as error:
        raise ValueError(f"binary metadata is not base64: {error}") from None


def read_timeout_s(value: bytes) -> float:
    """Seconds that a `grpc-timeout` field gives. Raises ValueError."""
    match = _TIMEOUT(value)
    if match is None:
        raise ValueError(f"grpc-timeout is not a timeout: {value!r}")
    return int(match[1]) * _UNITS_S[match[2]]


@lru_cache(maxsize=1024)
def write_timeout(timeout_s: float) -> bytes:
    """A `grpc-timeout` value, rounded up, in the finest unit that its eight digits can hold."""
    if timeout_s <= 0.0:
        return b"0n"
    for unit, per_s in ((b"u", 1_000_000), (b"m", 1_000), (b"S", 1)):
        amount = timeout_s * per_s
        if amount < 10 ** (TIMEOUT_DIGITS_MAX - 1):
            return b"%d%s" % (-int(-amount // 1), unit)
    return b"%dH" % min(-int(-timeout_s // 3600), 10**TIMEOUT_DIGITS_MAX - 1)


def as_pairs(metadata: MetadataLike | None) -> Pairs:
    """Metadata in any of grpc.aio's shapes as pairs."""
    return tuple((key, value) for key, value in metadata) if metadata else ()


def as_metadata(pairs: Pairs) -> grpc.aio.Metadata:
    """Pairs as grpc.aio's own class."""
    return grpc.aio.Metadata(*pairs)
