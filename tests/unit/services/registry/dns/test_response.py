"""The last step: sections, pointers, and room."""

from ipaddress import ip_address

import dns.flags
import dns.message
import pytest

from services.registry.dns import records
from services.registry.dns.codes import RCODE_FORMERR, RCODE_NOERROR, RCODE_NXDOMAIN
from services.registry.dns.name import parse_text
from services.registry.dns.plan import Choice
from services.registry.dns.query import Edns, Query
from services.registry.dns.records import QUESTION_POINTER, SRV_TARGET_AT, TARGET_AT
from services.registry.dns.response import refuse_unread, respond, room_for

NAME = parse_text("web.service.consul")
QUERY = Query(1, 0x0100, NAME + b"\0\x21\0\x01", NAME, 33, 1, None)
SPOKEN = Query(1, 0x0100, NAME + b"\0\x21\0\x01", NAME, 33, 1, Edns(4096, 0, dnssec_ok=False))


def listening(host: str, *ips: str) -> Choice:
    record = QUESTION_POINTER + records.srv(1, 1, 80, parse_text(host), 5)
    return Choice(
        record, 1, 2 + SRV_TARGET_AT, additional=tuple(records.address(ip_address(ip).packed, 5) for ip in ips)
    )


def build(query: Query, *choices: Choice, room: int = 512, rcode: int = RCODE_NOERROR) -> dns.message.Message:
    data, _ = respond(query, rcode, choices, room=room, payload_bytes=1232, is_authoritative=True)
    assert len(data) <= room
    return dns.message.from_wire(data, ignore_trailing=False)


def test_additional_records_belong_to_their_targets_and_come_once() -> None:
    message = build(QUERY, listening("a.example", "10.0.0.1", "2001:db8::1"), listening("a.example", "10.0.0.1"))
    assert [(str(rrset.name), rrset[0].to_text()) for rrset in message.additional] == [
        ("a.example.", "10.0.0.1"),
        ("a.example.", "2001:db8::1"),
    ]


def test_what_follows_an_alias_is_part_of_the_answer() -> None:
    tails = tuple(records.address(ip_address(f"10.0.0.{number}").packed, 5) for number in range(4))
    record = QUESTION_POINTER + records.cname(parse_text("b.consul"), 5)
    alias = Choice(record, 1, 2 + TARGET_AT, following=tails, is_alias=True)
    message = build(QUERY, alias)
    assert [str(rrset.name) for rrset in message.answer] == ["web.service.consul.", "b.consul."]
    assert len(message.answer[1]) == 4
    cut = build(QUERY, alias, room=100)
    assert cut.flags & dns.flags.TC
    assert 0 < len(cut.answer[1]) < 4


@pytest.mark.parametrize("room", range(40, 200))
def test_any_room_is_kept_to(room: int) -> None:
    choices = [listening(f"host-{number}.example", "10.0.0.1") for number in range(4)]
    plain = build(QUERY, *choices, room=room)
    spoken = build(SPOKEN, *choices, room=max(room, 47))
    assert bool(plain.flags & dns.flags.TC) == (sum(map(len, plain.answer)) < 4)
    assert spoken.edns == 0


def test_room() -> None:
    assert room_for(QUERY, True, 1232) == 512
    assert room_for(SPOKEN, True, 1232) == 1232
    assert room_for(SPOKEN, True, 9000) == 4096
    assert room_for(QUERY, False, 1232) == 65_535


def test_what_could_not_be_read_is_not_repeated() -> None:
    data = refuse_unread(b"\xab\xcd\x01\x00" + b"\xff" * 100, RCODE_FORMERR)
    assert data == b"\xab\xcd\x81\x01" + bytes(8)


def test_the_rcode_is_there_without_records() -> None:
    assert build(QUERY, rcode=RCODE_NXDOMAIN).rcode() == RCODE_NXDOMAIN
