"""A host of its own that asks members how they are. Faults leave its links alone, unless they heal everything."""

import asyncio
import json
from collections.abc import Sequence

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import StatusRequest, StatusResponse
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import MaintenanceStub
from cluster.rpc.engine import create_channel
from runtime import Runtime
from runtime.sim import SimHost, World

CLIENT_PORT = 2379
ADMIN_PORT = 2381
STATUS_S = 0.5
"""How long a member may take to say how it is."""


class _Answer(asyncio.Protocol):
    """All that an admin port answers to one question."""

    def __init__(self) -> None:
        self.data = b""
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(self.data)


class Observer:
    """Asks from outside, as an operator does."""

    def __init__(self, world: World) -> None:
        self.host = world.host("observer")
        self._runtime: asyncio.Future[Runtime] | None = None

    async def statuses(self, members: Sequence[SimHost]) -> list[StatusResponse | None]:
        """What each says; None: it does not answer."""
        runtime = await self._boot()
        tasks = [self.host.spawn(_ask(runtime, member.name), name=f"ask {member.name}") for member in members]
        return [await task for task in tasks]

    async def all_take_part(self, members: Sequence[SimHost]) -> bool:
        """Whether each leads or follows: none is down, or rebuilds what it lost."""
        runtime = await self._boot()
        tasks = [self.host.spawn(_role(runtime, member.name), name=f"ask {member.name}") for member in members]
        return all([await task in ("leader", "follower") for task in tasks])

    async def _boot(self) -> Runtime:
        if self._runtime is None:
            booted = self._runtime = asyncio.get_running_loop().create_future()

            async def main(runtime: Runtime) -> None:
                booted.set_result(runtime)
                await asyncio.Event().wait()

            self.host.boot(main)
        return await self._runtime


async def _ask(runtime: Runtime, member: str) -> StatusResponse | None:
    channel = create_channel(f"{member}:{CLIENT_PORT}", net=runtime.net, random=runtime.random)
    try:
        return await MaintenanceStub(channel).Status(StatusRequest(), timeout=STATUS_S)
    except grpc.aio.AioRpcError:
        return None
    finally:
        await channel.close()


async def _role(runtime: Runtime, member: str) -> str:
    try:
        async with asyncio.timeout(STATUS_S):
            transport, protocol = await runtime.net.connect(_Answer, member, ADMIN_PORT)
            assert isinstance(protocol, _Answer)
            transport.write(b"GET /info HTTP/1.1\r\nhost: kv\r\nconnection: close\r\n\r\n")
            answer = await protocol.done
            return str(json.loads(answer.partition(b"\r\n\r\n")[2])["role"])
    except (OSError, TimeoutError, ValueError):
        return ""
