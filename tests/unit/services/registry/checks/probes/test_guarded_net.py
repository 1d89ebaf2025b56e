import asyncio
from ipaddress import ip_network

import pytest

from runtime.real import StreamNet
from services.registry.checks.probes import GuardedNet
from services.registry.checks.probes.resolving import Resolver
from tests.unit.cluster.http.strangers import serving
from tests.unit.services.registry.checks.no_net import NoNet


@pytest.mark.parametrize("host", ["169.254.169.254", "fe80::1", "fe80::1%lo", "::ffff:169.254.1.1", "fd00:ec2::254"])
async def test_an_address_that_is_denied_is_not_even_tried(host: str) -> None:
    with pytest.raises(PermissionError):
        await GuardedNet(NoNet()).connect(asyncio.Protocol, host, 80)


async def test_a_name_that_leads_there_is_not_followed() -> None:
    net = GuardedNet(NoNet(), [ip_network("127.0.0.0/8"), ip_network("::1/128")])
    with pytest.raises(PermissionError):
        await net.connect(asyncio.Protocol, "localhost", 80)


async def test_a_name_is_resolved_once_and_its_addresses_are_tried_in_turn() -> None:
    asked: list[str] = []

    async def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.2", "127.0.0.1"]

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    net = GuardedNet(StreamNet(), resolver=Resolver(lookup))
    async with serving(behave) as port:
        transport, _ = await net.connect(asyncio.Protocol, "two.example", port)
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        transport.abort()
    assert asked == ["two.example"]


async def test_everything_else_is_let_through() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    net = GuardedNet(StreamNet())
    async with serving(behave) as port:
        transport, _ = await net.connect(asyncio.Protocol, "127.0.0.1", port)
        transport.abort()
    server = await net.listen(asyncio.Protocol, "127.0.0.1", 0)
    server.close()
    datagrams, _ = await net.datagram(asyncio.DatagramProtocol, "127.0.0.1", 0)
    datagrams.close()
