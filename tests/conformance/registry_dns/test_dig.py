"""BIND's `dig` and dnsmasq against our server, over real sockets.

`dig` is in Debian's bind9-dnsutils, `dnsmasq` in dnsmasq-base. Each test is skipped by its tool's name without it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from cluster.http.address import split_address
from runtime.real import StreamNet, SystemClock, SystemRandomness
from services.registry.catalogue import CheckRecord, Key, KeyKind, MemoryCatalogue, Record, Update
from services.registry.dns import DnsSection, DnsServer
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node, Weights
from tests.conformance.registry_dns.dig import WAIT_S, dig, tool

FOREVER_S = 1e9
INSTANCES = 200


def instance(name: str, service: str, address: str, port: int, *tags: str, weight: int = 1) -> Record:
    return Instance("n1", name, service, address, port, tags, {}, Weights(passing=weight))


def content() -> Iterator[tuple[Key, Record]]:
    yield Key(KeyKind.NODE, "n1"), Node("n1", "127.0.0.1", {"zone": "a b;c", "rfc1035-note": 'a "quoted" note'})
    yield Key(KeyKind.NODE, "n2"), Node("n2", "2001:db8::2")
    for record in (
        instance("web-1", "Web", "10.0.1.1", 8001, "blue", weight=7),
        instance("web-2", "Web", "10.0.1.2", 8002, "green"),
        instance("web-3", "Web", "10.0.1.3", 8003, "green"),
        instance("six", "six", "2001:db8::6", 80),
        instance("bare", "bare", "", 81),
        instance("ext", "ext", "db.example.com", 5432),
        *(instance(f"big-{number}", "big", f"10.2.0.{number}", 9000 + number) for number in range(INSTANCES)),
    ):
        assert isinstance(record, Instance)
        yield Key(KeyKind.INSTANCE, "n1", record.id), record
    definition = CheckDefinition("check", "check", CheckKind.TTL, "web-3")
    yield Key(KeyKind.CHECK, "n1", "check"), CheckRecord(definition, CheckState(Health.CRITICAL))


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[DnsServer, MemoryCatalogue]]:
    clock = SystemClock()
    catalogue = MemoryCatalogue(clock, stale_s=FOREVER_S)
    updates = [Update(key, record, number) for number, (key, record) in enumerate(content(), 2)]
    catalogue.reset(updates, updates[-1].revision)
    config = DnsSection(listen=("127.0.0.1:0",))
    server = DnsServer(StreamNet(), clock, SystemRandomness(), catalogue, config)
    await server.start()
    try:
        yield server, catalogue
    finally:
        await server.stop()


@pytest.fixture
async def server() -> AsyncIterator[str]:
    tool("dig", "bind9-dnsutils")
    async with serving() as (running, _):
        yield running.addresses[0]


async def test_addresses(server: str) -> None:
    for name in ("web.service.consul", "web.service.dc1.orrery", "_web._tcp.service.consul"):
        output = await dig(server, name, "A")
        assert output.status == "NOERROR"
        assert output.flags == ["qr", "aa", "rd"]
        assert output.section("ANSWER") == [f"{name}. 5 IN A 10.0.1.1", f"{name}. 5 IN A 10.0.1.2"]
    output = await dig(server, "blue.web.service.consul")
    assert output.section("ANSWER") == ["blue.web.service.consul. 5 IN A 10.0.1.1"]
    output = await dig(server, "six.service.consul", "AAAA")
    assert output.section("ANSWER") == ["six.service.consul. 5 IN AAAA 2001:db8::6"]
    output = await dig(server, "ext.service.consul")
    assert output.section("ANSWER") == ["ext.service.consul. 5 IN CNAME db.example.com."]


async def test_where_a_service_listens(server: str) -> None:
    output = await dig(server, "web.service.consul", "SRV")
    assert output.section("ANSWER") == [
        "web.service.consul. 5 IN SRV 1 1 8002 0a000102.addr.dc1.consul.",
        "web.service.consul. 5 IN SRV 1 7 8001 0a000101.addr.dc1.consul.",
    ]
    assert output.section("ADDITIONAL") == [
        "0a000101.addr.dc1.consul. 5 IN A 10.0.1.1",
        "0a000102.addr.dc1.consul. 5 IN A 10.0.1.2",
    ]
    output = await dig(server, "bare.service.consul", "SRV")
    assert output.section("ANSWER") == ["bare.service.consul. 5 IN SRV 1 1 81 n1.node.dc1.consul."]
    assert output.section("ADDITIONAL") == ["n1.node.dc1.consul. 5 IN A 127.0.0.1"]
    output = await dig(server, "0a000102.addr.dc1.consul", "+short")
    assert output.text == "10.0.1.2\n"


async def test_metadata(server: str) -> None:
    output = await dig(server, "n1.node.consul", "TXT")
    assert output.section("ANSWER") == [
        'n1.node.consul. 30 IN TXT "a \\"quoted\\" note"',
        'n1.node.consul. 30 IN TXT "zone=a b;c"',
    ]


async def test_upper_case_comes_back(server: str) -> None:
    output = await dig(server, "wEb.SERVICE.coNsuL")
    assert output.section("ANSWER")[0].startswith("wEb.SERVICE.coNsuL. 5 IN A ")
    output = await dig(server, "nOPE.SERVICE.coNsuL")
    assert output.section("AUTHORITY")[0].startswith("coNsuL. 1 IN SOA ns.coNsuL. hostmaster.coNsuL. ")


async def test_over_tcp_and_pipelined(server: str) -> None:
    output = await dig(server, "+tcp", "+keepopen", "web.service.consul", "n1.node.consul", "big.service.consul")
    assert output.text.count("status: NOERROR") == 3
    assert len(re.findall(r"^big\.service\.consul\.\s+5", output.text, re.MULTILINE)) == INSTANCES


async def test_sizes(server: str) -> None:
    output = await dig(server, "big.service.consul", "+noedns", "+ignore")
    assert len(output.section("ANSWER")) == 3
    assert "tc" not in output.flags
    output = await dig(server, "big.service.consul", "+bufsize=512", "+ignore")
    assert output.flags == ["qr", "aa", "tc", "rd"]
    assert 25 < len(output.section("ANSWER")) < 32
    output = await dig(server, "big.service.consul", "SRV", "+bufsize=4096", "+ignore")
    assert output.flags == ["qr", "aa", "tc", "rd"]
    assert "udp: 1232" in output.text
    output = await dig(server, "big.service.consul", "SRV")
    assert "Truncated, retrying in TCP mode" in output.text
    assert len(output.section("ANSWER")) == INSTANCES


async def test_what_is_not_there(server: str) -> None:
    output = await dig(server, "nope.service.consul")
    assert output.status == "NXDOMAIN"
    assert re.fullmatch(
        r"consul\. 1 IN SOA ns\.consul\. hostmaster\.consul\. \d+ 3600 600 86400 1", output.section("AUTHORITY")[0]
    )
    for name, record_type in (("web.service.consul", "AAAA"), ("service.consul", "A"), ("six.service.consul", "MX")):
        output = await dig(server, name, record_type)
        assert output.status == "NOERROR"
        assert not output.section("ANSWER")
        assert len(output.section("AUTHORITY")) == 1


async def test_what_is_not_ours(server: str) -> None:
    for arguments in (("example.com",), ("-x", "192.0.2.1"), ("-c", "CH", "-t", "TXT", "version.bind"), (".", "NS")):
        output = await dig(server, *arguments)
        assert output.status == "REFUSED"
        assert "aa" not in output.flags


async def test_whose_address(server: str) -> None:
    output = await dig(server, "-x", "10.0.1.2")
    assert output.section("ANSWER") == ["2.1.0.10.in-addr.arpa. 30 IN PTR Web.service.consul."]
    output = await dig(server, "-x", "2001:db8::2", "+short")
    assert output.text == "n2.node.dc1.consul.\n"


async def test_the_domain(server: str) -> None:
    output = await dig(server, "consul", "NS")
    assert output.section("ANSWER") == ["consul. 30 IN NS ns.consul."]
    assert output.section("ADDITIONAL") == ["ns.consul. 30 IN A 127.0.0.1"]
    output = await dig(server, "orrery", "ANY")
    assert output.section("ANSWER")[0].startswith("orrery. 1 IN SOA ns.orrery. ")
    output = await dig(server, "consul", "AXFR", "+tcp")
    assert "Transfer failed" in output.text


async def test_edns(server: str) -> None:
    output = await dig(server, "web.service.consul", "+edns=7", "+noednsnegotiation")
    assert output.status == "BADVERS"
    output = await dig(server, "web.service.consul", "+ednsopt=65001:c0ffee", "+dnssec", "+nsid", "+subnet=10.0.0.0/8")
    assert output.status == "NOERROR"
    assert "flags: do" in output.text
    output = await dig(server, "web.service.consul", "+opcode=UPDATE", "+noedns")
    assert output.status == "NOTIMP"
    output = await dig(server, "web.service.consul", "+header-only", "+noedns")
    assert output.status == "FORMERR"


async def test_dnsmasq_forwards_caches_and_forgets() -> None:
    """As docs/registry-dns.md tells people to set it up: what it caches, it forgets when the TTL is over."""
    tool("dig", "bind9-dnsutils")
    dnsmasq = tool("dnsmasq", "dnsmasq-base")
    async with serving() as (running, catalogue):
        host, port = split_address(running.addresses[0])
        probe = await StreamNet().listen(asyncio.Protocol, "127.0.0.1", 0)
        front = int(probe.sockets[0].getsockname()[1])
        probe.close()
        process = await asyncio.create_subprocess_exec(
            dnsmasq,
            *("--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file"),
            *("--listen-address=127.0.0.1", "--bind-interfaces", f"--port={front}"),
            *(f"--server=/consul/{host}#{port}", f"--server=/orrery/{host}#{port}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            address = f"127.0.0.1:{front}"
            async with asyncio.timeout(WAIT_S):
                while True:
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", front)
                    except ConnectionError:
                        assert process.returncode is None, "dnsmasq has ended"
                        await asyncio.sleep(0.05)
                    else:
                        writer.close()
                        break
            output = await dig(address, "web.service.consul", "+short")
            assert sorted(output.text.split()) == ["10.0.1.1", "10.0.1.2"]
            asked = running.counters.answers
            output = await dig(address, "web.service.consul", "+short")
            assert running.counters.answers == asked, "it came from dnsmasq's cache"
            revision = catalogue.revision + 1
            catalogue.apply([Update(Key(KeyKind.INSTANCE, "n1", "web-1"), None, revision)], revision)
            async with asyncio.timeout(WAIT_S):
                while (await dig(address, "web.service.consul", "+short")).text != "10.0.1.2\n":
                    await asyncio.sleep(0.2)
            output = await dig(address, "big.service.orrery", "SRV")
            assert len(output.section("ANSWER")) == INSTANCES
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
