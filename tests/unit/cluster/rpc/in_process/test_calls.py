"""Calls within a process: what a servicer and its caller see is what they would see over a connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, cast

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from cluster.pb.orrery.rpctest.v1.transcoding_pb2 import Every
from cluster.rpc.in_process import InProcessCalls, InProcessContext, Requests
from cluster.rpc.in_process.calls import READ_AHEAD_MAX
from cluster.telemetry.grpc_metrics import GrpcMetricsInterceptor
from cluster.telemetry.grpc_series import GrpcSeries
from runtime.real import SystemClock

SERVICE = "orrery.rpctest.v1.Transcoding"
S = f"/{SERVICE}/"
Context = Any
Unary = Callable[[Every, Context], Awaitable[Every]]
Streaming = Callable[[Every, Context], object]


def part(request: Every, context: Context) -> Every:
    return Every(int32_value=request.int32_value + 1)


def calls_to(
    whole: Unary | None = None, stream: Streaming | None = None, *interceptors: grpc.aio.ServerInterceptor
) -> InProcessCalls:
    calls = InProcessCalls(interceptors)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"Part": grpc.unary_unary_rpc_method_handler(part)}
    if whole is not None:
        handlers["Whole"] = grpc.unary_unary_rpc_method_handler(cast(Any, whole))
    if stream is not None:
        handlers["Stream"] = grpc.unary_stream_rpc_method_handler(cast(Any, stream))
    calls.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    return calls


def one(**fields: Any) -> Requests:
    return Requests([Every(**fields)])


async def test_the_message_itself_is_handed_over_and_the_answer_back() -> None:
    seen: list[Every] = []
    request, response = Every(int32_value=1), Every(int32_value=2)

    async def whole(request: Every, context: Context) -> Every:
        seen.append(request)
        assert context.peer() == "ipv4:1.2.3.4:5"
        assert tuple(context.invocation_metadata()) == (("a", "b"),)
        assert 4.0 < context.time_remaining() <= 5.0
        assert context.peer_identities() is None
        assert context.auth_context() == {}
        context.set_trailing_metadata((("c", "d"),))
        return response

    answer, context = await calls_to(whole).unary(
        S + "Whole", Requests([request]), metadata=(("a", "b"),), timeout_s=5.0, peer="ipv4:1.2.3.4:5"
    )
    assert answer is response
    assert seen[0] is request
    assert context.trailing == (("c", "d"),)
    assert context.done()
    assert not context.cancelled()


async def test_plain_functions_are_servicers_too() -> None:
    answer, _ = await calls_to().unary(S + "Part", one(int32_value=1))
    assert answer == Every(int32_value=2)


async def fails(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_failures_are_those_of_grpc() -> None:
    async def abort(request: Every, context: Context) -> NoReturn:
        await context.abort(grpc.StatusCode.ABORTED, "why", (("k", "v"),))
        raise AssertionError

    async def set_code(request: Every, context: Context) -> Every:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("nowhere")
        return Every()

    async def abort_with_ok(request: Every, context: Context) -> NoReturn:
        await context.abort(grpc.StatusCode.OK, "fine")
        raise AssertionError

    async def crash(request: Every, context: Context) -> Every:
        raise RuntimeError("a fault")

    async def time_out_itself(request: Every, context: Context) -> Every:
        raise TimeoutError

    for whole, code, details in (
        (abort, grpc.StatusCode.ABORTED, "why"),
        (set_code, grpc.StatusCode.NOT_FOUND, "nowhere"),
        (abort_with_ok, grpc.StatusCode.UNKNOWN, "Cannot abort with StatusCode.OK"),
        (crash, grpc.StatusCode.UNKNOWN, "Unexpected <class 'RuntimeError'>: a fault"),
        (time_out_itself, grpc.StatusCode.UNKNOWN, "Unexpected <class 'TimeoutError'>: "),
    ):
        error = await fails(calls_to(whole).unary(S + "Whole", one(), timeout_s=60))
        assert (error.code(), error.details()) == (code, details)
    assert (await fails(calls_to().unary(S + "None", one()))).code() is grpc.StatusCode.UNIMPLEMENTED
    assert tuple((await fails(calls_to(abort).unary(S + "Whole", one()))).trailing_metadata()) == (("k", "v"),)


async def test_a_deadline_ends_the_servicer() -> None:
    ended: list[InProcessContext] = []

    async def whole(request: Every, context: Context) -> Every:
        context.add_done_callback(ended.append)
        await asyncio.Event().wait()
        return Every()

    error = await fails(calls_to(whole).unary(S + "Whole", one(), timeout_s=0.01))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert [context.cancelled() for context in ended] == [False]


async def test_whoever_gives_up_ends_the_servicer() -> None:
    begun = asyncio.Event()
    ended: list[InProcessContext] = []

    async def whole(request: Every, context: Context) -> Every:
        context.add_done_callback(ended.append)
        begun.set()
        await asyncio.Event().wait()
        return Every()

    task = asyncio.create_task(calls_to(whole).unary(S + "Whole", one()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [context.cancelled() for context in ended] == [True]


def generate(count: int) -> Streaming:
    async def stream(request: Every, context: Context) -> AsyncIterator[Every]:
        for number in range(count):
            yield Every(int32_value=number)

    return stream


async def write(request: Every, context: Context) -> None:
    for number in range(3):
        await context.write(Every(int32_value=number))


def plain(request: Every, context: Context) -> list[Every]:
    return [Every(int32_value=number) for number in range(3)]


@pytest.mark.parametrize("stream", [generate(3), write, plain])
async def test_streams_of_every_kind(stream: Streaming) -> None:
    responses = calls_to(None, stream).stream(S + "Stream", one())
    assert [response async for response in responses] == [Every(int32_value=number) for number in range(3)]
    await responses.aclose()
    assert responses.context.done()
    assert not responses.context.cancelled()


async def test_a_servicer_is_not_far_ahead_of_its_reader() -> None:
    made = 0

    async def stream(request: Every, context: Context) -> AsyncIterator[Every]:
        nonlocal made
        while True:
            made += 1
            yield Every(int32_value=made)

    responses = calls_to(None, stream).stream(S + "Stream", one())
    first = await anext(responses)
    assert isinstance(first, Every)
    for _ in range(100):
        await asyncio.sleep(0)
    assert made <= READ_AHEAD_MAX + 2
    assert await anext(responses) == Every(int32_value=2)
    await responses.aclose()


async def test_a_reader_that_leaves_ends_the_servicer() -> None:
    closed = asyncio.Event()

    async def stream(request: Every, context: Context) -> AsyncIterator[Every]:
        try:
            yield Every()
            await asyncio.Event().wait()
        finally:
            closed.set()

    responses = calls_to(None, stream).stream(S + "Stream", one())
    await anext(responses)
    await responses.aclose()
    assert closed.is_set()
    assert responses.context.cancelled()


async def test_a_stream_fails_after_what_it_sent() -> None:
    async def stream(request: Every, context: Context) -> AsyncIterator[Every]:
        yield Every(int32_value=1)
        raise RuntimeError("a fault")

    responses = calls_to(None, stream).stream(S + "Stream", one())
    assert await anext(responses) == Every(int32_value=1)
    error = await fails(anext(responses))
    assert error.code() is grpc.StatusCode.UNKNOWN
    await responses.aclose()


async def test_a_stream_ends_at_its_deadline() -> None:
    async def stream(request: Every, context: Context) -> AsyncIterator[Every]:
        await asyncio.Event().wait()
        yield Every()

    responses = calls_to(None, stream).stream(S + "Stream", one(), timeout_s=0.01)
    assert (await fails(anext(responses))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await responses.aclose()
    assert not responses.context.cancelled()


async def test_a_servicer_that_cancels_itself_has_not_ended_well() -> None:
    async def stream(request: Every, context: Context) -> AsyncIterator[Every]:
        if request.int32_value == 0:
            raise asyncio.CancelledError
        yield Every()

    responses = calls_to(None, stream).stream(S + "Stream", one())
    assert (await fails(anext(responses))).code() is grpc.StatusCode.CANCELLED


async def test_interceptors_see_the_calls() -> None:
    async def whole(request: Every, context: Context) -> NoReturn:
        await context.abort(grpc.StatusCode.ABORTED, "why")
        raise AssertionError

    registry, series = CollectorRegistry(), GrpcSeries()
    registry.register(series)
    calls = calls_to(whole, generate(2), GrpcMetricsInterceptor(series, SystemClock()))
    await fails(calls.unary(S + "Whole", one()))
    responses = calls.stream(S + "Stream", one())
    assert len([response async for response in responses]) == 2

    def handled(kind: str, method: str, code: str) -> float | None:
        labels = {
            "grpc_type": kind,
            "grpc_service": "orrery.rpctest.v1.Transcoding",
            "grpc_method": method,
            "grpc_code": code,
        }
        return registry.get_sample_value("grpc_server_handled_total", labels)

    assert handled("unary", "Whole", "Aborted") == 1
    assert handled("server_stream", "Stream", "OK") == 1
