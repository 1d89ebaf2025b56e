"""Whose address it is; a walk through the catalogue at most once a second."""

from ipaddress import ip_address

from services.registry.dns.reverse import NAMES_MAX, REFRESH_S, ReverseTable
from tests.unit.services.registry.dns.book import Book

LOOPBACK = ip_address("127.0.0.1").packed


def test_names_of_an_address() -> None:
    book = Book()
    table = ReverseTable(book.catalogue, book.clock)
    assert table.names(LOOPBACK) == []
    book.instance("n1", "web", "127.0.0.1")
    book.node("n1", "127.0.0.1")
    assert table.names(LOOPBACK) == []
    book.clock.now_s += REFRESH_S
    assert table.names(LOOPBACK) == [("node", "n1"), ("service", "web")]


def test_an_address_of_everything_has_not_all_names() -> None:
    book = Book()
    for number in range(100):
        book.node(f"n{number}", "127.0.0.1")
    assert len(ReverseTable(book.catalogue, book.clock).names(LOOPBACK)) == NAMES_MAX
