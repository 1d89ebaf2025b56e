"""A registry that can be away, forget, and refuse: a real gRPC server on a free port."""

from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio

from cluster.pb.orrery.registry.v1.registry_pb2 import (
    Beat,
    BeatResult,
    DeregisterRequest,
    DeregisterResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    Instance,
    RegisterRequest,
    RegisterResponse,
)
from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryServicer, add_RegistryServicer_to_server
from cluster.rpc.engine import create_server, listen
from runtime.real import StreamNet

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
OK, NOT_FOUND, UNAVAILABLE = 0, 5, 14


class FakeRegistry(RegistryServicer):
    """Keeps instances by node and id, and the latest report on each check."""

    def __init__(self) -> None:
        self.instances: dict[tuple[str, str], Instance] = {}
        self.beats: list[Beat] = []
        self.registrations = 0
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        """What every call is answered with."""
        self.kv_is_away = False
        """Each report then has the result UNAVAILABLE."""
        self.address = ""
        self._server: grpc.aio.Server | None = None

    def health(self, node: str, check_id: str) -> int | None:
        """What was said last of a check."""
        said = [beat.health for beat in self.beats if (beat.node, beat.check_id) == (node, check_id)]
        return said[-1] if said else None

    def forget(self) -> None:
        self.instances.clear()
        self.beats.clear()

    async def start(self, port: int = 0) -> None:
        self._server = create_server(net=StreamNet())
        add_RegistryServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{await listen(self._server, f'127.0.0.1:{port}')}"
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def Register(
        self, request: RegisterRequest, context: grpc.aio.ServicerContext[RegisterRequest, RegisterResponse]
    ) -> RegisterResponse:
        await self._refuse(context)
        self.instances[request.instance.node, request.instance.id] = request.instance
        self.registrations += 1
        return RegisterResponse(instance=request.instance, index=1)

    async def Deregister(
        self, request: DeregisterRequest, context: grpc.aio.ServicerContext[DeregisterRequest, DeregisterResponse]
    ) -> DeregisterResponse:
        await self._refuse(context)
        if self.instances.pop((request.node, request.id), None) is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such instance")
        return DeregisterResponse(index=2)

    async def Heartbeat(
        self, request: HeartbeatRequest, context: grpc.aio.ServicerContext[HeartbeatRequest, HeartbeatResponse]
    ) -> HeartbeatResponse:
        await self._refuse(context)
        known = {(node, check.id) for (node, _), made in self.instances.items() for check in made.checks}
        results = []
        for beat in request.beats:
            if self.kv_is_away:
                results.append(BeatResult(code=UNAVAILABLE, message="kv is away"))
            elif (beat.node, beat.check_id) in known:
                self.beats.append(beat)
                results.append(BeatResult(code=OK))
            else:
                results.append(BeatResult(code=NOT_FOUND, message="there is no such check"))
        return HeartbeatResponse(results=results)

    async def _refuse(self, context: "grpc.aio.ServicerContext[Asked, Answered]") -> None:
        if self.refusal is not None:
            await context.abort(*self.refusal)


def fake_registry() -> FakeRegistry:
    return FakeRegistry()  # type: ignore[abstract]  # what it lacks is answered with UNIMPLEMENTED, as gRPC does it
