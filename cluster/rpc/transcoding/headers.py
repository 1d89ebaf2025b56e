"""HTTP header fields and call metadata, as grpc-gateway passes them on.

`Authorization` becomes `authorization`; `Grpc-Metadata-X` becomes `x`; the fields that HTTP itself registers become
`grpcgateway-<name>`; the peer and the host asked for become `x-forwarded-for` and `x-forwarded-host`. All else stays
behind. Back, initial metadata `x` becomes `Grpc-Metadata-X`.
"""

import binascii
from collections.abc import Iterable
from urllib.parse import quote

from cluster.http import Request
from cluster.rpc.grpc.metadata import Datum, Pairs, read_timeout_s

_PREFIX = "grpc-metadata-"
_PERMANENT = frozenset(
    (
        "accept", "accept-charset", "accept-language", "accept-ranges", "authorization", "cache-control",
        "content-type", "cookie", "date", "expect", "from", "host", "if-match", "if-modified-since", "if-none-match",
        "if-schedule-tag-match", "if-unmodified-since", "max-forwards", "origin", "pragma", "referer", "user-agent",
        "via", "warning",
    )
)  # fmt: skip
TRACE_FIELDS = frozenset(("traceparent", "tracestate"))
"""W3C trace context goes through as it is: gRPC servers look for it under these names."""


class HeaderError(ValueError):
    """A header field that cannot become metadata."""


def metadata_of(request: Request) -> Pairs:
    """The metadata for the call. Raises HeaderError for a binary value that is not base64."""
    pairs: list[Datum] = []
    host = ""
    forwarded: list[str] = []
    for name, value in request.headers:
        if name == "authorization":
            pairs.append(("authorization", value))
        if name in _PERMANENT:
            pairs.append((f"grpcgateway-{name}", value))
        elif name in TRACE_FIELDS:
            pairs.append((name, value))
        elif name.startswith(_PREFIX) and len(name) > len(_PREFIX):
            key = name[len(_PREFIX) :]
            pairs.append((key, _read_binary(key, value) if key.endswith("-bin") else value))
        elif name == "x-forwarded-for":
            forwarded.append(value)
        elif name == "x-forwarded-host":
            host = value
        if name == "host" and not host:
            host = value
    if host:
        pairs.append(("x-forwarded-host", host))
    if request.peer:
        forwarded.append(request.peer.rpartition(":")[0].strip("[]"))
    if forwarded:
        pairs.append(("x-forwarded-for", ", ".join(forwarded)))
    return tuple(pairs)


def timeout_s_of(request: Request) -> float | None:
    """The call's timeout, from `Grpc-Timeout`; None without one. Raises HeaderError."""
    value = request.headers.get("grpc-timeout")
    if value is None:
        return None
    try:
        return read_timeout_s(value.encode("latin-1"))
    except ValueError:
        raise HeaderError(f"invalid grpc-timeout: {value}") from None


def header_fields(metadata: Iterable[Datum]) -> list[tuple[str, str]]:
    """Response fields for initial metadata. Text that a field cannot hold is percent-encoded."""
    fields = []
    for key, value in metadata:
        if isinstance(value, bytes):
            text = binascii.b2a_base64(value, newline=False).decode("ascii").rstrip("=")
        else:
            text = value if value.isascii() and value.isprintable() else quote(value)
        fields.append((f"grpc-metadata-{key}", text))
    return fields


def _read_binary(key: str, value: str) -> bytes:
    plain = value.rstrip("=")
    try:
        return binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except ValueError:
        raise HeaderError(f"invalid value of binary metadata {key}") from None
