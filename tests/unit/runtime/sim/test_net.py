"""Names, ports, refusals, silence, and the faults that a scenario can order."""

import asyncio
import contextlib
import dataclasses
import errno
import socket
from collections.abc import Awaitable, Callable

import pytest

from runtime import Runtime
from runtime.sim import NotSimulated, SwarmOptions, World, run

CALM = SwarmOptions()


async def forever(_: Runtime) -> None:
    await asyncio.get_running_loop().create_future()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()


async def serve(_: Runtime) -> None:
    await (await asyncio.start_server(greet, "0.0.0.0", 80)).serve_forever()


def from_client(work: Callable[[World], Awaitable[None]], options: SwarmOptions = CALM, seed: int = 1) -> None:
    """Runs `work` on the host `client`, beside a `server` that serves."""

    async def scenario(world: World) -> None:
        world.host("server").boot(serve)
        world.host("client").boot(forever)
        await asyncio.sleep(0.1)

        async def call() -> None:
            await work(world)

        await world.host("client").spawn(call(), name="work")

    run(seed, scenario, options=options)


def test_names_addresses_and_refusals() -> None:
    async def work(world: World) -> None:
        address = world.host("server").address
        for name in ("server", address):
            reader, writer = await asyncio.open_connection(name, 80)
            assert await reader.readexactly(5) == b"hello"
            writer.close()
        found = await asyncio.get_running_loop().getaddrinfo("server", 80)
        assert found[0][4] == (address, 80)
        with pytest.raises(socket.gaierror):
            await asyncio.open_connection("nowhere", 80)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("server", 81)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("localhost", 80)

    from_client(work)


def test_listening() -> None:
    async def work(world: World) -> None:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        assert host == "127.0.0.1"
        assert server.is_serving()
        with pytest.raises(OSError) as caught:
            await asyncio.start_server(greet, None, port)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError) as caught:
            await asyncio.start_server(greet, "server", port + 1)
        assert caught.value.errno == errno.EADDRNOTAVAIL
        reader, writer = await asyncio.open_connection("localhost", port)
        assert await reader.readexactly(5) == b"hello"
        server.close()
        assert not server.is_serving()
        assert server.sockets == ()
        waiting = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(1)
        assert not waiting.done(), "a connection is still open"
        writer.close()
        await waiting
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("localhost", port)

    from_client(work)


def test_loopback_is_not_reached_from_elsewhere_and_the_world_has_no_network() -> None:
    async def scenario(world: World) -> None:
        async def main(_: Runtime) -> None:
            await (await asyncio.start_server(greet, "127.0.0.1", 80)).serve_forever()

        async def call() -> None:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("server", 80)

        world.host("server").boot(main)
        client = world.host("client")
        client.boot(forever)
        await asyncio.sleep(1)
        await client.spawn(call(), name="call")
        with pytest.raises(NotSimulated, match="no host"):
            await asyncio.open_connection("server", 80)

    run(1, scenario, options=CALM)


def test_a_host_without_power_refuses_or_is_silent() -> None:
    for probability, kind, patience_s in ((1.0, errno.EHOSTUNREACH, 0.1), (0.0, errno.ETIMEDOUT, 20.0)):

        async def work(world: World, kind: int = kind, patience_s: float = patience_s) -> None:
            world.host("server").crash()
            start_s = world.virtual_s
            with pytest.raises(OSError) as caught:
                await asyncio.open_connection("server", 80)
            assert caught.value.errno == kind
            assert world.virtual_s - start_s == pytest.approx(patience_s, abs=0.2)

        from_client(work, dataclasses.replace(CALM, refuse_probability=probability))


def test_a_connection_to_a_host_that_lost_power_is_half_open_until_it_is_back() -> None:
    async def work(world: World) -> None:
        server = world.host("server")
        reader, writer = await asyncio.open_connection("server", 80)
        await reader.readexactly(5)
        server.crash()
        await asyncio.sleep(10)
        assert not reader.at_eof(), "nobody has told"
        writer.write(b"anyone?")
        await asyncio.sleep(10)
        server.boot(serve)
        with pytest.raises(ConnectionResetError):
            await reader.read()

    from_client(work, dataclasses.replace(CALM, user_timeout_s=900))


