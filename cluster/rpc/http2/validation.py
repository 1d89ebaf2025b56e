"""Which header lists are well-formed (RFC 9113 sections 8.2 and 8.3). A malformed one loses its stream."""

import re

from cluster.rpc.http2.headers import HeaderBlock

REQUEST = 1
RESPONSE = 2
TRAILERS = 4

# Connection-specific fields have no meaning in HTTP/2 (section 8.2.2).
_CONNECTION_SPECIFIC = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_REQUEST_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority", b":protocol"})
_RESPONSE_PSEUDO = frozenset({b":status"})
# Section 8.2.1: no control characters, no space, no capitals, nothing above ASCII; a colon only in front.
_NAME = re.compile(rb":?[!-9;-@\[-~]+").fullmatch
_VALUE_FORBIDDEN = re.compile(rb"[\x00\r\n]").search


def fault_in(block: HeaderBlock, kind: int) -> str | None:
    """What is wrong with `block` as a REQUEST, RESPONSE or TRAILERS, or None. Fills in `content_length`."""
    if block.valid_as & kind:
        return None
    fault = _fault(block, kind)
    if fault is None:
        block.valid_as |= kind
    return fault


def _fault(block: HeaderBlock, kind: int) -> str | None:
    pseudo: dict[bytes, bytes] = {}
    allowed = _REQUEST_PSEUDO if kind == REQUEST else _RESPONSE_PSEUDO if kind == RESPONSE else frozenset()
    regular = False
    for name, value in block.fields:
        if not _NAME(name):
            return "a field name with forbidden characters"
        if _VALUE_FORBIDDEN(value) or (value and (value[0] in b" \t" or value[-1] in b" \t")):
            return f"a forbidden character in the value of {name!r}"
        if name[0] == 0x3A:
            if regular:
                return "a pseudo-header field after a regular one"
            if name not in allowed:
                return f"pseudo-header field {name!r} does not belong here"
            if name in pseudo:
                return f"pseudo-header field {name!r} twice"
            pseudo[name] = value
            continue
        regular = True
        if name in _CONNECTION_SPECIFIC:
            return f"connection-specific field {name!r}"
        if name == b"te" and value != b"trailers":
            return "te may only say trailers"
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18:
                return "content-length is not a number"
            length = int(value)
            if block.content_length not in (None, length):
                return "content-length twice, and different"
            block.content_length = length
    if kind == REQUEST:
        return _request_fault(pseudo)
    if kind == RESPONSE and not (len(pseudo.get(b":status", b"")) == 3 and pseudo[b":status"].isdigit()):
        return ":status is missing or not a status"
    return None


def _request_fault(pseudo: dict[bytes, bytes]) -> str | None:
    method = pseudo.get(b":method")
    if not method:
        return ":method is missing"
    if method == b"CONNECT" and b":protocol" not in pseudo:
        return "CONNECT is not served" if b":scheme" in pseudo or b":path" in pseudo else None
    if not pseudo.get(b":scheme"):
        return ":scheme is missing"
    if not pseudo.get(b":path"):
        return ":path is missing or empty"
    return None
