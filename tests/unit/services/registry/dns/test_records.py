"""Records, read back by dnspython."""

from ipaddress import ip_address

import dns.message
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.dns import records
from services.registry.dns.name import parse_text


def read(tail: bytes) -> tuple[str, int, str]:
    """Type, TTL, and the data as text."""
    record_type = dns.rdatatype.RdataType(int.from_bytes(tail[:2], "big"))
    ttl_s, size = int.from_bytes(tail[4:8], "big"), int.from_bytes(tail[8:10], "big")
    assert len(tail) == 10 + size
    data = dns.rdata.from_wire(dns.rdataclass.IN, record_type, tail, 10, size)
    return dns.rdatatype.to_text(record_type), ttl_s, data.to_text()


def test_each() -> None:
    name = parse_text("db.example.com")
    assert read(records.address(ip_address("10.1.2.3").packed, 5)) == ("A", 5, "10.1.2.3")
    assert read(records.address(ip_address("2001:db8::1").packed, 6)) == ("AAAA", 6, "2001:db8::1")
    assert read(records.cname(name, 7)) == ("CNAME", 7, "db.example.com.")
    assert read(records.ns(name, 7)) == ("NS", 7, "db.example.com.")
    assert read(records.ptr(name, 7)) == ("PTR", 7, "db.example.com.")
    assert read(records.srv(1, 65535, 8080, name, 0)) == ("SRV", 0, "1 65535 8080 db.example.com.")
    assert read(records.soa(name, name, (1, 2, 3, 4, 5), 9)) == ("SOA", 9, "db.example.com. db.example.com. 1 2 3 4 5")


def test_where_targets_are() -> None:
    name = parse_text("db.example.com")
    assert records.srv(1, 2, 3, name, 4)[records.SRV_TARGET_AT :] == name
    assert records.cname(name, 4)[records.TARGET_AT :] == name


@given(st.text(max_size=600))
@settings(deadline=None)
def test_texts_of_any_length(text: str) -> None:
    tail = records.txt(text, 1)
    data = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.TXT, tail, 10, len(tail) - 10)
    assert b"".join(data.strings) == text.encode("utf-8", "replace")  # type: ignore[attr-defined]


def test_a_text_that_nobody_could_send_is_cut() -> None:
    assert len(records.txt("x" * 100_000, 1)) < records.TXT_BYTES_MAX + 100


def test_a_pointer_cannot_point_everywhere() -> None:
    assert records.pointer_to(12) == records.QUESTION_POINTER
    for offset in (0, 11, 0x4000):
        with pytest.raises(AssertionError):
            records.pointer_to(offset)
