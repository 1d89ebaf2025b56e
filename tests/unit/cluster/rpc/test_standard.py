from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from cluster.rpc import create_channel, create_server, listen
from cluster.rpc.standard import Health, add_standard_services
from runtime.real import StreamNet, SystemRandomness

SERVICE = "orrery.rpctest.v1.TestService"
STATUS = health_pb2.HealthCheckResponse


@pytest.fixture
async def setup() -> AsyncIterator[tuple[Health, grpc.aio.Channel]]:
    net = StreamNet()
    server = create_server(net=net)
    health = await add_standard_services(server, [SERVICE])
    port = await listen(server, "127.0.0.1:0")
    async with create_channel(f"127.0.0.1:{port}", net=net, random=SystemRandomness()) as channel:
        yield health, channel
    await server.stop(None)


async def test_health_is_asked_and_watched(setup: tuple[Health, grpc.aio.Channel]) -> None:
    health, channel = setup
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    assert (await stub.Check(request)).status == STATUS.NOT_SERVING
    watch = stub.Watch(request)
    assert (await watch.read()).status == STATUS.NOT_SERVING
    await health.serving(ready=True)
    assert (await watch.read()).status == STATUS.SERVING
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == STATUS.SERVING
    await health.leaving()
    assert (await watch.read()).status == STATUS.NOT_SERVING
    watch.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="none"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services(setup: tuple[Health, grpc.aio.Channel], version: str) -> None:
    _, channel = setup
    call: Any = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )()
    name = f"grpc.reflection.{version}.ServerReflection"
    await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
    described = (await call.read()).file_descriptor_response.file_descriptor_proto
    assert f"grpc.reflection.{version}".encode() in described[0]
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = [service.name for service in (await call.read()).list_services_response.service]
    assert SERVICE in names
    assert name in names
    assert "grpc.health.v1.Health" in names
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
