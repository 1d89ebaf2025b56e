"""What is answered to which name and type, read by dnspython."""

import dns.flags
import pytest

from services.registry.dns.config import DnsSection
from services.registry.domain import Health, Weights
from tests.unit.services.registry.dns.book import Book, rcode, texts


@pytest.fixture
def book() -> Book:
    book = Book(DnsSection(addresses=("10.0.0.53", "2001:db8::53")))
    book.node("n1", "10.0.0.1", {"zone": "a", "rfc1035-note": "only the value", "long": "x" * 600})
    book.node("n2", "2001:db8::2")
    book.node("Host.Example", "10.0.0.3")
    book.node("alias", "db.example.com")
    book.instance("n1", "web", "10.0.1.1", 8001, tags=("blue", "v1.2"), weights=Weights(passing=7, warning=2))
    book.instance("n2", "web", "", 8002, name="web-2", tags=("Green",))
    book.instance("n1", "Api", "", 9000)
    book.instance("n1", "ext", "db.example.com", 5432)
    return book


def answers(book: Book, name: str, record_type: str = "A") -> list[str]:
    response = book.ask(name, record_type)
    assert rcode(response) == "NOERROR"
    assert response.flags & dns.flags.AA
    assert not response.flags & dns.flags.RA
    return sorted(texts(response))


@pytest.mark.parametrize(
    "name",
    [
        "web.service.consul",
        "web.service.dc1.consul",
        "web.service.orrery",
        "WEB.Service.CONSUL",
        "blue.web.service.consul",
        "v1.2.web.service.consul",
        "_web._tcp.service.consul",
        "_web._blue.service.consul",
    ],
)
def test_addresses_of_a_service(book: Book, name: str) -> None:
    assert answers(book, name) == ["10.0.1.1"]


def test_addresses_of_both_kinds(book: Book) -> None:
    assert answers(book, "web.service.consul", "AAAA") == ["2001:db8::2"]
    assert answers(book, "green.web.service.consul", "AAAA") == ["2001:db8::2"]
    assert answers(book, "web.service.consul", "ANY") == ["10.0.1.1"]
    assert answers(book, "green.web.service.consul", "ANY") == ["2001:db8::2"]


def test_where_instances_listen(book: Book) -> None:
    response = book.ask("web.service.orrery", "SRV")
    assert sorted(texts(response)) == [
        "1 1 8002 n2.node.dc1.orrery.",
        "1 7 8001 0a000101.addr.dc1.orrery.",
    ]
    assert {(str(rrset.name), rrset[0].to_text()) for rrset in response.additional} == {
        ("0a000101.addr.dc1.orrery.", "10.0.1.1"),
        ("n2.node.dc1.orrery.", "2001:db8::2"),
    }


def test_what_srv_points_to_is_there(book: Book) -> None:
    for line in texts(book.ask("web.service.consul", "SRV")):
        target = line.split()[3]
        assert texts(book.ask(target, "A")) or texts(book.ask(target, "AAAA"))


def test_names_in_the_catalogue_may_have_any_case(book: Book) -> None:
    assert answers(book, "api.service.consul") == ["10.0.0.1"]
    book.instance("n1", "API", "10.0.9.9", name="other")
    assert answers(book, "aPi.service.consul") == ["10.0.0.1", "10.0.9.9"]
    book.instance("n1", "api", "10.0.9.8", name="third")
    assert answers(book, "api.service.consul") == ["10.0.0.1", "10.0.9.8", "10.0.9.9"]
    book.remove("n1", "other")
    assert answers(book, "api.service.consul") == ["10.0.0.1", "10.0.9.8"]


def test_an_address_that_is_a_name_is_an_alias(book: Book) -> None:
    assert answers(book, "ext.service.consul") == ["db.example.com."]
    assert answers(book, "ext.service.consul", "AAAA") == ["db.example.com."]
    assert answers(book, "ext.service.consul", "CNAME") == ["db.example.com."]
    assert answers(book, "ext.service.consul", "SRV") == ["1 1 5432 db.example.com."]
    assert answers(book, "alias.node.consul") == ["db.example.com."]
    assert answers(book, "alias.node.consul", "TXT") == []


