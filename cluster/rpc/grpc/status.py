"""Status on the wire: numbers, messages, and what HTTP's own errors mean for a call.

Sources: gRPC over HTTP/2 ("PROTOCOL-HTTP2.md"), and gRPC's "HTTP to gRPC Status Code Mapping".
"""

import re

import grpc
import grpc.aio

from cluster.rpc.http2 import ErrorCode

CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
"""Status codes by their number."""
NUMBERS: dict[grpc.StatusCode, int] = {code: number for number, code in CODES.items()}
OK = grpc.StatusCode.OK

_OF_HTTP_STATUS = {
    b"400": grpc.StatusCode.INTERNAL,
    b"401": grpc.StatusCode.UNAUTHENTICATED,
    b"403": grpc.StatusCode.PERMISSION_DENIED,
    b"404": grpc.StatusCode.UNIMPLEMENTED,
    b"429": grpc.StatusCode.UNAVAILABLE,
    b"502": grpc.StatusCode.UNAVAILABLE,
    b"503": grpc.StatusCode.UNAVAILABLE,
    b"504": grpc.StatusCode.UNAVAILABLE,
}
_OF_RESET = {
    ErrorCode.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: grpc.StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
}

_TO_ESCAPE = re.compile(rb"[^ -$&-~]")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")


def status_of_http(status: bytes) -> grpc.StatusCode:
    """The call's code when the response is not gRPC's."""
    return _OF_HTTP_STATUS.get(status, grpc.StatusCode.UNKNOWN)


def status_of_reset(code: int) -> grpc.StatusCode:
    """The call's code when its stream was reset."""
    return _OF_RESET.get(code, grpc.StatusCode.INTERNAL)  # type: ignore[call-overload,no-any-return]


def code_of_number(value: bytes) -> grpc.StatusCode:
    """The code that a `grpc-status` field names; UNKNOWN when it names none."""
    return CODES.get(int(value), grpc.StatusCode.UNKNOWN) if value.isdigit() else grpc.StatusCode.UNKNOWN


def encode_message(message: str) -> bytes:
    """Percent-encodes a status message: everything but printable ASCII, and the percent sign."""
    return _TO_ESCAPE.sub(lambda match: b"%%%02X" % match[0][0], message.encode("utf-8", "replace"))


def decode_message(value: bytes) -> str:
    """Decodes a percent-encoded message. What is not well encoded is left as it is: never an error."""
    return _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), value).decode("utf-8", "replace")


class CallFailed(grpc.aio.AioRpcError):
    """The `AioRpcError` of this engine, which also knows whether the call may have had an effect."""

    def __init__(
        self,
        code: grpc.StatusCode,
        initial_metadata: grpc.aio.Metadata,
        trailing_metadata: grpc.aio.Metadata,
        details: str,
        *,
        definite: bool,
    ) -> None:
        super().__init__(code, initial_metadata, trailing_metadata, details, f"{code.name}: {details}")
        self.definite = definite
        """The request never reached the peer's application, and never will. When in doubt, False."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles without the keyword that `Exception` cannot give back."""
        return (
            grpc.aio.AioRpcError,
            (self.code(), self.initial_metadata(), self.trailing_metadata(), self.details()),
        )
