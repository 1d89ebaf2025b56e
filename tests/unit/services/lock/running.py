"""Processes of the lock service over a kv node, in this process: real gRPC on free ports of the loopback interface."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from cluster.clients.lock import Locks
from cluster.pb.orrery.lock.v1.lock_pb2 import Open, SessionRequest, SessionResponse
from cluster.pb.orrery.lock.v1.lock_pb2_grpc import ElectionsStub, LocksStub
from cluster.rpc.engine import create_channel
from cluster.telemetry.config import AdminSection
from runtime.process import StopSignal
from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.kv.local_node import LocalNode
from services.lock.config import LockConfig, LockSection
from services.lock.main import serve
from tests.unit.free_ports import free_port

if TYPE_CHECKING:
    from cluster.pb.orrery.lock.v1.lock_pb2_grpc import ElectionsAsyncStub


class Stream:
    """A raw session stream: what is written by hand is answered by hand."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = LocksStub(channel).Session()
        self._number = 0
        self.other: list[SessionResponse] = []
        """What came by itself while an answer was waited for."""

    async def open(self, **fields: object) -> SessionResponse:
        await self.call.write(SessionRequest(open=Open(**({"ttl_s": 5} | fields))))  # type: ignore[arg-type]
        return await self.next()

    async def next(self) -> SessionResponse:
        async with asyncio.timeout(10):
            response = await self.call.read()
        assert isinstance(response, SessionResponse), response
        return response

    async def send(self, **action: object) -> int:
        self._number += 1
        await self.call.write(SessionRequest(id=self._number, **action))  # type: ignore[arg-type]
        return self._number

    async def answer(self, number: int) -> SessionResponse:
        while True:
            response = await self.next()
            if response.id == number:
                return response
            self.other.append(response)

    async def ask(self, **action: object) -> SessionResponse:
        return await self.answer(await self.send(**action))


class Service:
    """kv, and as many lock processes as are started."""

    def __init__(self, kv: LocalNode, stack: AsyncExitStack) -> None:
        self.kv = kv
        self._stack = stack
        self.configs: list[LockConfig] = []
        self.stops: list[StopSignal] = []
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def endpoints(self) -> list[str]:
        return [config.lock.listen for config in self.configs]

    async def start(self, **settings: object) -> str:
        config = LockConfig(
            node=f"lock-{len(self.configs) + 1}",
            admin=AdminSection(listen=f"127.0.0.1:{free_port()}"),
            lock=LockSection(listen=f"127.0.0.1:{free_port()}", kv=(self.kv.address,), **settings),  # type: ignore[arg-type]
        )
        stop = StopSignal()
        task = asyncio.create_task(serve(config, stop))
        self.configs.append(config)
        self.stops.append(stop)
        self.tasks.append(task)
        await until_accepted(config.lock.listen, task)
        return config.lock.listen

    async def stop(self, index: int) -> None:
        self.stops[index].set("test")
        await self.tasks[index]

    async def locks(self, *endpoints: str, **settings: object) -> Locks:
        client = Locks(
            endpoints or self.endpoints,
            clock=SystemClock(),
            random=SystemRandomness(),
            net=StreamNet(),
            **({"ttl_s": 5, "lock_delay_s": 0} | settings),  # type: ignore[arg-type]
        )
        return await self._stack.enter_async_context(client)

    def channel(self, endpoint: str = "") -> grpc.aio.Channel:
        channel = create_channel(endpoint or self.endpoints[0], net=StreamNet(), random=SystemRandomness())
        self._stack.push_async_callback(channel.close)
        return channel

    def stream(self, endpoint: str = "") -> Stream:
        return Stream(self.channel(endpoint))

    def elections(self) -> "ElectionsAsyncStub":
        stub: ElectionsAsyncStub = ElectionsStub(self.channel())
        return stub

    async def close(self) -> None:
        for stop in self.stops:
            stop.set("test")
        await asyncio.gather(*self.tasks)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def until_accepted(address: str, task: "asyncio.Task[None]") -> None:
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(10):
        while not task.done():
            with suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.01)
    await task


@pytest.fixture
async def bare() -> AsyncIterator[Service]:
    """kv alone: the test starts the lock processes that it wants."""
    async with LocalNode.start(clock=SystemClock(), random=SystemRandomness()) as kv:
        async with AsyncExitStack() as stack:
            service = Service(kv, stack)
            stack.push_async_callback(service.close)
            yield service


@pytest.fixture
async def service(bare: Service) -> Service:
    """One process."""
    await bare.start()
    return bare


@pytest.fixture
async def two(service: Service) -> Service:
    """Two processes."""
    await service.start()
    return service