def test_an_alias_stands_alone(book: Book) -> None:
    """RFC 2181, section 10.1: one CNAME, and nothing beside it; by chance one of the instances."""
    book.instance("n1", "ext", "other.example.com", name="ext-2")
    book.instance("n1", "ext", "10.7.7.7", name="ext-3")
    seen = {tuple(answers(book, "ext.service.consul")) for _ in range(60)}
    assert seen == {("db.example.com.",), ("other.example.com.",), ("10.7.7.7",)}


def test_an_alias_to_a_name_of_ours_is_followed(book: Book) -> None:
    book.instance("n1", "front", "Web.service.consul", 80)
    assert answers(book, "front.service.consul") == ["10.0.1.1", "Web.service.consul."]
    book.health("n1", "web", Health.CRITICAL)
    assert answers(book, "front.service.consul") == ["Web.service.consul."]
    book.health("n1", "web", Health.PASSING)
    assert answers(book, "front.service.consul") == ["10.0.1.1", "Web.service.consul."]


def test_aliases_in_a_circle_end(book: Book) -> None:
    book.instance("n1", "a", "b.service.consul", 80)
    book.instance("n1", "b", "a.service.consul", 80)
    book.instance("n1", "self", "self.service.consul", 80)
    assert answers(book, "a.service.consul") == ["b.service.consul."]
    assert answers(book, "self.service.consul") == []


def test_critical_instances_are_left_out(book: Book) -> None:
    book.health("n1", "web", Health.CRITICAL)
    assert answers(book, "web.service.consul") == []
    assert answers(book, "web.service.consul", "SRV") == ["1 1 8002 n2.node.dc1.consul."]
    book.health("n2", "web-2", Health.CRITICAL)
    assert rcode(book.ask("web.service.consul")) == "NXDOMAIN"
    book.health("n1", "web", Health.WARNING)
    assert answers(book, "web.service.consul", "SRV") == ["1 2 8001 0a000101.addr.dc1.consul."]


def test_those_that_warn_can_be_left_out() -> None:
    book = Book(DnsSection(only_passing=True))
    book.node("n1", "10.0.0.1")
    book.instance("n1", "web")
    assert answers(book, "web.service.consul") == ["10.0.0.1"]
    book.health("n1", "web", Health.WARNING)
    assert rcode(book.ask("web.service.consul")) == "NXDOMAIN"


def test_two_instances_on_one_address_are_one_record(book: Book) -> None:
    book.instance("n1", "web", "10.0.1.1", 8009, name="web-3")
    assert answers(book, "web.service.consul") == ["10.0.1.1"]
    assert len(answers(book, "web.service.consul", "SRV")) == 3
    book.instance("n1", "web", "10.0.1.1", 8009, name="web-4")
    assert len(answers(book, "web.service.consul", "SRV")) == 3


def test_nodes(book: Book) -> None:
    assert answers(book, "n1.node.consul") == ["10.0.0.1"]
    assert answers(book, "n1.node.dc1.consul", "ANY") == ["10.0.0.1"]
    assert answers(book, "n2.node.consul", "AAAA") == ["2001:db8::2"]
    assert answers(book, "n2.node.consul") == []
    assert answers(book, "host.example.node.consul") == ["10.0.0.3"]
    assert rcode(book.ask("n9.node.consul")) == "NXDOMAIN"


def test_metadata_of_a_node(book: Book) -> None:
    found = answers(book, "n1.node.consul", "TXT")
    assert '"zone=a"' in found
    assert '"only the value"' in found
    assert any(line.replace('" "', "") == f'"long={"x" * 600}"' for line in found)


