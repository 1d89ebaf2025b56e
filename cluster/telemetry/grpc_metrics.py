"""gRPC server metrics under the names that the go-grpc ecosystem gave them, so that its dashboards work.

`grpc_server_started_total{grpc_type,grpc_service,grpc_method}`,
`grpc_server_handled_total{grpc_type,grpc_service,grpc_method,grpc_code}` and
`grpc_server_handling_seconds{grpc_type,grpc_service,grpc_method}` (go-grpc-middleware, providers/prometheus).

A call costs two increments and one observation: the label children are looked up once per method and code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry, Counter, Histogram

from runtime import Clock

_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS_MAX = 1024
"""Methods with series of their own. Methods come from registered servicers, never from callers; this is a backstop."""

_CODE_NAMES = {code: "".join(word.capitalize() for word in code.name.split("_")) for code in grpc.StatusCode}
_CODE_NAMES[grpc.StatusCode.OK] = "OK"
_CODE_NAMES[grpc.StatusCode.CANCELLED] = "Canceled"  # Go's spelling
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

# grpc's handlers are typed by messages that only the servicer knows; this file passes them through unread.
Message: TypeAlias = Any
Handler: TypeAlias = "grpc.RpcMethodHandler[Message, Message]"
Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


class _Method:
    """The series of one method."""

    __slots__ = ("_by_code", "_clock", "_handled", "_labels", "_seconds", "_started")

    def __init__(self, metrics: GrpcMetricsInterceptor, kind: str, service: str, method: str) -> None:
        self._labels = (kind, service, method)
        self._clock = metrics.clock
        self._started = metrics.started.labels(*self._labels)
        self._seconds = metrics.seconds.labels(*self._labels)
        self._handled = metrics.handled
        self._by_code: dict[object, Counter] = {}

    def start(self) -> float:
        self._started.inc()
        return self._clock.monotonic_s()

    def end(self, started_s: float, context: Context, error: BaseException | None) -> None:
        code = _code_of(context, error)
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._handled.labels(*self._labels, _CODE_NAMES[code])
        counter.inc()
        self._seconds.observe(self._clock.monotonic_s() - started_s)


class GrpcMetricsInterceptor(grpc.aio.ServerInterceptor):
    """Counts and times every call of a server, of all four kinds."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        labels = ("grpc_type", "grpc_service", "grpc_method")
        self.clock = clock
        self.started = Counter("grpc_server_started_total", "RPCs started on the server.", labels, registry=registry)
        self.handled = Counter(
            "grpc_server_handled_total",
            "RPCs completed on the server, regardless of success or failure.",
            (*labels, "grpc_code"),
            registry=registry,
        )
        self.seconds = Histogram(
            "grpc_server_handling_seconds",
            "Seconds of response latency of RPCs handled by the server.",
            labels,
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Returns the method's handler with the counting around it; None when there is no such method."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None:
            return handler
        known = self._wrapped.get(path)
        if known is not None and known[0] is handler:
            return known[1]
        wrapped = self._wrap(path, handler)
        if len(self._wrapped) < METHODS_MAX:
            self._wrapped[path] = (handler, wrapped)
        return wrapped

    def _wrap(self, path: str, handler: Handler) -> Handler:
        service, _, name = path.lstrip("/").rpartition("/")
        kind = _kind_of(handler)
        series = _Method(self, kind, service, name)
        codec = (handler.request_deserializer, handler.response_serializer)
        if kind == "unary":
            return grpc.unary_unary_rpc_method_handler(_count_single(series, handler.unary_unary), *codec)
        if kind == "client_stream":
            return grpc.stream_unary_rpc_method_handler(_count_single(series, handler.stream_unary), *codec)
        if kind == "server_stream":
            return grpc.unary_stream_rpc_method_handler(_count_stream(series, handler.unary_stream), *codec)
        return grpc.stream_stream_rpc_method_handler(_count_stream(series, handler.stream_stream), *codec)


def _kind_of(handler: Handler) -> str:
    if handler.request_streaming:
        return "bidi_stream" if handler.response_streaming else "client_stream"
    return "server_stream" if handler.response_streaming else "unary"


def _count_single(series: _Method, behaviour: Any) -> Any:
    async def counted(request: Message, context: Context) -> Message:
        started_s = series.start()
        try:
            response = await behaviour(request, context)
        except BaseException as error:
            series.end(started_s, context, error)
            raise
        series.end(started_s, context, None)
        return response

    return counted


def _count_stream(series: _Method, behaviour: Any) -> Any:
    """A behaviour of grpc.aio that streams is a generator, or a coroutine that writes by itself; both come here."""

    async def counted(request: Message, context: Context) -> AsyncIterator[Message]:
        started_s = series.start()
        try:
            answers = behaviour(request, context)
            if hasattr(answers, "__aiter__"):
                async for response in answers:
                    yield response
            else:
                await answers
        except BaseException as error:
            series.end(started_s, context, error)
            raise
        series.end(started_s, context, None)

    return counted


def _code_of(context: Context, error: BaseException | None) -> grpc.StatusCode:
    """The status that the caller will see."""
    code: object = context.code()
    if isinstance(code, int):  # the C core's context keeps numbers, and 0 when nothing was set
        code = _BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN)
    if isinstance(code, grpc.StatusCode) and code is not grpc.StatusCode.OK:
        return code
    if error is None:
        return grpc.StatusCode.OK
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED
    return grpc.StatusCode.UNKNOWN
