"""From bytes to bytes: sizes, truncation, EDNS, what is kept and for how long, and what never happens."""

import random
from collections import Counter
from collections.abc import Sequence

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.dns.config import DnsSection
from services.registry.dns.counting import Drop, Protocol
from services.registry.dns.responder import REST_FACTOR
from services.registry.domain import Health, Weights
from services.registry.interface import Endpoint
from tests.unit.services.registry.dns.book import Book, is_truncated, rcode, texts

TYPES = ("A", "AAAA", "SRV", "TXT", "ANY", "SOA", "NS", "CNAME", "PTR", "TYPE65")


def filled(instances: int, config: DnsSection | None = None) -> Book:
    book = Book(config)
    book.node("n1", "10.0.0.1", {"key": "value"})
    for number in range(instances):
        book.instance("n1", "web", f"10.1.{number >> 8}.{number & 255}", 8000 + number, name=f"web-{number}")
    return book


def test_the_question_comes_back_as_it_was_asked() -> None:
    """Whoever mixes the case to be safe from forgers wants to see its own mixture, in the answers' names, too."""
    book = filled(2)
    response = book.ask("WeB.sErVicE.coNSul")
    assert str(response.question[0].name) == "WeB.sErVicE.coNSul."
    assert str(response.answer[0].name) == "WeB.sErVicE.coNSul."


def test_each_answer_has_an_order_of_its_own() -> None:
    book = filled(5)
    first = Counter(texts(book.ask("web.service.consul"))[0] for _ in range(500))
    assert len(first) == 5
    assert min(first.values()) > 50


def test_the_first_address_follows_the_weights() -> None:
    book = Book()
    book.node("n1", "10.0.0.1")
    book.instance("n1", "web", "10.1.0.1", name="a", weights=Weights(passing=1))
    book.instance("n1", "web", "10.1.0.2", name="b", weights=Weights(passing=9))
    first = Counter(texts(book.ask("web.service.consul"))[0] for _ in range(500))
    assert first["10.1.0.2"] > 400


def test_without_edns_a_few_are_chosen() -> None:
    book = filled(20)
    seen: set[str] = set()
    for _ in range(100):
        response = book.ask("web.service.consul", edns=False)
        assert len(texts(response)) == 3
        assert not is_truncated(response)
        seen.update(texts(response))
    assert len(seen) == 20
    assert len(texts(book.ask("web.service.consul", edns=False, protocol=Protocol.TCP))) == 20


def test_without_that_limit_all_that_fit() -> None:
    book = filled(100, DnsSection(answers_without_edns_max=0))
    query = dns.message.make_query("web.service.consul", "A")
    data = book.bytes_for(query)
    response = dns.message.from_wire(data, ignore_trailing=False)
    assert 496 < len(data) <= 512
    assert len(texts(response)) == (512 - 12 - 24) // 16
    assert is_truncated(response)


@pytest.mark.parametrize("record_type", ["A", "SRV"])
@pytest.mark.parametrize(("payload", "limit"), [(100, 512), (512, 512), (1000, 1000), (4096, 1232)])
def test_truncation_keeps_what_fits(record_type: str, payload: int, limit: int) -> None:
    book = filled(300)
    query = dns.message.make_query("web.service.consul", record_type, use_edns=0, payload=payload)
    data = book.bytes_for(query)
    response = dns.message.from_wire(data, ignore_trailing=False)
    assert len(data) <= limit
    assert len(data) > limit - 60
    assert is_truncated(response)
    assert response.edns == 0
    assert book.counters.truncated == 1
    full = book.ask("web.service.consul", record_type, protocol=Protocol.TCP)
    assert len(texts(full)) == 300
    assert not is_truncated(full)
    assert set(texts(response)) < set(texts(full))


def test_additional_records_are_left_out_without_a_word() -> None:
    """RFC 2181, section 9: TC is for the answer alone."""
    book = filled(9)
    response = book.ask("web.service.consul", "SRV", payload=512)
    assert len(texts(response)) == 9
    assert 0 < len(response.additional) < 9
    assert not is_truncated(response)


def test_truncation_can_be_switched_off() -> None:
    response = filled(300, DnsSection(truncate=False)).ask("web.service.consul")
    assert 60 < len(texts(response)) < 80
    assert not is_truncated(response)


def test_over_tcp_as_much_as_a_message_holds() -> None:
    book = filled(5000)
    query = dns.message.make_query("web.service.consul", "SRV")
    data = book.bytes_for(query, Protocol.TCP)
    response = dns.message.from_wire(data, ignore_trailing=False)
    assert 65_400 < len(data) <= 65_535
    assert not is_truncated(response)
    small = filled(700).ask("web.service.consul", "SRV", protocol=Protocol.TCP)
    assert len(small.answer[0]) == 700
    # Names beyond the reach of a pointer have no additional records.
    assert 0 < len(small.additional) < 700


