"""The services that every gRPC server is expected to have: health and reflection, by their standard servicers.

Sources: gRPC's "health-checking.md" and "server-reflection.md". Tools such as grpcurl, ghz and Kubernetes' probes need
nothing else to talk to a server.
"""

from collections.abc import Iterable

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

HEALTH = str(health.SERVICE_NAME)
REFLECTION = str(reflection.SERVICE_NAME)


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
    reflection.enable_server_reflection((*names, HEALTH, REFLECTION), server)
    return state
