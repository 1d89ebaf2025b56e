from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cluster.rpc import create_channel, create_server, listen
from cluster.rpc.grpc import ServerCall
from cluster.rpc.metrics import CallMetrics
from cluster.telemetry.grpc_series import GrpcSeries
from runtime.real import StreamNet, SystemClock, SystemRandomness

SERVICE = "test.Echo"


async def unary(request: bytes, context: Any) -> bytes:
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "nothing there")
    return request


async def bidi(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


class Doorkeeper:
    """An observer that wants a token."""

    def call_started(self, call: ServerCall) -> None:
        if ("authorization", "open") not in (call.invocation_metadata() or ()):
            call.refuse(grpc.StatusCode.UNAUTHENTICATED, "no")

    def call_ended(self, call: ServerCall, code: grpc.StatusCode) -> None:
        pass


async def test_calls_are_counted_and_refused_before_they_run() -> None:
    registry, series = CollectorRegistry(), GrpcSeries()
    registry.register(series)
    metrics = CallMetrics(series, SystemClock())
    net = StreamNet()
    server = create_server(net=net, observers=[metrics, Doorkeeper()])
    handlers: dict[str, Any] = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = await listen(server, "127.0.0.1:0")
    token = (("authorization", "open"),)
    async with create_channel(f"127.0.0.1:{port}", net=net, random=SystemRandomness()) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/Unary")
        for _ in range(3):
            assert await call(b"x", metadata=token) == b"x"
        for request, metadata, code in (
            (b"abort", token, grpc.StatusCode.NOT_FOUND),
            (b"x", (), grpc.StatusCode.UNAUTHENTICATED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(request, metadata=metadata)
            assert caught.value.code() is code
        chat: Any = channel.stream_stream(f"/{SERVICE}/Bidi")
        assert [part async for part in chat(iter([b"1", b"2"]), metadata=token)] == [b"1", b"2"]
        missing: Any = channel.unary_unary(f"/{SERVICE}/None")
        with pytest.raises(grpc.aio.AioRpcError):
            await missing(b"", metadata=token)
    await server.stop(None)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"grpc_service": SERVICE, **labels})

    method = {"grpc_type": "unary", "grpc_method": "Unary"}
    assert value("grpc_server_started_total", **method) == 5
    assert value("grpc_server_handled_total", **method, grpc_code="OK") == 3
    assert value("grpc_server_handled_total", **method, grpc_code="NotFound") == 1
    assert value("grpc_server_handled_total", **method, grpc_code="Unauthenticated") == 1
    assert value("grpc_server_handled_total", grpc_type="bidi_stream", grpc_method="Bidi", grpc_code="OK") == 1
    assert value("grpc_server_handling_seconds_count", **method) == 5
    assert value("grpc_server_handling_seconds_bucket", **method, le="10.0") == 5
    assert value("grpc_server_handling_seconds_bucket", **method, le="+Inf") == 5
    assert b"None" not in generate_latest(registry)
