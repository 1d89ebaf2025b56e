"""gRPC's interoperability cases on every pairing of engines, over h2c and TLS.

Method: the cases of gRPC's "interop-test-descriptions.md", played by the same generated stubs against the same
servicer, so that a difference between engines is a difference in this file's results.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import grpc
import grpc.aio
import pytest

from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2_grpc as stubs

REQUEST_SIZES = (27_182, 8, 1_828, 45_904)
RESPONSE_SIZES = (31_415, 9, 2_653, 58_979)


class Bench(Protocol):
    """See conftest."""

    servicer: "Servicer"
    channel: grpc.aio.Channel
    stub: "stubs.TestServiceAsyncStub"


class Servicer(Protocol):
    over: asyncio.Event


def output(*sizes: int, body: int = 0) -> pb.StreamingOutputCallRequest:
    return pb.StreamingOutputCallRequest(
        response_parameters=[pb.ResponseParameters(size=size) for size in sizes],
        payload=pb.Payload(body=b"\0" * body),
    )


async def test_empty_unary(bench: Bench) -> None:
    assert await bench.stub.EmptyCall(pb.Empty()) == pb.Empty()


async def test_large_unary(bench: Bench) -> None:
    response = await bench.stub.UnaryCall(
        pb.SimpleRequest(response_size=314_159, payload=pb.Payload(body=b"\0" * 271_828))
    )
    assert response.payload.body == b"\0" * 314_159


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_client_compressed_unary(bench: Bench, compression: grpc.Compression) -> None:
    request = pb.SimpleRequest(response_size=314_159, payload=pb.Payload(body=b"\0" * 271_828))
    response = await bench.stub.UnaryCall(request, compression=compression)
    assert len(response.payload.body) == 314_159


async def test_server_compressed_unary(bench: Bench) -> None:
    response = await bench.stub.UnaryCall(pb.SimpleRequest(response_size=314_159, response_compressed=True))
    assert len(response.payload.body) == 314_159


async def test_client_streaming(bench: Bench) -> None:
    async def requests() -> AsyncIterator[pb.StreamingInputCallRequest]:
        for size in REQUEST_SIZES:
            yield pb.StreamingInputCallRequest(payload=pb.Payload(body=b"\0" * size))

    response = await bench.stub.StreamingInputCall(requests())
    assert response.aggregated_payload_size == sum(REQUEST_SIZES)


async def test_client_streaming_by_write(bench: Bench) -> None:
    call = bench.stub.StreamingInputCall()
    for size in REQUEST_SIZES:
        await call.write(pb.StreamingInputCallRequest(payload=pb.Payload(body=b"\0" * size)))
    await call.done_writing()
    assert (await call).aggregated_payload_size == sum(REQUEST_SIZES)


async def test_client_compressed_streaming(bench: Bench) -> None:
    requests = [pb.StreamingInputCallRequest(payload=pb.Payload(body=b"\0" * size)) for size in REQUEST_SIZES]
    response = await bench.stub.StreamingInputCall(iter(requests), compression=grpc.Compression.Gzip)
    assert response.aggregated_payload_size == sum(REQUEST_SIZES)


async def test_server_streaming(bench: Bench) -> None:
    call = bench.stub.StreamingOutputCall(output(*RESPONSE_SIZES))
    assert [len(response.payload.body) async for response in call] == list(RESPONSE_SIZES)
    assert await call.code() is grpc.StatusCode.OK


async def test_server_streaming_by_read(bench: Bench) -> None:
    call = bench.stub.StreamingOutputCall(output(*RESPONSE_SIZES))
    sizes = []
    while (response := await call.read()) is not grpc.aio.EOF:
        assert isinstance(response, pb.StreamingOutputCallResponse)
        sizes.append(len(response.payload.body))
    assert sizes == list(RESPONSE_SIZES)


async def test_server_compressed_streaming(bench: Bench) -> None:
    request = output(31_415, 92_653)
    request.response_parameters[0].compressed = True
    call = bench.stub.StreamingOutputCall(request)
    assert [len(response.payload.body) async for response in call] == [31_415, 92_653]


async def test_a_long_stream_of_small_messages_and_of_large_ones(bench: Bench) -> None:
    call = bench.stub.StreamingOutputCall(output(*([10] * 2_000), *([300_000] * 10)))
    sizes = [len(response.payload.body) async for response in call]
    assert sizes == [10] * 2_000 + [300_000] * 10


async def test_ping_pong(bench: Bench) -> None:
    call = bench.stub.FullDuplexCall()
    for request_size, response_size in zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True):
        await call.write(output(response_size, body=request_size))
        response = await call.read()
        assert isinstance(response, pb.StreamingOutputCallResponse)
        assert len(response.payload.body) == response_size
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_empty_stream(bench: Bench) -> None:
    call = bench.stub.FullDuplexCall()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_cancel_after_begin(bench: Bench) -> None:
    call = bench.stub.StreamingInputCall()
    await call.wait_for_connection()
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED
    assert call.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_cancel_after_first_response(bench: Bench) -> None:
    call = bench.stub.FullDuplexCall()
    await call.write(output(31_415, body=27_182))
    await call.read()
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED
    async with asyncio.timeout(5):
        await bench.servicer.over.wait()


async def test_timeout_on_sleeping_server(bench: Bench) -> None:
    sleepy = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(interval_us=5_000_000)])
    for timeout_s in (0.03, 0.3, 3.0):
        call = bench.stub.FullDuplexCall(timeout=timeout_s)
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012  # the deadline may strike at either
            await call.write(sleepy)
            await call.read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        try:
            async with asyncio.timeout(2):
                await bench.servicer.over.wait()
            return
        except TimeoutError:
            # On a busy machine the deadline is over before the servicer has begun: then it has nothing to end.
            continue
    pytest.fail("the servicer was not ended")


async def test_status_code_and_message(bench: Bench) -> None:
    status = pb.EchoStatus(code=2, message="test status message")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.stub.UnaryCall(pb.SimpleRequest(response_status=status))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNKNOWN, "test status message")
    call = bench.stub.FullDuplexCall()
    await call.write(pb.StreamingOutputCallRequest(response_status=status))
    await call.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNKNOWN, "test status message")


async def test_special_status_message(bench: Bench) -> None:
    message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.stub.UnaryCall(pb.SimpleRequest(response_status=pb.EchoStatus(code=2, message=message)))
    assert caught.value.details() == message


async def test_custom_metadata(bench: Bench) -> None:
    metadata = (
        ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
        ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"),
    )
    unary = bench.stub.UnaryCall(pb.SimpleRequest(response_size=10), metadata=metadata)
    assert (await unary.initial_metadata())["x-grpc-test-echo-initial"] == "test_initial_metadata_value"
    assert (await unary.trailing_metadata())["x-grpc-test-echo-trailing-bin"] == b"\xab\xab\xab"
    duplex = bench.stub.FullDuplexCall(metadata=metadata)
    await duplex.write(output(10))
    await duplex.done_writing()
    assert (await duplex.initial_metadata())["x-grpc-test-echo-initial"] == "test_initial_metadata_value"
    while await duplex.read() is not grpc.aio.EOF:
        pass
    assert (await duplex.trailing_metadata())["x-grpc-test-echo-trailing-bin"] == b"\xab\xab\xab"


async def test_unimplemented_method(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.stub.UnimplementedCall(pb.Empty())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_unimplemented_service(bench: Bench) -> None:
    stub: stubs.UnimplementedServiceAsyncStub = stubs.UnimplementedServiceStub(bench.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.UnimplementedCall(pb.Empty())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_many_calls_at_once(bench: Bench) -> None:
    responses = await asyncio.gather(
        *[bench.stub.UnaryCall(pb.SimpleRequest(response_size=size)) for size in range(300)]
    )
    assert [len(response.payload.body) for response in responses] == list(range(300))


async def test_a_message_that_is_too_long(bench: Bench) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.stub.UnaryCall(pb.SimpleRequest(payload=pb.Payload(body=b"\0" * 5_000_000)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.stub.UnaryCall(pb.SimpleRequest(response_size=5_000_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await bench.stub.EmptyCall(pb.Empty()) == pb.Empty()
