"""gRPC errors as HTTP has them, in the shapes of grpc-gateway 1.x that etcd's gateway serves (etcd 3.4, 3.5).

A failed call is `{"error": message, "message": message, "code": number}`. Its successor, grpc-gateway 2 (etcd 3.6),
leaves `error` out; clients of either find what they read. A stream that fails after its first message ends with a line
`{"error": {"grpc_code", "http_code", "message", "http_status"}}`, to which `code` is added for the same reason.
"""

import grpc

from cluster.http.writer import REASONS
from cluster.rpc.transcoding.encoding import encode_document

HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 408,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}
"""The status of a response whose call ended so (grpc-gateway 1.9, runtime/errors.go)."""

NUMBERS: dict[grpc.StatusCode, int] = {code: code.value[0] for code in grpc.StatusCode}


def error_body(code: grpc.StatusCode, message: str) -> bytes:
    """The body of a failed call's response."""
    return encode_document({"error": message, "message": message, "code": NUMBERS[code]})


def stream_error_line(code: grpc.StatusCode, message: str) -> bytes:
    """The last line of a stream that failed."""
    status = HTTP_STATUS[code]
    number = NUMBERS[code]
    error = {
        "grpc_code": number,
        "http_code": status,
        "message": message,
        "http_status": REASONS[status],
        "code": number,
    }
    return encode_document({"error": error}) + b"\n"
