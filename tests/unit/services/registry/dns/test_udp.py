"""One datagram, at most one answer, and no error that reaches the loop."""

import asyncio

import dns.message

from services.registry.dns.admission import Admission
from services.registry.dns.counting import Drop
from services.registry.dns.udp import UdpEndpoint
from tests.unit.services.registry.dns.book import Book


class Socket(asyncio.DatagramTransport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[bytes, object]] = []
        self.closing = False

    def sendto(self, data: bytes | bytearray | memoryview, addr: object = None) -> None:
        if isinstance(addr, tuple) and addr[1] == 0:
            raise OSError(22, "Invalid argument")
        self.sent.append((bytes(data), addr))

    def is_closing(self) -> bool:
        return self.closing


QUERY = dns.message.make_query("n1.node.consul", "A").to_wire()


def test_what_is_answered_and_what_is_counted() -> None:
    book = Book()
    book.node("n1", "10.0.0.1")
    endpoint = UdpEndpoint(book.responder, Admission(book.config.allowed_networks()), book.counters)
    transport = Socket()
    endpoint.datagram_received(QUERY, ("127.0.0.1", 5))
    endpoint.connection_made(transport)
    endpoint.datagram_received(QUERY, ("127.0.0.1", 5))
    assert [where for _, where in transport.sent] == [("127.0.0.1", 5)]
    endpoint.datagram_received(QUERY, ("127.0.0.1", 0))
    endpoint.error_received(OSError("unreachable"))
    endpoint.datagram_received(QUERY, ("8.8.8.8", 5))
    endpoint.datagram_received(transport.sent[0][0], ("127.0.0.1", 5))
    transport.closing = True
    endpoint.datagram_received(QUERY, ("127.0.0.1", 5))
    assert len(transport.sent) == 1
    assert book.counters.dropped == {Drop.NOT_SENT: 2, Drop.NOT_ALLOWED: 1, Drop.UNANSWERABLE: 1}
