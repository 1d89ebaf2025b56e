"""The services that every gRPC server is expected to have: health and reflection, by their standard servicers.

Sources: gRPC's "health-checking.md" and "server-reflection.md". Tools such as grpcurl, ghz and Kubernetes' probes need
nothing else to talk to a server.
"""

from collections.abc import Iterable

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

HEALTH = str(health.SERVICE_NAME)
REFLECTION = str(reflection.SERVICE_NAME)
REFLECTION_V1 = REFLECTION.replace(".v1alpha.", ".v1.")
"""What tools ask first nowadays. The package has the older name only; the messages are the same, byte for byte."""


class Health:
    """What a server says of itself to those who probe it. Nothing is serving until `serving` says so."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = ("", *services)
        self._servicer = health.aio.HealthServicer()

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the health service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def serving(self, *, ready: bool) -> None:
        """Says of the server, and of each of its services, whether it serves. Watchers hear of it at once."""
        serving = health_pb2.HealthCheckResponse.SERVING
        status = serving if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._services:
            await self._servicer.set(name, status)

    async def leaving(self) -> None:
        """Says that the server is going down; nothing takes that back."""
        await self._servicer.enter_graceful_shutdown()


async def add_standard_services(server: grpc.aio.Server, services: Iterable[str]) -> Health:
    """Adds health and reflection for the named services, e.g. `DESCRIPTOR.services_by_name[...].full_name`.

    Health begins as not serving.
    """
    names = tuple(services)
    state = Health(names)
    await state.serving(ready=False)
    state.register(server)
    _add_reflection(server, (*names, HEALTH, REFLECTION, REFLECTION_V1))
    return state


def _add_reflection(server: grpc.aio.Server, names: tuple[str, ...]) -> None:
    """Adds reflection under both of its names."""
    _describe_v1()
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(REFLECTION_V1, {"ServerReflectionInfo": handler}),)
    )


def _describe_v1() -> None:
    """Makes version 1 known to the pool of descriptors, so that reflection can describe itself."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = file.name.replace("v1alpha", "v1")
    file.package = file.package.replace("v1alpha", "v1")
    file.ClearField("options")
    for message in file.message_type:
        for field in message.field:
            if not field.type_name:
                continue  # a scalar
            field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
        method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
    # Adding the same file again is no error.
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
