"""A host of its own that asks members how they are. Faults leave its links alone, unless they heal everything."""

import asyncio
from collections.abc import Sequence

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import StatusRequest, StatusResponse
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import MaintenanceStub
from cluster.rpc.engine import create_channel
from runtime import Runtime
from runtime.sim import SimHost, World

CLIENT_PORT = 2379
STATUS_S = 0.5
"""How long a member may take to say how it is."""


class Observer:
    """Asks from outside, as an operator does."""

    def __init__(self, world: World) -> None:
        self.host = world.host("observer")
        self._runtime: asyncio.Future[Runtime] | None = None

    async def statuses(self, members: Sequence[SimHost]) -> list[StatusResponse | None]:
        """What each says; None: it does not answer."""
        if self._runtime is None:
            booted = self._runtime = asyncio.get_running_loop().create_future()

            async def main(runtime: Runtime) -> None:
                booted.set_result(runtime)
                await asyncio.Event().wait()

            self.host.boot(main)
        runtime = await self._runtime
        tasks = [self.host.spawn(_ask(runtime, member.name), name=f"ask {member.name}") for member in members]
        return [await task for task in tasks]


async def _ask(runtime: Runtime, member: str) -> StatusResponse | None:
    channel = create_channel(f"{member}:{CLIENT_PORT}", net=runtime.net, random=runtime.random)
    try:
        return await MaintenanceStub(channel).Status(StatusRequest(), timeout=STATUS_S)
    except grpc.aio.AioRpcError:
        return None
    finally:
        await channel.close()
