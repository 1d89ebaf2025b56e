"""What a server knows of a method, and what a request's header block says."""

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import grpc

from cluster.rpc.grpc.framing import IDENTITY
from cluster.rpc.grpc.metadata import Pairs, read_metadata, read_timeout_s
from cluster.rpc.grpc.status import OK
from cluster.rpc.http2 import HeaderBlock
from cluster.rpc.trace_context import TraceContext, read_trace_context

# grpc's own generic parameters say nothing here: a server holds handlers of every message type.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behavior: TypeAlias = Callable[[object, object], object]


class Method:
    """A method handler, unpacked so that a call need not look twice."""

    __slots__ = (
        "behavior",
        "deserialize",
        "handler",
        "path",
        "replaced",
        "serialize",
        "streams_requests",
        "streams_responses",
    )

    def __init__(self, path: str, handler: Handler) -> None:
        self.path = path
        self.handler = handler
        self.replaced: Method | None = None
        """What interceptors put in this method's place last."""
        self.streams_requests = bool(handler.request_streaming)
        self.streams_responses = bool(handler.response_streaming)
        self.behavior = cast(
            Behavior,
            handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream,
        )
        self.deserialize: Callable[[bytes], object] = handler.request_deserializer or _as_it_is
        self.serialize: Callable[[object], bytes] = handler.response_serializer or cast(
            Callable[[object], bytes], _as_it_is
        )


def _as_it_is(message: object) -> object:
    return message


class RequestHead:
    """A request's header block, read once for all calls that repeat it: it holds nothing of one call."""

    __slots__ = (
        "accepts",
        "code",
        "details",
        "encoding",
        "http_status",
        "metadata",
        "method",
        "path",
        "timeout_s",
        "trace",
    )

    def __init__(self, block: HeaderBlock, find: Callable[[str, Pairs], Method | None]) -> None:
        self.path = ""
        self.method: Method | None = None
        self.metadata: Pairs = ()
        self.timeout_s: float | None = None
        self.encoding = IDENTITY
        self.accepts = IDENTITY
        self.http_status: bytes | None = None
        """Set when the request is not gRPC's at all: it is answered in plain HTTP."""
        self.trace: TraceContext | None = None
        """The trace that the caller says the call belongs to."""
        self.code = OK
        """Other than OK when the call fails for its headers alone."""
        self.details = ""
        content_type = b""
        traceparent = tracestate = b""
        for name, value in block.fields:
            if name == b":path":
                self.path = value.decode("ascii", "replace")
            elif name == b":method":
                if value != b"POST":
                    self.http_status = b"405"
            elif name == b"content-type":
                content_type = value
            elif name == b"grpc-timeout":
                try:
                    self.timeout_s = read_timeout_s(value)
                except ValueError as error:
                    self._refuse(grpc.StatusCode.INTERNAL, str(error))
            elif name == b"grpc-encoding":
                self.encoding = value
            elif name == b"grpc-accept-encoding":
                self.accepts = value
            elif name == b"traceparent":
                traceparent = value
            elif name == b"tracestate":
                tracestate += b"," + value if tracestate else value
        if not (
            content_type == b"application/grpc" or content_type.startswith((b"application/grpc+", b"application/grpc;"))
        ):
            self.http_status = self.http_status or b"415"
            return
        try:
            self.metadata = read_metadata(block.fields)
        except ValueError as error:
            self._refuse(grpc.StatusCode.INTERNAL, str(error))
        if traceparent:
            self.trace = read_trace_context(
                traceparent.decode("ascii", "replace"), tracestate.decode("ascii", "replace")
            )
        self.method = find(self.path, self.metadata)
        if self.method is None:
            self._refuse(grpc.StatusCode.UNIMPLEMENTED, f"Method not found: {self.path}")
        elif self.encoding not in (b"identity", b"gzip", b"deflate"):
            self._refuse(
                grpc.StatusCode.UNIMPLEMENTED, f"grpc-encoding {self.encoding.decode('ascii', 'replace')} is not served"
            )

    def _refuse(self, code: grpc.StatusCode, details: str) -> None:
        self.code = code
        self.details = details


class CallDetails(grpc.HandlerCallDetails):
    """What generic handlers and interceptors are asked with."""

    def __init__(self, method: str, invocation_metadata: Pairs) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata
