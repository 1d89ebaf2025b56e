"""Names on the wire: what is read, what is refused, and that nothing loops."""

import dns.exception
import dns.name
import dns.wire
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.dns.codes import NAME_BYTES_MAX
from services.registry.dns.malformed import Malformed
from services.registry.dns.name import POINTERS_MAX, join_name, parse_text, read_name, split_name

HEADER = bytes(12)
LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=8).filter(
    lambda labels: sum(len(label) + 1 for label in labels) < NAME_BYTES_MAX
)


@given(LABELS)
@settings(deadline=None)
def test_a_name_is_split_as_it_was_joined(labels: list[bytes]) -> None:
    name = join_name(labels)
    assert split_name(name) == labels
    assert read_name(HEADER + name + b"rest", 12) == (name, 12 + len(name))


def test_a_pointer_leads_back_and_the_reader_goes_on_behind_it() -> None:
    data = HEADER + b"\x03web\x06consul\0" + b"\x03api\xc0\x10" + b"after"
    assert read_name(data, 24) == (b"\x03api\x06consul\0", 30)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (HEADER + b"\xc0\x0c", "backwards"),
        (HEADER + b"\xc0\x0e\xc0\x0c", "backwards"),
        (HEADER + b"\x01a\xc0\x0c", "backwards"),
        (HEADER + b"\xc0\x02", "backwards"),
        (HEADER + b"\xff\xff", "backwards"),
        (HEADER + b"\xc0", "cut off"),
        (HEADER + b"\x05abc", "cut off"),
        (HEADER + b"\x03abc", "cut off"),
        (HEADER, "cut off"),
        (HEADER + b"\x40abc", "abolished"),
        (HEADER + b"\x80abc", "abolished"),
        (HEADER + b"\x3f" + bytes(63) + (b"\x3f" + bytes(63)) * 3 + b"\0", "longer"),
    ],
)
def test_what_is_no_name_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read_name(data, 12)


def test_a_chain_of_pointers_has_an_end() -> None:
    """Each points to the one before, so none loops, and still their number is bounded."""
    chain = HEADER + b"\0" + b"".join((0xC000 | (12 if i == 0 else 11 + 2 * i)).to_bytes(2, "big") for i in range(100))
    assert read_name(chain, 11 + 2 * POINTERS_MAX)[0] == b"\0"
    with pytest.raises(Malformed, match="pointers"):
        read_name(chain, 13 + 2 * POINTERS_MAX)


@given(st.binary(max_size=200), st.integers(12, 220))
@settings(deadline=None)
def test_any_bytes_are_read_as_somebody_else_reads_them_or_refused(data: bytes, offset: int) -> None:
    data = HEADER + data
    try:
        name, end = read_name(data, offset)
    except Malformed:
        return
    parser = dns.wire.Parser(data, offset)
    theirs = parser.get_name()
    assert theirs.to_wire() == name
    assert parser.current == end


@given(st.binary(max_size=120))
@settings(deadline=None)
def test_a_name_that_somebody_else_reads_is_refused_only_for_what_is_stricter_here(data: bytes) -> None:
    data = HEADER + data
    try:
        dns.wire.Parser(data, 12).get_name()
    except (dns.exception.DNSException, ValueError):
        with pytest.raises(Malformed):
            read_name(data, 12)


def test_text() -> None:
    assert parse_text("web.Service.consul.") == b"\x03web\x07Service\x06consul\0"
    assert parse_text("") == parse_text(".") == b"\0"
    for text in ("a..b", ".a", "a" * 64, ".".join(["a" * 60] * 5)):
        with pytest.raises(ValueError):
            parse_text(text)