def test_edns() -> None:
    book = filled(1)
    assert book.ask("web.service.consul", edns=False).edns == -1
    query = dns.message.make_query("web.service.consul", "A", use_edns=0, want_dnssec=True)
    response = dns.message.from_wire(book.bytes_for(query))
    assert (response.edns, response.payload) == (0, 1232)
    assert response.ednsflags & dns.flags.DO
    query = dns.message.make_query("web.service.consul", "A", use_edns=1)
    response = dns.message.from_wire(book.bytes_for(query))
    assert rcode(response) == "BADVERS"
    assert response.edns == 0
    assert not response.answer


def test_classes() -> None:
    book = filled(1)
    for record_class in (dns.rdataclass.CH, dns.rdataclass.NONE, dns.rdataclass.ANY):
        query = dns.message.make_query("web.service.consul", "A", rdclass=record_class)
        assert rcode(dns.message.from_wire(book.bytes_for(query))) == "REFUSED"


def test_flags() -> None:
    book = filled(1)
    query = dns.message.make_query("web.service.consul", "A", flags=dns.flags.CD | dns.flags.AD)
    response = dns.message.from_wire(book.bytes_for(query))
    assert response.flags == dns.flags.QR | dns.flags.AA | dns.flags.CD


def test_what_is_malformed_and_what_is_not_implemented() -> None:
    book = filled(1)
    good = dns.message.make_query("web.service.consul", "A", id=0x4321).to_wire()
    answer = book.responder.respond(good + b"x", Protocol.UDP)
    assert answer == bytes.fromhex("4321810100000000") + bytes(4)
    notify = dns.message.make_query("web.service.consul", "SOA", id=0x4321)
    notify.set_opcode(dns.opcode.NOTIFY)
    answer = book.responder.respond(notify.to_wire(), Protocol.UDP)
    assert answer == bytes.fromhex("4321a10400000000") + bytes(4)


def test_a_response_gets_no_answer() -> None:
    book = filled(1)
    response = book.ask("web.service.consul")
    assert book.responder.respond(response.to_wire(), Protocol.UDP) is None
    assert book.responder.respond(b"short", Protocol.UDP) is None
    assert book.counters.dropped == {Drop.UNANSWERABLE: 2}


def test_before_the_catalogue_is_there() -> None:
    book = Book(ready=False)
    response = book.ask("web.service.consul")
    assert rcode(response) == "SERVFAIL"
    assert [option.to_text() for option in response.options] == ["EDE 14 (Not Ready)"]


def test_stale_answers_say_so() -> None:
    book = filled(1)
    assert book.ask("web.service.consul").options == ()
    book.clock.now_s += 60
    assert [option.to_text() for option in book.ask("web.service.consul").options] == ["EDE 3 (Stale Answer)"]
    nothing = book.ask("nope.service.consul")
    assert rcode(nothing) == "NXDOMAIN"
    assert [option.to_text() for option in nothing.options] == ["EDE 19 (Stale NXDOMAIN Answer)"]
    assert book.ask("web.service.consul", edns=False).edns == -1
    assert book.ask("example.com").options == ()
    assert book.counters.stale == 3


def test_answers_are_kept_until_something_changes() -> None:
    book = filled(3)
    book.instance("n1", "api", "10.5.0.1")
    for _ in range(10):
        book.ask("web.service.consul")
    assert book.counters.plans == 1
    book.instance("n1", "api", "10.5.0.2")
    assert texts(book.ask("web.service.consul"))
    assert book.counters.plans == 1, "another service's change is none of its business"
    book.instance("n1", "web", "10.9.9.9", name="web-9")
    assert "10.9.9.9" in texts(book.ask("web.service.consul"))
    book.remove("n1", "web-9")
    assert "10.9.9.9" not in texts(book.ask("web.service.consul"))
    book.health("n1", "web-0", Health.CRITICAL)
    assert "10.1.0.0" not in texts(book.ask("web.service.consul"))
    book.node("n1", "10.0.0.77")
    assert texts(book.ask("n1.node.consul")) == ["10.0.0.77"]
    book.node("n1", "10.0.0.78")
    assert texts(book.ask("n1.node.consul")) == ["10.0.0.78"]


