"""Counts the calls of a server on either engine, and calls within the process: an interceptor around each handler.

On our own engine `cluster.rpc.metrics` does the same for less.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio

from cluster.telemetry.grpc_series import METHODS_MAX, GrpcSeries, MethodSeries
from runtime import Clock

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

# grpc's handlers are typed by messages that only the servicer knows; this file passes them through unread.
Message: TypeAlias = Any
Handler: TypeAlias = "grpc.RpcMethodHandler[Message, Message]"
Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


class _Method:
    """One method's series and the clock that its calls are timed by."""

    __slots__ = ("_clock", "_series")

    def __init__(self, series: MethodSeries, clock: Clock) -> None:
        self._series = series
        self._clock = clock

    def start(self) -> float:
        self._series.started += 1
        return self._clock.monotonic_s()

    def end(self, started_s: float, context: Context, error: BaseException | None) -> None:
        self._series.ended(_code_of(context, error), self._clock.monotonic_s() - started_s)


class GrpcMetricsInterceptor(grpc.aio.ServerInterceptor):
    """Counts and times every call of a server, of all four kinds."""

    def __init__(self, series: GrpcSeries, clock: Clock) -> None:
        self._series = series
        self._clock = clock
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
        opened = self._series.open(
            path, streams_requests=handler.request_streaming, streams_responses=handler.response_streaming
        )
        if opened is None:
            return handler
        series = _Method(opened, self._clock)
        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.request_streaming and not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(_count_single(series, handler.stream_unary), *codec)
        if not handler.request_streaming and handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(_count_stream(series, handler.unary_stream), *codec)
        if not handler.request_streaming:
            return grpc.unary_unary_rpc_method_handler(_count_single(series, handler.unary_unary), *codec)
        return grpc.stream_stream_rpc_method_handler(_count_stream(series, handler.stream_stream), *codec)


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
