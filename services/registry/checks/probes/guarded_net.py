"""A network door that does not lead everywhere.

Whoever may register may point a probe at whatever this process can reach, and reads the beginning of the answer in the
check's output (server-side request forgery). In a registry for services of one network that is its use, so addresses of
that network are not refused. Refused are those that answer to any process on a machine with that machine's credentials:
the metadata services of clouds, which live on link-local addresses.

Names are resolved here, once, and what is connected to is the address that was looked at: a name that is resolved twice
can have two answers.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from runtime import Net
from services.registry.checks.probes.resolving import Resolver

Network: TypeAlias = IPv4Network | IPv6Network

NETWORKS_DENIED: tuple[Network, ...] = (
    ip_network("169.254.0.0/16"),
    ip_network("fe80::/10"),
    ip_network("fd00:ec2::254/128"),
)
"""Link-local addresses, and the one metadata service that lives elsewhere."""


class GuardedNet:
    """A `Net` whose connections to some networks fail."""

    def __init__(
        self, net: Net, denied: Sequence[Network] = NETWORKS_DENIED, *, resolver: Resolver | None = None
    ) -> None:
        self._net = net
        self._denied = denied
        self._resolver = resolver or Resolver()

    async def connect(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """As the door beneath, address by address. Raises PermissionError, an OSError, for what is denied."""
        failure: OSError = OSError(f"{host} has no address")
        for address in await self._resolver.addresses(host):
            self._check(address)
            try:
                return await self._net.connect(
                    protocol_factory, address, port, tls=tls, server_hostname=server_hostname
                )
            except OSError as error:  # a name may have an address that nobody listens on
                failure = error
        raise failure

    async def listen(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> asyncio.Server:
        """As the door beneath."""
        return await self._net.listen(protocol_factory, host, port, tls=tls)

    async def datagram(
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        host: str,
        port: int,
        *,
        remote: tuple[str, int] | None = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """As the door beneath."""
        return await self._net.datagram(protocol_factory, host, port, remote=remote)

    def _check(self, host: str) -> None:
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._denied):
            raise PermissionError(f"{host} is not to be probed")
