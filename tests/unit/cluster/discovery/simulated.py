"""Servers and a client in the simulator's network, for the tests of balanced channels."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Self

import grpc
import grpc.aio

from cluster.discovery import BalancedChannel, BalancedOptions, Balancer, RoundRobin, Source, StaticSource
from cluster.discovery.channel import balanced_channel
from cluster.rpc import create_server, listen
from runtime import Runtime
from runtime.sim import Outcome, SwarmOptions, World, run

PORT = 80


class Replies(grpc.GenericRpcHandler):
    """Every method says who answers."""

    def __init__(self, name: str, seen: Counter[str], failing: set[str]) -> None:
        self.name = name.encode()
        self.seen = seen
        self.failing = failing

    def _met(self) -> None:
        self.seen[self.name.decode()] += 1

    async def who(self, request: bytes, context: Any) -> bytes:
        self._met()
        if self.name.decode() in self.failing:
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        await asyncio.sleep(0.002)
        return self.name

    async def slow(self, request: bytes, context: Any) -> bytes:
        self._met()
        await asyncio.sleep(float(request))
        return self.name

    async def attempts(self, request: bytes, context: Any) -> bytes:
        pairs = dict(context.invocation_metadata())
        return str(pairs.get("grpc-previous-rpc-attempts", "none")).encode()

    async def missing(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        return b""

    async def tell(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        self._met()
        for _ in range(int(request)):
            yield self.name
            await asyncio.sleep(0.01)

    async def join(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        self._met()
        return self.name + b":" + b"".join([request async for request in requests])

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self._met()
        async for request in requests:
            yield self.name + b":" + request

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        name = handler_call_details.method.rpartition("/")[2]
        behavior: Any = getattr(self, name, None)
        make: Any = {
            "tell": grpc.unary_stream_rpc_method_handler,
            "join": grpc.stream_unary_rpc_method_handler,
            "chat": grpc.stream_stream_rpc_method_handler,
        }.get(name, grpc.unary_unary_rpc_method_handler)
        handler: grpc.RpcMethodHandler[Any, Any] = make(behavior)
        return handler


class Town:
    """A client and servers named s0, s1, ... that answer on PORT."""

    def __init__(self, world: World, servers: int) -> None:
        self.world = world
        self.seen: Counter[str] = Counter()
        """Calls that reached a servicer, by server."""
        self.failing: set[str] = set()
        self.servers = [f"s{number}" for number in range(servers)]
        self.runtime: Runtime | None = None
        self.stopping: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        for name in self.servers:
            self.boot(name)
        self.world.host("client").boot(self._client)
        await asyncio.sleep(0.01)

    def boot(self, name: str) -> None:
        async def serve(runtime: Runtime) -> None:
            server = create_server(net=runtime.net)
            server.add_generic_rpc_handlers([Replies(name, self.seen, self.failing)])
            await listen(server, f"0.0.0.0:{PORT}")
            await server.start()
            self.stopping[name] = asyncio.Event()
            await self.stopping[name].wait()
            await server.stop(1.0)

        self.world.host(name).boot(serve)

    async def _client(self, runtime: Runtime) -> None:
        self.runtime = runtime
        await asyncio.Event().wait()

    def addresses(self, *names: str) -> list[str]:
        return [f"{name}:{PORT}" for name in names or self.servers]

    async def on_client(self, work: Callable[[Runtime], Awaitable[Any]]) -> Any:
        """Runs work on the client's host."""
        runtime = self.runtime
        assert runtime is not None

        async def call() -> Any:
            return await work(runtime)

        return await self.world.host("client").spawn(call(), name="work")

    async def channel(
        self,
        source: Source | None = None,
        options: BalancedOptions | None = None,
        balancer: Callable[[Runtime], Balancer[Any]] = lambda runtime: RoundRobin(runtime.random),
    ) -> BalancedChannel:
        async def make(runtime: Runtime) -> BalancedChannel:
            return balanced_channel(
                source or StaticSource(self.addresses()),
                balancer(runtime),
                options,
                net=runtime.net,
                random=runtime.random,
                clock=runtime.clock,
            )

        made: BalancedChannel = await self.on_client(make)
        return made


class Traffic:
    """Workers that call `who` one after another, until told to end."""

    def __init__(self, town: Town, channel: BalancedChannel, workers: int, *, timeout_s: float = 0.5) -> None:
        self._town = town
        self._who: Any = channel.unary_unary("/t/who")
        self._workers = workers
        self._timeout_s = timeout_s
        self._ends = False
        self._task: Any = None
        self.answers: Counter[str] = Counter()
        self.failures: list[tuple[float, grpc.StatusCode]] = []

    async def _work(self) -> None:
        while not self._ends:
            try:
                answer = await self._who(b"", timeout=self._timeout_s)
                self.answers[answer.decode()] += 1
            except grpc.aio.AioRpcError as error:
                self.failures.append((self._town.world.virtual_s, error.code()))
            await asyncio.sleep(0.05)

    async def __aenter__(self) -> Self:
        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())

        self._task = self._town.world.host("client").spawn(work(), name="traffic")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ends = True
        await self._task

    async def during(self, seconds: float) -> tuple[Counter[str], int]:
        """Answers and failures of the next seconds."""
        answers, failures = self.answers.copy(), len(self.failures)
        await asyncio.sleep(seconds)
        return self.answers - answers, len(self.failures) - failures


def play(
    scenario: Callable[[Town], Awaitable[None]],
    *,
    servers: int = 3,
    seeds: Sequence[int] = (1,),
    options: SwarmOptions | None = None,
) -> list[Outcome]:
    """Plays a scenario in a calm world, or in the given one."""

    async def whole(world: World) -> None:
        town = Town(world, servers)
        await town.start()
        await scenario(town)

    return [run(seed, whole, options=options or SwarmOptions()) for seed in seeds]
