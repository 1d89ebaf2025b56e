"""Goal: no bytes do anything but be read, refused as malformed, or left unanswered; what dnspython writes is read.

Method: real queries, each wrong in one way; then hypothesis with random bytes, mutated queries, and cut ones.
"""

import struct
import time

import dns.edns
import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.dns.codes import RCODE_FORMERR, RCODE_NOTIMP
from services.registry.dns.malformed import Malformed, Unanswerable
from services.registry.dns.query import (
    ADDITIONAL_RECORDS_MAX,
    OPTIONS_MAX,
    QUERY_BYTES_MAX,
    Edns,
    Query,
    parse_query,
)

QUESTION = b"\x03Web\x07service\x06consul\0\0\x01\0\x01"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def message(
    body: bytes = QUESTION, flags: int = 0x0100, questions: int = 1, answers: int = 0, ns: int = 0, more: int = 0
) -> bytes:
    return struct.pack(">HHHHHH", 0x1234, flags, questions, answers, ns, more) + body


def test_a_query_is_read() -> None:
    query = parse_query(message(QUESTION + OPT, more=1))
    assert query == Query(
        0x1234, 0x0100, QUESTION, b"\x03web\x07service\x06consul\0", 1, 1, Edns(1232, 0, dnssec_ok=False)
    )


@pytest.mark.parametrize("flags", [0x8000, 0x8180, 0xA800])
def test_a_response_is_never_answered(flags: int) -> None:
    with pytest.raises(Unanswerable):
        parse_query(message(flags=flags))


@pytest.mark.parametrize("size", range(12))
def test_what_has_no_header_is_not_answered(size: int) -> None:
    with pytest.raises(Unanswerable):
        parse_query(message()[:size])


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
def test_other_opcodes_are_not_implemented(opcode: int) -> None:
    with pytest.raises(Malformed) as caught:
        parse_query(message(flags=opcode << 11, questions=0, body=b""))
    assert caught.value.rcode == RCODE_NOTIMP


@pytest.mark.parametrize(
    "data",
    [
        message(questions=0, body=b""),
        message(QUESTION * 2, questions=2),
        message(questions=65535),
        message(answers=1),
        message(ns=1),
        message(more=1),
        message(QUESTION + OPT * 2, more=2),
        message(QUESTION + OPT[:-1], more=1),
        message(QUESTION + OPT + b"x", more=1),
        message(QUESTION + b"x"),
        message(QUESTION[:-1]),
        message(QUESTION[:5]),
        message(b"\xc0\x0c\0\x01\0\x01"),
        message(b"\x40" + QUESTION),
        message((b"\x3f" + b"a" * 63) * 4 + b"\0\0\x01\0\x01"),
        message(b"\0\0\x29\0\x01"),
        message(QUESTION + b"\x01a" + OPT, more=1),
        message(QUESTION + OPT[:-2] + b"\0\x05" + b"\0\x0a\0\x02x", more=1),
        message(QUESTION + OPT[:-2] + b"\0\x03" + b"\0\x0a\0", more=1),
        message(QUESTION + OPT[:-2] + struct.pack(">H", 4 * OPTIONS_MAX + 4) + bytes(4 * OPTIONS_MAX + 4), more=1),
        message(QUESTION + (b"\0\0\x01\0\x01\0\0\0\0\0\0") * 9, more=ADDITIONAL_RECORDS_MAX + 1),
        message(QUESTION + b"\0" * QUERY_BYTES_MAX),
        message(QUESTION + b"\xc0\x21\0\x01\0\x01\0\0\0\0\0\0", more=1),
    ],
)
def test_what_is_wrong_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_query(data)
    assert caught.value.rcode == RCODE_FORMERR


def test_other_additional_records_are_passed_over() -> None:
    """A signature, for example, whose owner is a pointer to the question."""
    record = b"\xc0\x0c\0\xfa\0\xff\0\0\0\0\0\x03abc"
    query = parse_query(message(QUESTION + record + OPT + record, more=3))
    assert query.edns == Edns(1232, 0, dnssec_ok=False)


def test_a_later_version_is_read_without_its_options() -> None:
    """They may mean, and look like, anything. The client is told the version that is spoken here."""
    query = parse_query(message(QUESTION + b"\0\0\x29\x00\x10\0\x01\x80\0\0\x01x", more=1))
    assert query.edns == Edns(512, 1, dnssec_ok=True)


NAMES = st.lists(st.binary(min_size=1, max_size=20), min_size=0, max_size=8).map(
    lambda labels: dns.name.Name([*labels, b""])
)


@given(NAMES, st.integers(1, 65535).filter(lambda t: t not in (41, 250)), st.booleans(), st.binary(max_size=30))
@settings(deadline=None)
def test_what_dnspython_writes_is_read(name: dns.name.Name, record_type: int, edns: bool, option: bytes) -> None:
    theirs = dns.message.make_query(name, dns.rdatatype.RdataType.make(record_type), use_edns=0 if edns else -1)
    if edns:
        theirs.use_edns(0, 0x8000, 4000, options=[dns.edns.GenericOption(dns.edns.OptionType.make(65001), option)])
    ours = parse_query(theirs.to_wire())
    assert ours.id == theirs.id
    wire = name.to_wire()
    assert wire is not None
    assert ours.name == wire.lower()
    assert ours.question[: len(ours.name)] == wire
    assert ours.type == record_type
    assert ours.edns == (Edns(4000, 0, dnssec_ok=True) if edns else None)


def read(data: bytes) -> Query | None:
    """Anything but the two errors of the codec fails the test."""
    try:
        return parse_query(data)
    except (Malformed, Unanswerable):
        return None


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_random_bytes(data: bytes) -> None:
    read(data)


@given(st.binary(max_size=100), st.integers(0, 3), st.integers(0, 0x7FF))
@settings(deadline=None)
def test_random_bodies_behind_a_header_that_makes_sense(body: bytes, more: int, flags: int) -> None:
    read(message(body, flags=flags, more=more))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_and_cut_queries(data: st.DataObject) -> None:
    """What is still read is also what dnspython reads: nobody can show two servers two different questions."""
    base = bytearray(
        message(QUESTION + OPT[:-2] + b"\0\x0c" + b"\0\x0a\0\x08cookies!" + b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\0", more=2)
    )
    for _ in range(data.draw(st.integers(0, 4))):
        base[data.draw(st.integers(0, len(base) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(base[: data.draw(st.integers(0, len(base)))])
    ours = read(cut)
    if ours is None:
        return
    try:
        theirs = dns.message.from_wire(cut, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError, KeyError, NotImplementedError):
        return  # they look into records and options that are passed over here
    if theirs.opcode() == dns.opcode.QUERY and theirs.question:
        wire = theirs.question[0].name.to_wire()
        assert wire is not None
        assert wire.lower() == ours.name
        assert int(theirs.question[0].rdtype) == ours.type


def test_the_longest_and_most_tangled_message_is_read_quickly() -> None:
    """Eight additional records whose names go through as many pointers as they may, in a full-sized message."""
    chain = b"".join((0xC000 | (12 + 2 * i)).to_bytes(2, "big") for i in range(40))
    body = QUESTION + (chain[:2] + b"\xff\0\0\x01\0\0\0\0\x01\xc0" + b"\xc0\x0c" * 224) * 8
    data = message(body[: QUERY_BYTES_MAX - 12], more=8)
    began_s = time.process_time()
    for _ in range(200):
        read(data)
    assert time.process_time() - began_s < 1.0
