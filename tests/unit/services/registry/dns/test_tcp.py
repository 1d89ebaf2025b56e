"""Connections: framing, pipelining, clients that stop reading or say nothing; in the simulator, on virtual time."""

import asyncio
import itertools
import struct
from collections.abc import Awaitable, Callable

import dns.message
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Runtime
from runtime.sim import SwarmOptions, World, run
from services.registry.dns.config import DnsSection
from services.registry.dns.counting import Drop
from services.registry.dns.query import QUERY_BYTES_MAX
from services.registry.dns.server import DnsServer
from services.registry.dns.tcp import ANSWERS_PER_TURN_MAX, WRITE_BYTES_MAX, TcpConnection
from tests.unit.services.registry.dns.book import Book, texts

IDLE_S = 4.0
CONFIG = DnsSection(listen=("0.0.0.0:53",), idle_ms_max=int(IDLE_S * 1000), allow_from=("0.0.0.0/0",))


class Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = bytearray()
        self.read: list[dns.message.Message] = []
        self.lost = asyncio.Event()
        self.came = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.came.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def messages(self) -> list[dns.message.Message]:
        while len(self.received) >= 2:
            end = 2 + int.from_bytes(self.received[:2], "big")
            if len(self.received) < end:
                break
            self.read.append(dns.message.from_wire(bytes(self.received[2:end])))
            del self.received[:end]
        return self.read

    async def answers(self, count: int) -> list[dns.message.Message]:
        while len(self.messages()) < count:
            self.came.clear()
            await self.came.wait()
        return self.messages()


def framed(name: str, record_type: str = "A", identity: int = 0) -> bytes:
    data = dns.message.make_query(name, record_type, id=identity).to_wire()
    return struct.pack(">H", len(data)) + data


def play(
    work: Callable[[DnsServer, Callable[[], Awaitable[Client]], Book], Awaitable[None]],
    config: DnsSection = CONFIG,
    instances: int = 1,
) -> None:
    """Runs `work(server, connect, book)` on a host beside the server's."""

    async def scenario(world: World) -> None:
        started: asyncio.Future[DnsServer] = asyncio.get_running_loop().create_future()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        book = Book(config)
        book.node("n1", "10.0.0.1")
        for number in range(instances):
            book.instance("n1", "web", f"10.1.{number >> 8}.{number & 255}", name=f"web-{number}")

        async def serve(runtime: Runtime) -> None:
            server = DnsServer(runtime.net, runtime.clock, runtime.random, book.catalogue, config)
            await server.start()
            started.set_result(server)
            await asyncio.get_running_loop().create_future()

        async def ask(runtime: Runtime) -> None:
            server = await started

            async def connect() -> Client:
                _, protocol = await runtime.net.connect(Client, "server", 53)
                assert isinstance(protocol, Client)
                return protocol

            await work(server, connect, book)
            done.set_result(None)
            await asyncio.get_running_loop().create_future()

        world.host("server").boot(serve)
        world.host("client").boot(ask)
        await done

    run(1, scenario, options=SwarmOptions())


def test_questions_in_one_write_are_answered_in_order() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        count = 3 * ANSWERS_PER_TURN_MAX + 5
        client.write(b"".join(framed("web.service.consul", identity=number) for number in range(count)))
        answers = await client.answers(count)
        assert [answer.id for answer in answers] == list(range(count))
        assert all(texts(answer) == ["10.1.0.0"] for answer in answers)

    play(work)


def test_questions_in_pieces_are_answered() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        data = framed("web.service.consul", identity=1) + framed("n1.node.consul", identity=2)
        for offset in range(len(data)):
            client.write(data[offset : offset + 1])
            await asyncio.sleep(0.01)
        assert [texts(answer) for answer in await client.answers(2)] == [["10.1.0.0"], ["10.0.0.1"]]

    play(work)


def test_a_client_that_says_no_more_still_gets_its_answers() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        assert client.transport is not None
        count = 2 * ANSWERS_PER_TURN_MAX + 1
        client.write(framed("web.service.consul") * count)
        client.transport.write_eof()
        await client.lost.wait()
        assert len(client.messages()) == count
        assert server.counters.connections == 0

    play(work)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0",
        struct.pack(">H", 11) + bytes(11),
        struct.pack(">H", QUERY_BYTES_MAX + 1),
        b"\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">H", 12) + b"\0\0\x80" + bytes(9),
    ],
)
def test_what_makes_no_sense_ends_the_connection_after_the_answers(data: bytes) -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        client.write(framed("web.service.consul") + data)
        await client.lost.wait()
        assert len(client.messages()) == 1
        assert server.counters.dropped[Drop.FRAME] + server.counters.dropped[Drop.UNANSWERABLE] == 1

    play(work)


def test_what_is_malformed_does_not_end_the_connection() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        client.write(struct.pack(">H", 12) + bytes(12) + framed("web.service.consul"))
        answers = await client.answers(2)
        assert [int(answer.rcode()) for answer in answers] == [1, 0]

    play(work)