def test_names_between_exist(book: Book) -> None:
    """NXDOMAIN would mean that nothing is beneath, and resolvers that ask label by label would stop (RFC 8020)."""
    for name in ("service.consul", "dc1.consul", "_tcp.service.consul", "2.web.service.consul", "example.node.consul"):
        assert answers(book, name) == [], name
    for name in ("nope.service.consul", "1.web.service.consul", "x.consul", "_web._red.service.consul"):
        assert rcode(book.ask(name)) == "NXDOMAIN", name


def test_the_domain_itself(book: Book) -> None:
    response = book.ask("consul", "NS")
    assert texts(response) == ["ns.consul."]
    assert {rrset[0].to_text() for rrset in response.additional} == {"10.0.0.53", "2001:db8::53"}
    assert answers(book, "ns.consul") == ["10.0.0.53"]
    assert answers(book, "ns.consul", "AAAA") == ["2001:db8::53"]
    serial = int(answers(book, "consul", "SOA")[0].split()[2])
    book.instance("n1", "new")
    assert int(answers(book, "orrery", "SOA")[0].split()[2]) > serial


def test_negative_answers_carry_the_soa(book: Book) -> None:
    """RFC 2308: of the domain that was asked, with the time for which the answer may be kept."""
    for name, record_type in (("nope.service.Orrery", "A"), ("web.service.orrery", "TXT"), ("service.orrery", "A")):
        response = book.ask(name, record_type)
        assert [str(rrset.name).lower() for rrset in response.authority] == ["orrery."]
        assert response.authority[0].ttl == 1
        assert response.authority[0][0].to_text().split()[-1] == "1"


def test_reverse_questions(book: Book) -> None:
    assert answers(book, "1.0.0.10.in-addr.arpa", "PTR") == ["n1.node.dc1.consul."]
    assert answers(book, "1.1.0.10.in-addr.arpa", "PTR") == ["web.service.consul."]
    assert answers(book, "2." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", "PTR") == ["n2.node.dc1.consul."]
    assert rcode(book.ask("9.9.9.9.in-addr.arpa", "PTR")) == "REFUSED"


@pytest.mark.parametrize("name", ["example.com", ".", "consul.example", "10.in-addr.arpa"])
def test_other_domains_are_refused(book: Book, name: str) -> None:
    response = book.ask(name)
    assert rcode(response) == "REFUSED"
    assert not response.flags & dns.flags.AA
    assert not response.authority


@pytest.mark.parametrize("record_type", ["AXFR", "MAILB"])
def test_nobody_gets_the_zone(book: Book, record_type: str) -> None:
    assert rcode(book.ask("consul", record_type)) == "REFUSED"


def test_how_long_answers_may_be_kept() -> None:
    book = Book(DnsSection(service_ttls_s={"web": 2}, node_ttl_s=40, stale_ttl_s=1))
    book.node("n1", "10.0.0.1")
    book.instance("n1", "web")
    book.instance("n1", "api")

    def ttl(name: str) -> int:
        return book.ask(name).answer[0].ttl

    assert (ttl("web.service.consul"), ttl("api.service.consul"), ttl("n1.node.consul")) == (2, 5, 40)
    book.clock.now_s += 60
    assert (ttl("web.service.consul"), ttl("api.service.consul"), ttl("n1.node.consul")) == (1, 1, 1)
    book.heard()
    assert (ttl("web.service.consul"), ttl("api.service.consul"), ttl("n1.node.consul")) == (2, 5, 40)


def test_what_cannot_be_written_as_a_name_is_still_found() -> None:
    book = Book()
    book.node("n" * 80, "10.0.0.1")
    book.node("an odd..name", "10.0.0.2")
    book.node("nowhere", "")
    for number, node in enumerate(("n" * 80, "an odd..name", "nowhere")):
        book.instance(node, "web", "", 80 + number, name=f"web-{number}")
    assert answers(book, "web.service.consul") == ["10.0.0.1", "10.0.0.2"]
    assert answers(book, "web.service.consul", "SRV") == [
        "1 1 80 0a000001.addr.dc1.consul.",
        "1 1 81 0a000002.addr.dc1.consul.",
    ]