def test_names_that_are_not_there_fill_no_memory() -> None:
    book = filled(3, DnsSection(cached_answers_max=4))
    for number in range(50):
        book.ask(f"x{number}.service.consul")
        book.ask(f"{number:08x}.addr.consul")
    assert len(book.responder._kept) == 0
    for number in range(20):
        book.instance("n1", f"s{number}", "10.0.0.1")
        assert texts(book.ask(f"s{number}.service.consul")) == ["10.0.0.1"]
        assert len(book.responder._kept) <= 4


def test_what_takes_long_to_put_together_is_not_put_together_for_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    book = filled(3)
    plain = book.catalogue.endpoints

    def slow(service: str) -> Sequence[Endpoint]:
        book.clock.now_s += 0.02
        return plain(service)

    monkeypatch.setattr(book.catalogue, "endpoints", slow)
    assert len(texts(book.ask("web.service.consul"))) == 3
    book.instance("n1", "web", "10.9.9.9", name="web-9")
    assert len(texts(book.ask("web.service.consul"))) == 3
    book.clock.now_s += 0.02 * REST_FACTOR
    assert len(texts(book.ask("web.service.consul"))) == 4
    assert book.counters.plans == 2


def test_an_error_of_ours_is_servfail_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    book = filled(1)

    def broken(service: str) -> Sequence[Endpoint]:
        raise RuntimeError("a fault of the catalogue")

    monkeypatch.setattr(book.catalogue, "endpoints", broken)
    query = dns.message.make_query("web.service.consul", "A")
    assert rcode(dns.message.from_wire(book.bytes_for(query))) == "SERVFAIL"
    assert "a fault of the catalogue" in caplog.text
    assert book.counters.dropped[Drop.FAILED] == 1


def test_counters() -> None:
    book = filled(1)
    book.ask("web.service.consul")
    book.ask("web.service.consul", "SRV", protocol=Protocol.TCP)
    book.ask("x.service.consul", "TYPE65")
    book.responder.respond(bytes(12), Protocol.UDP)
    assert book.counters.udp_answers == {(1, 0): 1, (0, 3): 1, (0, 1): 1}
    assert book.counters.tcp_answers == {(33, 0): 1}
    assert book.counters.answers == 4
    assert sum(book.counters.buckets) == 4


LABELS = st.lists(
    st.one_of(
        st.sampled_from(
            ["web", "WEB", "blue", "service", "node", "addr", "dc1", "n1", "_web", "_tcp", "0a000001", "ns"]
        ),
        st.text("abc_-1", min_size=1, max_size=6),
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def busy() -> Book:
    book = filled(40)
    book.instance("n1", "web", "target.example.com", name="alias", tags=("blue",))
    book.instance("n1", "blue", "web.service.consul", name="blue")
    return book


@given(LABELS, st.sampled_from(["consul", "orrery", "example"]), st.sampled_from(TYPES), st.sampled_from([-1, 0, 1]),
       st.integers(0, 5000), st.sampled_from(Protocol))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_the_answer_can_be_read(
    busy: Book, labels: list[str], domain: str, record_type: str, edns: int, payload: int, protocol: Protocol
) -> None:
    query = dns.message.make_query(".".join([*labels, domain]), record_type, use_edns=edns, payload=payload)
    data = busy.bytes_for(query, protocol)
    response = dns.message.from_wire(data, ignore_trailing=False)
    assert query.is_response(response)
    assert rcode(response) in ("NOERROR", "NXDOMAIN", "REFUSED", "BADVERS")
    assert (response.edns >= 0) == (edns >= 0)
    if protocol is Protocol.UDP:
        assert len(data) <= (512 if edns < 0 else max(512, min(payload, 1232)))
    negative = not response.answer and rcode(response) in ("NOERROR", "NXDOMAIN")
    assert bool(response.authority) == (negative and not is_truncated(response))


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_get_an_answer_that_can_be_read_or_none(busy: Book, data: bytes) -> None:
    response = busy.responder.respond(data, Protocol.UDP)
    assert busy.counters.dropped[Drop.FAILED] == 0
    if response is not None:
        assert response[:2] == data[:2]
        assert dns.message.from_wire(response, ignore_trailing=False).flags & dns.flags.QR


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=200, deadline=None)
def test_mutated_queries_get_an_answer_or_none(busy: Book, seed: int, data: st.DataObject) -> None:
    query = bytearray(dns.message.make_query("web.service.consul", "SRV", use_edns=0).to_wire())
    source = random.Random(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        query[source.randrange(len(query))] = source.randrange(256)
    response = busy.responder.respond(bytes(query), Protocol.UDP)
    assert busy.counters.dropped[Drop.FAILED] == 0
    if response is not None:
        assert len(response) <= 1232