def test_silence_ends_the_connection_and_half_a_question_is_silence() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        loop = asyncio.get_running_loop()
        quiet, slow, busy = await connect(), await connect(), await connect()
        began_s = loop.time()
        sent = False
        while not (quiet.lost.is_set() and slow.lost.is_set()):
            slow.write(b"\1" if not sent else b"")
            sent = True
            busy.write(framed("web.service.consul"))
            await asyncio.sleep(0.5)
            assert loop.time() - began_s < 2 * IDLE_S
        assert loop.time() - began_s > IDLE_S - 1
        assert not busy.lost.is_set()
        assert server.counters.dropped[Drop.IDLE] == 2
        assert server.counters.connections == 1

    play(work)


def test_a_client_that_takes_no_answers_is_not_listened_to_and_then_cut_off() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        assert client.transport is not None
        client.transport.pause_reading()
        for _ in range(400):
            client.write(framed("web.service.consul") * 20)
            await asyncio.sleep(0.001)
        sent = server.counters.bytes_sent
        # 8,000 questions with 16 kB of answer each are 128 MB.
        assert sent < 8 * WRITE_BYTES_MAX, sent
        await asyncio.sleep(IDLE_S / 4)
        assert server.counters.bytes_sent == sent
        while server.counters.connections:
            await asyncio.sleep(0.1)
        assert server.counters.dropped[Drop.IDLE] == 1

    play(work, instances=1000)


def test_a_client_that_takes_its_answers_slowly_gets_all() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        assert client.transport is not None
        client.write(framed("web.service.consul") * 300)
        for _ in range(50):
            client.transport.pause_reading()
            await asyncio.sleep(0.2)
            client.transport.resume_reading()
            await asyncio.sleep(0.01)
        frame = 2 + int.from_bytes(client.received[:2], "big")
        while len(client.received) < 300 * frame:
            client.came.clear()
            await client.came.wait()
        assert client.received[-frame:][:4] == client.received[:4]

    play(work, instances=400)


def test_connections_have_a_limit_together_and_for_each_client() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        clients = [await connect() for _ in range(2)]
        refused = await connect()
        await refused.lost.wait()
        assert server.counters.connections == 2
        assert server.counters.dropped[Drop.CONNECTIONS] == 1
        assert clients[0].transport is not None
        clients[0].transport.close()
        while server.counters.connections == 2:
            await asyncio.sleep(0.01)
        again = await connect()
        again.write(framed("web.service.consul"))
        assert len(await again.answers(1)) == 1

    play(work, msgspec.structs.replace(CONFIG, connections_max=2))
    play(work, msgspec.structs.replace(CONFIG, connections_per_client_max=2))


def test_strangers_are_not_answered() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        await client.lost.wait()
        assert server.counters.dropped[Drop.NOT_ALLOWED] == 1
        assert server.counters.connections == 0

    play(work, DnsSection(listen=CONFIG.listen, allow_from=("203.0.113.0/24",)))


def test_stopping_ends_connections() -> None:
    async def work(server: DnsServer, connect: Callable[[], Awaitable[Client]], book: Book) -> None:
        client = await connect()
        client.write(framed("web.service.consul"))
        await client.answers(1)
        await server.stop()
        await client.lost.wait()
        assert server.counters.connections == 0

    play(work)


class Wire(asyncio.Transport):
    """Takes what is written, and remembers whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def feed(chunks: list[bytes], *, ends: bool, hurries: bool = False) -> tuple[bytes, bool]:
    """What a connection writes to these chunks, and whether it ends. `hurries`: the end comes before the answers."""

    async def work() -> tuple[bytes, bool]:
        book = Book()
        book.node("n1", "10.0.0.1")
        lost: list[TcpConnection] = []
        connection = TcpConnection(book.responder, book.counters, 60.0, lambda _, host: True, lost.append)
        wire = Wire()
        connection.connection_made(wire)
        for chunk in chunks:
            if not wire.closed:
                connection.data_received(chunk)
            while connection._turn is not None and not wire.closed and not hurries:
                await asyncio.sleep(0)
        if ends and not wire.closed:
            connection.eof_received()
            while connection._turn is not None:
                await asyncio.sleep(0)
        connection.connection_lost(None)
        assert lost == [connection]
        return bytes(wire.written), wire.closed

    with asyncio.Runner() as runner:
        return runner.run(work())


MESSAGES = st.one_of(
    st.sampled_from(
        [framed("n1.node.consul"), framed("nope.node.consul", "SRV", 7), struct.pack(">H", 12) + bytes(12)]
    ),
    st.binary(max_size=20),
)


@given(st.lists(MESSAGES, max_size=150), st.lists(st.integers(0, 6000), max_size=12), st.booleans())
@settings(deadline=None, max_examples=60)
def test_however_the_bytes_are_cut_the_answers_are_the_same(messages: list[bytes], cuts: list[int], ends: bool) -> None:
    data = b"".join(messages)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(places)]
    assert feed(chunks, ends=ends) == feed([data], ends=ends)


def test_an_end_that_comes_before_the_answers_does_not_cost_them() -> None:
    data = framed("n1.node.consul") * (3 * ANSWERS_PER_TURN_MAX + 1)
    assert feed([data], ends=True, hurries=True) == feed([data], ends=True)
    assert feed([data], ends=True, hurries=True)[1]
