"""Processes of the registry over a kv node, in this process: real gRPC on free ports of the loopback interface."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryStub
from cluster.rpc.engine import create_channel
from cluster.telemetry.config import AdminSection
from runtime.process import StopSignal
from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.kv.local_node import LocalNode
from services.registry.config import RegistryConfig, RegistrySection
from services.registry.dns import DnsSection
from services.registry.main import serve
from tests.unit.free_ports import free_port

if TYPE_CHECKING:
    from cluster.pb.orrery.registry.v1.registry_pb2_grpc import RegistryAsyncStub


class Service:
    """kv, and as many registry processes as are started."""

    def __init__(self, kv: LocalNode, stack: AsyncExitStack) -> None:
        self.kv = kv
        self._stack = stack
        self.configs: list[RegistryConfig] = []
        self.stops: list[StopSignal] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._stubs: dict[str, RegistryAsyncStub] = {}

    async def start(self, **settings: object) -> "RegistryAsyncStub":
        config = RegistryConfig(
            node=f"registry-{len(self.configs) + 1}",
            admin=AdminSection(listen=f"127.0.0.1:{free_port()}"),
            registry=RegistrySection(
                listen=f"127.0.0.1:{free_port()}",
                kv=(self.kv.address,),
                **settings,  # type: ignore[arg-type]
            ),
            dns=DnsSection(listen=("127.0.0.1:0",)),
        )
        stop = StopSignal()
        task = asyncio.create_task(serve(config, stop))
        self.configs.append(config)
        self.stops.append(stop)
        self.tasks.append(task)
        await until_accepted(config.registry.listen, task)
        stub = self.stub(len(self.configs) - 1)

        async def is_read() -> bool:
            return (await stub.Status(pb.StatusRequest())).freshness.stale is False

        await until(is_read)
        return stub

    async def stop(self, index: int) -> None:
        self.stops[index].set("test")
        await self.tasks[index]

    def stub(self, index: int = 0) -> "RegistryAsyncStub":
        address = self.configs[index].registry.listen
        stub = self._stubs.get(address)
        if stub is None:
            channel = create_channel(address, net=StreamNet(), random=SystemRandomness())
            self._stack.push_async_callback(channel.close)
            stub = self._stubs[address] = RegistryStub(channel)
        return stub

    async def close(self) -> None:
        for stop in self.stops:
            stop.set("test")
        await asyncio.gather(*self.tasks)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while True:
            answer = holds()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
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


async def next_of(stream: "grpc.aio.UnaryStreamCall[pb.WatchRequest, pb.WatchResponse]") -> pb.WatchResponse:
    async with asyncio.timeout(10):
        response = await stream.read()
    assert isinstance(response, pb.WatchResponse), response
    return response


def web(id_: str = "", *, port: int = 80, tags: Sequence[str] = (), checks: bool = True) -> pb.Instance:
    """An instance of `web` with a TTL check."""
    instance = pb.Instance(service="web", id=id_, address="10.0.0.1", port=port, tags=tags)
    if checks:
        instance.checks.add(ttl=pb.TtlCheck(ttl_ms=5000))
    return instance


@pytest.fixture
async def bare() -> AsyncIterator[Service]:
    """kv alone: the test starts the processes that it wants."""
    async with LocalNode.start(clock=SystemClock(), random=SystemRandomness()) as kv:
        async with AsyncExitStack() as stack:
            service = Service(kv, stack)
            stack.push_async_callback(service.close)
            yield service


@pytest.fixture
async def one(bare: Service) -> Service:
    """One process."""
    await bare.start()
    return bare


@pytest.fixture
async def two(one: Service) -> Service:
    """Two processes."""
    await one.start()
    return one
