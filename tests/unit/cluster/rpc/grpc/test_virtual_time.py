"""The engine on a loop whose clock is virtual and a network without sockets, as the simulator will run it.

Goal: it needs nothing of the outside but the doors that it is handed, and the same seed gives the same bytes at the
same times. Method: a selector loop that jumps to its next timer, and transports that hand bytes over after a latency.
"""

import asyncio
import random
import selectors
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from cluster.rpc.grpc import Channel, ChannelOptions, Server, ServerOptions
from runtime.sim import SeededRandomness

LATENCY_S = 0.001
DAY_S = 86_400.0
Trace = list[tuple[float, str, bytes]]


class JumpingSelector(selectors.SelectSelector):
    """Moves the clock instead of waiting."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now_s


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, net: "Wire", name: str) -> None:
        super().__init__()
        self.net = net
        self.name = name
        self.peer: End | None = None
        self.protocol: asyncio.Protocol | None = None
        self.closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.name, 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        loop = asyncio.get_running_loop()
        if self.closing or self.net.cut:
            return
        self.net.trace.append((loop.time(), self.name, bytes(data)))
        loop.call_later(LATENCY_S, self.deliver, bytes(data))

    def deliver(self, data: bytes) -> None:
        assert self.peer is not None
        if not self.peer.closing and self.peer.protocol is not None:
            self.peer.protocol.data_received(data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast(asyncio.Protocol, protocol)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        assert self.peer is not None
        for end, delay_s in ((self, 0.0), (self.peer, LATENCY_S)):
            if not end.closing:
                loop.call_later(delay_s, end.lose)

    def abort(self) -> None:
        self.close()

    def lose(self) -> None:
        if not self.closing:
            self.closing = True
            assert self.protocol is not None
            self.protocol.connection_lost(None)


class Listener:
    sockets: tuple[()] = ()

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass


class Wire:
    """A `runtime.Net` in memory: one listener a port, and a trace of all bytes."""

    def __init__(self) -> None:
        self.listeners: dict[int, Callable[[], asyncio.Protocol]] = {}
        self.trace: Trace = []
        self.cut = False

    async def listen(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> asyncio.Server:
        self.listeners[port] = protocol_factory
        return cast(asyncio.Server, cast(object, Listener()))

    async def connect(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        await asyncio.sleep(LATENCY_S)
        if port not in self.listeners or self.cut:
            raise ConnectionRefusedError(f"nobody at {host}:{port}")
        ours, theirs = End(self, "client"), End(self, "server")
        ours.peer, theirs.peer = theirs, ours
        for end, factory in ((theirs, self.listeners[port]), (ours, protocol_factory)):
            protocol = factory()
            end.protocol = protocol
            protocol.connection_made(end)
        return ours, cast(asyncio.Protocol, ours.protocol)

    async def datagram(
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        host: str,
        port: int,
        *,
        remote: tuple[str, int] | None = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        raise NotImplementedError("gRPC sends no datagrams")


class Handlers(grpc.GenericRpcHandler):
    async def echo(self, request: bytes, context: Any) -> bytes:
        await asyncio.sleep(0.5)
        return request

    async def hang(self, request: bytes, context: Any) -> bytes:
        await asyncio.Event().wait()
        return request

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        behavior: Any = {"/t/echo": self.echo, "/t/hang": self.hang}.get(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(behavior) if behavior else None


def play(scenario: Callable[[Wire, Channel], Coroutine[Any, Any, None]], seed: int = 1) -> tuple[Trace, float]:
    """Runs a scenario in virtual time. Returns the bytes that went, and how long it took there."""
    loop = VirtualLoop()
    wire = Wire()

    async def main() -> None:
        server = Server(wire, ServerOptions(keepalive_s=60.0))
        server.add_generic_rpc_handlers([Handlers()])
        await server.listen("host", 7)
        async with Channel(
            "host:7", wire, SeededRandomness(random.Random(seed)), ChannelOptions(keepalive_s=10.0)
        ) as channel:
            await scenario(wire, channel)
        await server.stop(None)

    try:
        loop.run_until_complete(main())
        return wire.trace, loop.time()
    finally:
        loop.close()


async def mixed(wire: Wire, channel: Channel) -> None:
    echo: Any = channel.unary_unary("/t/echo")
    assert await asyncio.gather(*(echo(b"%d" % number) for number in range(20))) == [b"%d" % n for n in range(20)]
    wire.cut = True
    with pytest.raises(grpc.aio.AioRpcError):
        await echo(b"into the void")
    patient = echo(b"x", wait_for_ready=True)
    await asyncio.sleep(60)
    wire.cut = False
    assert await patient == b"x"


def test_the_same_seed_gives_the_same_bytes_at_the_same_times() -> None:
    first, second = play(mixed), play(mixed)
    assert first == second
    assert len(first[0]) > 10


def test_another_seed_reconnects_at_other_times() -> None:
    assert play(mixed, seed=1)[1] != play(mixed, seed=2)[1]


def test_a_deadline_is_exact() -> None:
    async def scenario(wire: Wire, channel: Channel) -> None:
        await channel.channel_ready()
        started_s = channel.loop.time()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t/hang")(b"", timeout=3_600.0)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert channel.loop.time() - started_s == pytest.approx(3_600.0, abs=0.01)

    play(scenario)


def test_an_idle_day_keeps_the_connection() -> None:
    async def scenario(wire: Wire, channel: Channel) -> None:
        await channel.channel_ready()
        await asyncio.sleep(DAY_S)
        assert channel.get_state() is grpc.ChannelConnectivity.READY

    trace, took_s = play(scenario)
    assert took_s > DAY_S
    assert DAY_S / 10 * 0.9 < sum(name == "client" for _, name, _ in trace) < DAY_S / 10 * 1.1


def test_a_dead_peer_is_noticed_in_time() -> None:
    """Silence for `keepalive_s`, then `keepalive_timeout_s`: nothing else tells of a host that is gone."""

    async def scenario(wire: Wire, channel: Channel) -> None:
        call = channel.unary_unary("/t/hang")(b"")
        await call.wait_for_connection()
        started_s = channel.loop.time()
        await asyncio.sleep(1)
        wire.cut = True
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert channel.loop.time() - started_s < 10.0 + 5.0 + 0.1

    play(scenario)
