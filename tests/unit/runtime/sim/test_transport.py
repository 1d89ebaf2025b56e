"""Simulated connections keep TCP's promises, whatever the seed: order, exactly once, flow control, ends.

Method: protocols of our own and asyncio's streams over SimNet in worlds drawn by hypothesis; blockades come and go
while bytes flow. What is received is always a prefix of what was sent, and all of it unless the connection broke.
"""

import asyncio
import dataclasses
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Runtime
from runtime.sim import Outcome, SwarmOptions, World, run

SEEDS = st.integers(min_value=0, max_value=1 << 32)


async def forever(_: Runtime) -> None:
    await asyncio.get_running_loop().create_future()


class Sink(asyncio.Protocol):
    """Keeps what it hears. Pauses reading now and then when told to."""

    def __init__(self, world: World, *, lazy: bool = False, keep_open: bool = False) -> None:
        self.world = world
        self.lazy = lazy
        self.keep_open = keep_open
        self.received = bytearray()
        self.reads = 0
        self.paused = False
        self.events: list[str] = []
        self.error: Exception | None = None
        self.lost = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        assert not self.events
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        assert data
        assert not self.paused, "data while reading was paused"
        assert self.events[-1] in ("made", "data")
        self.events[1:] = ["data"]
        self.received += data
        self.reads += 1
        if self.lazy and self.world.random.random() < 0.5:
            self.paused = True
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(self.world.random.uniform(0, 0.01), self._resume)

    def _resume(self) -> None:
        self.paused = False
        self.transport.resume_reading()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keep_open

    def connection_lost(self, error: Exception | None) -> None:
        assert self.events[-1] != "lost"
        self.events.append("lost")
        self.error = error
        self.lost.set_result(None)


