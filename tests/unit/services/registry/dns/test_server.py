"""Over real sockets, on both event loops: UDP and TCP on one port, IPv4 and IPv6, asked by dnspython."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
import uvloop

from cluster.http.address import split_address
from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.registry.dns import DnsSection, DnsServer
from services.registry.dns.counting import Drop
from tests.unit.services.registry.dns.book import Book, texts

TIMEOUT_S = 10.0
LOOPS = pytest.mark.parametrize("uv", [True, False], ids=["uvloop", "asyncio"])


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def run(work: Callable[[DnsServer], Awaitable[None]], uv: bool, config: DnsSection) -> None:
    async def main() -> None:
        book = Book()
        book.node("n1", "10.0.0.1")
        for number in range(200):
            book.instance("n1", "web", f"10.1.0.{number}", name=f"web-{number}")
        server = DnsServer(StreamNet(), SystemClock(), SystemRandomness(), book.catalogue, config)
        await server.start()
        try:
            await work(server)
        finally:
            await server.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uv else asyncio.new_event_loop) as runner:
        runner.run(main())


@LOOPS
def test_both_protocols_on_every_address(uv: bool) -> None:
    async def work(server: DnsServer) -> None:
        for address in server.addresses:
            host, port = split_address(address)
            query = dns.message.make_query("n1.node.consul", "A")
            assert texts(await dns.asyncquery.udp(query, host, TIMEOUT_S, port)) == ["10.0.0.1"]
            assert texts(await dns.asyncquery.tcp(query, host, TIMEOUT_S, port)) == ["10.0.0.1"]
            query = dns.message.make_query("web.service.consul", "A", use_edns=0)
            answer, used_tcp = await dns.asyncquery.udp_with_fallback(query, host, TIMEOUT_S, port)
            assert used_tcp
            assert len(texts(answer)) == 200

    listen = ("127.0.0.1:0", "[::1]:0") if has_ipv6() else ("127.0.0.1:0",)
    run(work, uv, DnsSection(listen=listen))


@LOOPS
def test_strangers_hear_nothing(uv: bool) -> None:
    async def work(server: DnsServer) -> None:
        host, port = split_address(server.addresses[0])
        query = dns.message.make_query("n1.node.consul", "A").to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.sendto(query, (host, port))
            async with asyncio.timeout(TIMEOUT_S):
                while not server.counters.dropped[Drop.NOT_ALLOWED]:
                    await asyncio.sleep(0.01)
            with pytest.raises(BlockingIOError):
                client.recv(100)

    run(work, uv, DnsSection(listen=("127.0.0.1:0",), allow_from=("10.0.0.0/8",)))


@LOOPS
def test_a_client_that_asks_much_reads_late_and_says_no_more(uv: bool) -> None:
    """The server stops to listen and to answer, goes on, and ends: on real sockets, whose rules differ by loop."""
    count = 1500

    async def work(server: DnsServer) -> None:
        host, port = split_address(server.addresses[0])
        data = dns.message.make_query("web.service.consul", "A").to_wire()
        reader, writer = await asyncio.open_connection(host, port, limit=4096)
        try:
            writer.write((len(data).to_bytes(2, "big") + data) * count)
            writer.write_eof()
            async with asyncio.timeout(TIMEOUT_S):
                before = -1
                while server.counters.bytes_sent != before:  # Until the server waits for its client.
                    before = server.counters.bytes_sent
                    await asyncio.sleep(0.1)
                for _ in range(count):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    response = await reader.readexactly(size)
                    assert int.from_bytes(response[6:8], "big") == 200
                assert await reader.read() == b""
        finally:
            writer.close()

    run(work, uv, DnsSection(listen=("127.0.0.1:0",)))


@LOOPS
def test_garbage_leaves_the_server_as_it_was(uv: bool) -> None:
    async def work(server: DnsServer) -> None:
        host, port = split_address(server.addresses[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for data in (b"", b"x", bytes(12), bytes(5000), b"\xc0\x0c" * 600):
                client.sendto(data, (host, port))
            query = dns.message.make_query("n1.node.consul", "A")
            assert texts(await dns.asyncquery.udp(query, host, TIMEOUT_S, port)) == ["10.0.0.1"]
        assert server.counters.dropped[Drop.FAILED] == 0

    run(work, uv, DnsSection(listen=("127.0.0.1:0",)))


@LOOPS
def test_a_port_that_is_taken_is_said_and_nothing_stays_bound(uv: bool) -> None:
    async def work(server: DnsServer) -> None:
        config = DnsSection(listen=("127.0.0.1:0", server.addresses[0]))
        book = Book()
        second = DnsServer(StreamNet(), SystemClock(), SystemRandomness(), book.catalogue, config)
        with pytest.raises(OSError):
            await second.start()
        host, port = split_address(second.addresses[0])
        with pytest.raises(OSError):
            await asyncio.open_connection(host, port)

    run(work, uv, DnsSection(listen=("127.0.0.1:0",)))


def test_no_address_no_server() -> None:
    async def work(server: DnsServer) -> None:
        assert server.addresses == ()

    run(work, True, DnsSection(listen=()))