def test_unacknowledged_bytes_break_the_connection_in_the_end() -> None:
    async def work(world: World) -> None:
        reader, writer = await asyncio.open_connection("server", 80)
        await reader.readexactly(5)
        world.net.cut("client", "server")
        writer.write(b"anyone?")
        start_s = world.virtual_s
        with pytest.raises(TimeoutError):
            await reader.read()
        assert world.virtual_s - start_s == pytest.approx(CALM.user_timeout_s, abs=1)

    from_client(work)


def test_a_killed_process_is_heard_of_at_once() -> None:
    async def work(world: World) -> None:
        reader, writer = await asyncio.open_connection("server", 80)
        await reader.readexactly(5)
        world.host("server").kill()
        start_s = world.virtual_s
        try:
            ends.append(await reader.read())
        except ConnectionResetError:
            ends.append(None)
        assert world.virtual_s - start_s < 0.1
        writer.close()

    ends: list[bytes | None] = []
    for seed in range(12):
        from_client(work, seed=seed)
    assert set(ends) == {b"", None}


def test_cuts_one_way_clogs_and_slow_links() -> None:
    async def work(world: World) -> None:
        heard: list[bytes] = []

        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                heard.append(data)

        await asyncio.start_server(keep, "0.0.0.0", 90)
        reader, writer = await asyncio.open_connection("server", 80)
        await reader.readexactly(5)

        async def dial_back() -> asyncio.StreamWriter:
            return (await asyncio.open_connection("client", 90))[1]

        back = await world.host("server").spawn(dial_back(), name="back")
        world.net.cut("client", "server", both=False)
        back.write(b"this way is open")
        await asyncio.sleep(1)
        assert heard == [b"this way is open"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.open_connection("server", 80)
        world.net.mend("client", "server", both=False)
        world.net.clog("server", "client")
        back.write(b"held ")
        await asyncio.sleep(5)
        back.write(b"back")
        await asyncio.sleep(5)
        assert len(heard) == 1
        world.net.unclog("server", "client")
        await asyncio.sleep(5)
        assert b"".join(heard[1:]) == b"held back"
        world.net.slow("server", "client", 10_000)
        back.write(b"slowly")
        await asyncio.sleep(1)
        assert heard[-1] != b"slowly"
        await asyncio.sleep(20)
        assert heard[-1] == b"slowly"
        world.net.isolate("client")
        world.net.heal()
        writer.close()

    from_client(work)


def test_partitions_cut_between_sides_only() -> None:
    async def scenario(world: World) -> None:
        names = ["a", "b", "c"]
        for name in names:
            world.host(name).boot(serve)
        world.net.partition(["a"], ["b", "c"])

        async def reaches(name: str) -> bool:
            try:
                async with asyncio.timeout(5):
                    _, writer = await asyncio.open_connection(name, 80)
            except (OSError, TimeoutError):
                return False
            writer.close()
            return True

        async def matrix() -> list[list[bool]]:
            return [[await world.host(a).spawn(reaches(b), name="try") for b in names] for a in names]

        assert await matrix() == [[True, False, False], [False, True, True], [False, True, True]]
        world.net.heal()
        assert await matrix() == [[True] * 3] * 3

    run(1, scenario, options=CALM)


def test_a_dial_that_is_cancelled_leaves_no_connection_behind() -> None:
    async def work(world: World) -> None:
        world.net.slow("server", "client", 1000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.open_connection("server", 80)
        await asyncio.sleep(10)
        assert not world.net.ends

    from_client(work)


def test_bandwidth_takes_time() -> None:
    async def work(world: World) -> None:
        _, writer = await asyncio.open_connection("server", 80)
        start_s = world.virtual_s
        writer.write(b"x" * 1_000_000)
        writer.close()
        while world.net.ends:
            await asyncio.sleep(0.01)
        assert world.virtual_s - start_s == pytest.approx(10, rel=0.1)

    from_client(work, dataclasses.replace(CALM, bandwidth_bytes_s=1e5))
