"""Datagrams between simulated hosts: what arrives, what does not, and who is told."""

import asyncio
import dataclasses
import errno
from collections.abc import Awaitable, Callable

import pytest

from runtime import Runtime
from runtime.sim import SwarmOptions, World, run
from runtime.sim.datagrams import DATAGRAM_BYTES_MAX, RECEIVE_BUFFER_BYTES

CALM = SwarmOptions()


class Recorder(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: list[tuple[bytes, tuple[str, int]]] = []
        self.errors: list[Exception] = []
        self.lost = False

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def forever(_: Runtime) -> None:
    await asyncio.get_running_loop().create_future()


def between(
    work: Callable[[World, Runtime, Recorder], Awaitable[None]], options: SwarmOptions = CALM, seed: int = 1
) -> str:
    """Runs `work` on the host `client`; `server` has a recorder on port 53. Returns the trace's hash."""

    async def scenario(world: World) -> None:
        recorder = Recorder()
        done = asyncio.get_running_loop().create_future()

        async def serve(runtime: Runtime) -> None:
            await runtime.net.datagram(lambda: recorder, "0.0.0.0", 53)
            await forever(runtime)

        async def ask(runtime: Runtime) -> None:
            await work(world, runtime, recorder)
            done.set_result(None)
            await forever(runtime)

        world.host("server").boot(serve)
        await asyncio.sleep(0.1)
        world.host("client").boot(ask)
        await done

    return run(seed, scenario, options=options).trace_hash


async def open_endpoint(runtime: Runtime, port: int = 0) -> tuple[asyncio.DatagramTransport, Recorder]:
    transport, protocol = await runtime.net.datagram(Recorder, "0.0.0.0", port)
    assert isinstance(protocol, Recorder)
    return transport, protocol


def test_a_datagram_arrives_with_its_sender_and_can_be_answered() -> None:
    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        transport, client = await open_endpoint(runtime, 1053)
        transport.sendto(b"ask", (world.host("server").address, 53))
        await asyncio.sleep(0.1)
        assert server.received == [(b"ask", (world.host("client").address, 1053))]
        transport.sendto(b"to myself", ("127.0.0.1", 1053))
        await asyncio.sleep(0.1)
        assert client.received == [(b"to myself", (world.host("client").address, 1053))]
        transport.close()
        await asyncio.sleep(0)
        assert client.lost
        again, _ = await open_endpoint(runtime, 1053)
        again.close()

    between(work)


def test_ports_are_apart_from_those_of_streams_and_taken_once() -> None:
    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        await runtime.net.listen(asyncio.Protocol, "0.0.0.0", 99)
        await open_endpoint(runtime, 99)
        with pytest.raises(OSError) as caught:
            await open_endpoint(runtime, 99)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError) as caught:
            await runtime.net.datagram(Recorder, "server", 0)
        assert caught.value.errno == errno.EADDRNOTAVAIL

    between(work)


def test_only_a_connected_endpoint_hears_that_nobody_listens() -> None:
    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        address = world.host("server").address
        loose, deaf = await open_endpoint(runtime)
        loose.sendto(b"anyone?", (address, 54))
        tight, told = await runtime.net.datagram(Recorder, "0.0.0.0", 0, remote=("server", 54))
        assert isinstance(told, Recorder)
        tight.sendto(b"anyone?")
        await asyncio.sleep(0.1)
        assert deaf.errors == []
        assert [type(error) for error in told.errors] == [ConnectionRefusedError]
        with pytest.raises(ValueError, match="must be None"):
            tight.sendto(b"elsewhere", (address, 53))

    between(work)


def test_names_and_giants_are_refused() -> None:
    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        transport, client = await open_endpoint(runtime)
        with pytest.raises(ValueError):
            transport.sendto(b"x", ("server", 53))
        transport.sendto(bytes(DATAGRAM_BYTES_MAX + 1), (world.host("server").address, 53))
        transport.sendto(b"x", ("10.9.9.9", 53))
        await asyncio.sleep(0.1)
        assert [getattr(error, "errno", 0) for error in client.errors] == [errno.EMSGSIZE]
        assert server.received == []

    between(work)


def test_loss_doubling_and_lateness_are_as_the_options_say() -> None:
    options = dataclasses.replace(
        CALM, datagram_loss_probability=0.1, datagram_double_probability=0.1, datagram_late_probability=0.1
    )

    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        transport, _ = await open_endpoint(runtime)
        address = (world.host("server").address, 53)
        for number in range(1000):
            transport.sendto(number.to_bytes(2, "big"), address)
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        numbers = [int.from_bytes(data, "big") for data, _ in server.received]
        assert 850 < len(set(numbers)) < 950, "about a tenth is lost"
        assert 50 < len(numbers) - len(set(numbers)) < 150, "about a tenth comes twice"
        assert numbers != sorted(numbers), "some are overtaken"

    assert between(work, options) == between(work, options)


def test_a_large_datagram_is_lost_with_any_of_its_packets() -> None:
    options = dataclasses.replace(CALM, datagram_loss_probability=0.05)

    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        transport, _ = await open_endpoint(runtime)
        for _ in range(300):
            transport.sendto(bytes(14_000), (world.host("server").address, 53))
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        assert 130 < len(server.received) < 230, "0.95 to the tenth is 0.6"

    between(work, options)


def test_cuts_lose_clogs_hold_back_and_one_link_may_be_worse() -> None:
    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        transport, _ = await open_endpoint(runtime)
        address = (world.host("server").address, 53)
        world.net.cut("client", "server")
        transport.sendto(b"cut", address)
        await asyncio.sleep(1)
        world.net.heal()
        world.net.clog("client", "server")
        transport.sendto(b"clogged", address)
        await asyncio.sleep(1)
        assert server.received == []
        world.net.heal()
        await asyncio.sleep(1)
        assert [data for data, _ in server.received] == [b"clogged"]
        world.net.lose("client", "server", 1.0)
        transport.sendto(b"lost", address)
        await asyncio.sleep(1)
        world.net.heal()
        transport.sendto(b"healed", address)
        await asyncio.sleep(1)
        assert [data for data, _ in server.received] == [b"clogged", b"healed"]

    between(work)


def test_a_process_that_does_not_read_loses_what_its_kernel_cannot_keep() -> None:
    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        transport, _ = await open_endpoint(runtime)
        world.host("server").pause()
        for _ in range(300):
            transport.sendto(bytes(1_000), (world.host("server").address, 53))
        await asyncio.sleep(1)
        assert server.received == []
        world.host("server").resume()
        await asyncio.sleep(1)
        assert len(server.received) == RECEIVE_BUFFER_BYTES // 1_000

    between(work)


def test_a_port_is_free_again_when_its_process_has_ended() -> None:
    async def work(world: World, runtime: Runtime, server: Recorder) -> None:
        transport, _ = await open_endpoint(runtime)
        world.host("server").kill()
        transport.sendto(b"gone", (world.host("server").address, 53))
        await asyncio.sleep(1)
        later = Recorder()

        async def serve(runtime: Runtime) -> None:
            await runtime.net.datagram(lambda: later, "127.0.0.1", 53)
            await forever(runtime)

        world.host("server").boot(serve)
        await asyncio.sleep(1)
        transport.sendto(b"not from outside", (world.host("server").address, 53))
        await asyncio.sleep(1)
        assert server.received == later.received == []

    between(work)