class Source(Sink):
    """Counts what flow control tells it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.pauses = 0

    def pause_writing(self) -> None:
        assert self.may_write.is_set()
        self.pauses += 1
        assert self.transport.get_write_buffer_size() > self.transport.get_write_buffer_limits()[1]
        self.may_write.clear()

    def resume_writing(self) -> None:
        assert not self.may_write.is_set()
        assert self.transport.get_write_buffer_size() <= self.transport.get_write_buffer_limits()[0]
        self.may_write.set()


def between(
    work: Callable[[World, Source, Sink], Coroutine[Any, Any, None]],
    seed: int,
    options: SwarmOptions | None = None,
    *,
    lazy: bool = False,
    keep_open: bool = False,
) -> Outcome:
    """Runs `work` on the client's host, with a connected source there and a sink on the server's host."""

    async def scenario(world: World) -> None:
        sinks: list[Sink] = []

        def accept() -> Sink:
            sinks.append(Sink(world, lazy=lazy, keep_open=keep_open))
            return sinks[-1]

        async def serve(runtime: Runtime) -> None:
            server = await runtime.net.listen(accept, "0.0.0.0", 7000)
            assert server.sockets[0].getsockname()[1] == 7000
            await server.serve_forever()

        async def connect() -> None:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(0.1)
            _, source = await loop.create_connection(lambda: Source(world), "server", 7000)
            while not sinks or not sinks[0].events:
                await asyncio.sleep(0.001)
            await work(world, source, sinks[0])

        world.host("server").boot(serve)
        world.host("client").boot(forever)
        await world.host("client").spawn(connect(), name="connect")

    return run(seed, scenario, options=options)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.lists(st.integers(min_value=0, max_value=100_000), max_size=12), st.booleans(), st.booleans())
def test_all_arrives_in_order_and_once(seed: int, sizes: list[int], lazy: bool, obedient: bool) -> None:
    content = random.Random(seed).randbytes(sum(sizes))

    async def work(world: World, source: Source, sink: Sink) -> None:
        at = 0
        for size in sizes:
            source.transport.write(content[at : at + size])
            at += size
            if obedient:
                await source.may_write.wait()
            if world.random.random() < 0.3:
                await asyncio.sleep(world.random.uniform(0, 0.01))
        source.transport.close()
        await source.lost
        await sink.lost
        assert bytes(sink.received) == content
        assert sink.events[-2:] == ["eof", "lost"]
        assert source.error is sink.error is None

    between(work, seed, lazy=lazy)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(min_value=1, max_value=300_000))
def test_blockades_delay_and_break_but_never_damage(seed: int, size: int) -> None:
    content = random.Random(seed).randbytes(size)

    async def work(world: World, source: Source, sink: Sink) -> None:
        for at in range(0, size, 10_000):
            source.transport.write(content[at : at + 10_000])
            fault = world.random.randrange(8)
            if fault == 0:
                world.net.cut("client", "server", both=world.random.random() < 0.5)
            elif fault == 1:
                world.net.clog("client", "server")
            elif fault == 2:
                world.net.cut("server", "client", both=False)
            elif fault == 3:
                world.net.heal()
            elif fault == 4 and world.random.random() < 0.1:
                world.net.reset("client", "server")
            await asyncio.sleep(world.random.expovariate(10))
        world.net.heal()
        source.transport.close()
        await source.lost
        if source.error is None and not sink.lost.done():
            async with asyncio.timeout(3_000):
                await sink.lost
        assert content.startswith(bytes(sink.received))
        if source.error is None and sink.error is None:
            assert bytes(sink.received) == content

    between(work, seed)


def test_a_writer_is_paused_and_a_lazy_reader_holds_the_window() -> None:
    options = dataclasses.replace(SwarmOptions(), window_bytes=10_000)

    async def work(world: World, source: Source, sink: Sink) -> None:
        sink.transport.pause_reading()
        source.transport.set_write_buffer_limits(high=20_000, low=5_000)
        source.transport.write(b"x" * 29_000)
        assert (source.pauses, source.transport.get_write_buffer_size()) == (0, 19_000)
        source.transport.write(b"y" * 2_000)
        assert source.pauses == 1
        await asyncio.sleep(100)
        assert not sink.received
        assert source.transport.get_write_buffer_size() == 21_000
        sink.transport.resume_reading()
        await source.may_write.wait()
        await asyncio.sleep(1)
        assert bytes(sink.received) == b"x" * 29_000 + b"y" * 2_000
        assert source.pauses == 1

    between(work, 1, options)


def test_reads_split_and_coalesce_by_seed() -> None:
    reads = set()

    async def work(world: World, source: Source, sink: Sink) -> None:
        for _ in range(10):
            source.transport.write(b"x" * 1000)
            await asyncio.sleep(0.0002)
        await asyncio.sleep(10)
        assert len(sink.received) == 10_000
        reads.add(sink.reads)

    for seed in range(30):
        between(work, seed)
    assert min(reads) < 10 < max(reads)


def test_half_closed_connections_still_carry_the_other_way() -> None:
    async def work(world: World, source: Source, sink: Sink) -> None:
        source.transport.write(b"question")
        source.transport.write_eof()
        with pytest.raises(RuntimeError):
            source.transport.write(b"more")
        await asyncio.sleep(1)
        assert sink.events == ["made", "data", "eof"]
        sink.transport.write(b"answer")
        sink.transport.close()
        await source.lost
        assert bytes(source.received) == b"answer"
        assert source.events == ["made", "data", "eof", "lost"]

    between(work, 1, SwarmOptions(), keep_open=True)


def test_closing_with_unread_bytes_resets_the_other_side() -> None:
    async def work(world: World, source: Source, sink: Sink) -> None:
        sink.transport.pause_reading()
        source.transport.write(b"unread")
        await asyncio.sleep(1)
        sink.transport.close()
        await source.lost
        assert isinstance(source.error, ConnectionResetError)
        assert sink.error is None

    between(work, 1, SwarmOptions())


def test_writing_to_a_closed_peer_is_answered_by_a_reset() -> None:
    async def work(world: World, source: Source, sink: Sink) -> None:
        source.keep_open = True
        sink.transport.close()
        await asyncio.sleep(1)
        assert source.events == ["made", "eof"]
        source.transport.write(b"too late")
        await source.lost
        assert isinstance(source.error, ConnectionResetError)

    between(work, 1, SwarmOptions())


def test_abort_drops_what_was_buffered() -> None:
    options = dataclasses.replace(SwarmOptions(), window_bytes=1_000)

    async def work(world: World, source: Source, sink: Sink) -> None:
        source.transport.write(b"x" * 50_000)
        source.transport.abort()
        assert source.transport.is_closing()
        source.transport.write(b"ignored")
        await source.lost
        await sink.lost
        assert 0 < len(sink.received) <= 1_000

    between(work, 1, options)


def test_names_and_limits() -> None:
    async def work(world: World, source: Source, sink: Sink) -> None:
        client, server = source.transport, sink.transport
        assert client.get_extra_info("peername") == server.get_extra_info("sockname") == ("10.0.0.1", 7000)
        assert client.get_extra_info("sockname") == server.get_extra_info("peername")
        client.get_extra_info("socket").setsockopt(6, 1, 1)
        assert client.get_extra_info("ssl_object", "none") == "none"
        with pytest.raises(TypeError):
            client.write("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            client.set_write_buffer_limits(high=1, low=2)

    between(work, 1, SwarmOptions())


def test_buffered_protocols_are_fed_through_their_buffer() -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(7)
            self.received = bytearray()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.received += self.buffer[:nbytes]

    async def work(world: World, source: Source, sink: Sink) -> None:
        protocol = Buffered()
        sink.transport.set_protocol(protocol)
        assert sink.transport.get_protocol() is protocol
        source.transport.writelines([b"one way ", b"or another"])
        await asyncio.sleep(1)
        assert bytes(protocol.received) == b"one way or another"

    between(work, 1, SwarmOptions())


def test_streams_echo_through_seeded_worlds_and_faults() -> None:
    async def serve(runtime: Runtime) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(65_536):
                    writer.write(data)
                    await writer.drain()
            except OSError:
                return
            finally:
                writer.close()

        server = await asyncio.start_server(echo, "0.0.0.0", 7)
        await server.serve_forever()

    async def ask(world: World, number: int) -> int:
        answered = 0
        while answered < 20:
            try:
                reader, writer = await asyncio.open_connection("server", 7)
            except OSError:
                await asyncio.sleep(0.5)
                continue
            try:
                while answered < 20:
                    question = b"%d-%d;" % (number, answered) * 100
                    async with asyncio.timeout(5):
                        writer.write(question)
                        assert await reader.readexactly(len(question)) == question
                    answered += 1
                    await asyncio.sleep(0.2)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
            finally:
                writer.close()
        return answered

    async def scenario(world: World) -> None:
        server, client = world.host("server"), world.host("client")
        server.boot(serve)
        client.boot(forever)
        asks = [client.spawn(ask(world, number), name=f"ask-{number}") for number in range(5)]
        while not all(task.done() for task in asks):
            await asyncio.sleep(world.random.uniform(0, 2))
            fault = world.random.randrange(6)
            if fault == 0:
                world.net.reset("client", "server")
            elif fault == 1:
                world.net.half_open("client", "server")
            elif fault == 2:
                server.pause()
                await asyncio.sleep(1)
                server.resume()
            elif fault in (3, 4):
                (server.crash if fault == 3 else server.kill)()
                await asyncio.sleep(world.random.uniform(0, 1))
                server.boot(serve)
            else:
                world.net.cut("client", "server", both=world.random.random() < 0.5)
                await asyncio.sleep(1)
                world.net.heal()
        assert [task.result() for task in asks] == [20] * 5

    for seed in range(25):
        outcome = run(seed, scenario)
        assert outcome.connections >= 5
        assert outcome.messages >= 200
