"""The interceptor around real grpc.aio calls of all four kinds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from cluster.rpc import bind, create_channel, create_server
from cluster.telemetry.grpc_metrics import GrpcMetricsInterceptor
from cluster.telemetry.grpc_series import GrpcSeries
from runtime.real import SystemClock

SERVICE = "test.Echo"


async def unary(request: bytes, context: Any) -> bytes:
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "nothing there")
    if request == b"raise":
        raise RuntimeError("a fault of the service")
    if request == b"set":
        context.set_code(grpc.StatusCode.OUT_OF_RANGE)
    if request == b"hang":
        await asyncio.Event().wait()
    return request


async def server_stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield request
    yield request


async def client_stream(requests: AsyncIterator[bytes], context: Any) -> bytes:
    return b"".join([request async for request in requests])


async def bidi(requests: AsyncIterator[bytes], context: Any) -> None:
    async for request in requests:
        await context.write(request)


class Setup:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        series = GrpcSeries()
        self.registry.register(series)
        self.server = create_server(interceptors=[GrpcMetricsInterceptor(series, SystemClock())])
        handlers: dict[str, Any] = {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
            "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.port = bind(self.server, "127.0.0.1:0")

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"grpc_service": SERVICE, **labels})

    async def handled(self, count: float, **labels: str) -> None:
        """Waits for the count: a caller has its answer a moment before the server's handler has returned."""
        async with asyncio.timeout(5):
            while self.value("grpc_server_handled_total", **labels) != count:
                await asyncio.sleep(0.005)


async def test_calls_of_all_kinds_and_ends_are_counted() -> None:
    setup = Setup()
    await setup.server.start()
    try:
        async with create_channel(f"127.0.0.1:{setup.port}") as channel:
            call: Any = channel.unary_unary(f"/{SERVICE}/Unary")
            assert await call(b"a") == b"a"
            assert await call(b"b") == b"b"
            for request, code in (
                (b"abort", grpc.StatusCode.NOT_FOUND),
                (b"raise", grpc.StatusCode.UNKNOWN),
                (b"set", grpc.StatusCode.OUT_OF_RANGE),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(request)
                assert caught.value.code() is code
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"hang", timeout=0.1)
            stream: Any = channel.unary_stream(f"/{SERVICE}/ServerStream")
            assert [part async for part in stream(b"x")] == [b"x", b"x"]
            upload: Any = channel.stream_unary(f"/{SERVICE}/ClientStream")
            assert await upload(iter([b"1", b"2"])) == b"12"
            bidirectional: Any = channel.stream_stream(f"/{SERVICE}/Bidi")
            assert [part async for part in bidirectional(iter([b"1", b"2"]))] == [b"1", b"2"]
            missing: Any = channel.unary_unary(f"/{SERVICE}/Missing")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await missing(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

        method = {"grpc_type": "unary", "grpc_method": "Unary"}
        await setup.handled(2, **method, grpc_code="OK")
        await setup.handled(1, **method, grpc_code="NotFound")
        await setup.handled(1, **method, grpc_code="Unknown")
        await setup.handled(1, **method, grpc_code="OutOfRange")
        await setup.handled(1, **method, grpc_code="Canceled")
        await setup.handled(1, grpc_type="server_stream", grpc_method="ServerStream", grpc_code="OK")
        await setup.handled(1, grpc_type="client_stream", grpc_method="ClientStream", grpc_code="OK")
        await setup.handled(1, grpc_type="bidi_stream", grpc_method="Bidi", grpc_code="OK")
        assert setup.value("grpc_server_started_total", **method) == 6
        assert setup.value("grpc_server_handling_seconds_count", **method) == 6
        assert setup.value("grpc_server_started_total", grpc_type="unary", grpc_method="Missing") is None
    finally:
        await setup.server.stop(None)
