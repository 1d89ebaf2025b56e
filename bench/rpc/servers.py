"""One server process of the benchmark: `python -m bench.rpc.servers ENGINE PORT`.

The same servicer on three engines. The interpreter, the event loop (uvloop where the engine lets one choose) and the
protobuf runtime are the same for all.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from concurrent import futures
from typing import Any, TypeAlias

import grpc
import grpc.aio
import uvloop

from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2_grpc as stubs
from cluster.rpc.grpc import Server
from runtime.real import StreamNet

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
HOST = "127.0.0.1"


class AsyncServicer(stubs.TestServiceServicer):
    async def EmptyCall(self, request: pb.Empty, context: Context) -> pb.Empty:
        return pb.Empty()

    async def UnaryCall(self, request: pb.SimpleRequest, context: Context) -> pb.SimpleResponse:
        return pb.SimpleResponse(payload=request.payload)

    async def StreamingOutputCall(
        self, request: pb.StreamingOutputCallRequest, context: Context
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        for parameters in request.response_parameters:
            yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=b"\0" * parameters.size))

    async def FullDuplexCall(
        self, request_iterator: AsyncIterator[pb.StreamingOutputCallRequest], context: Context
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        async for request in request_iterator:
            yield pb.StreamingOutputCallResponse(payload=request.payload)


class SyncServicer(stubs.TestServiceServicer):
    def EmptyCall(self, request, context):  # type: ignore[no-untyped-def]
        return pb.Empty()

    def UnaryCall(self, request, context):  # type: ignore[no-untyped-def]
        return pb.SimpleResponse(payload=request.payload)

    def StreamingOutputCall(self, request, context):  # type: ignore[no-untyped-def]
        for parameters in request.response_parameters:
            yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=b"\0" * parameters.size))

    def FullDuplexCall(self, request_iterator, context):  # type: ignore[no-untyped-def]
        for request in request_iterator:
            yield pb.StreamingOutputCallResponse(payload=request.payload)


async def ours(port: int) -> None:
    servicer: Any = AsyncServicer()
    server = Server(StreamNet())
    stubs.add_TestServiceServicer_to_server(servicer, server)
    await server.listen(HOST, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def grpc_aio(port: int) -> None:
    servicer: Any = AsyncServicer()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.http2.max_ping_strikes", 0)])
    stubs.add_TestServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


def grpc_sync(port: int) -> None:
    servicer: Any = SyncServicer()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
    stubs.add_TestServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"{HOST}:{port}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


def main() -> None:
    engine, port = sys.argv[1], int(sys.argv[2])
    if engine == "ours":
        uvloop.run(ours(port))
    elif engine == "grpc.aio":
        uvloop.run(grpc_aio(port))
    elif engine == "grpc sync":
        grpc_sync(port)
    else:
        raise SystemExit(f"no engine {engine!r}")


if __name__ == "__main__":
    main()
