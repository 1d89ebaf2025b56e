"""TCP and UDP by the running event loop."""

import asyncio
import ssl
from collections.abc import Callable

ACCEPT_BACKLOG = 1024
"""Connections that the kernel holds until they are accepted. A cluster's clients all come back at once after a restart,
and asyncio's default of 100 would make some of them wait for a retransmission of their SYN."""


class StreamNet:
    """Listens and connects through the running loop, uvloop in production; see `runtime.Net`.

    Both asyncio and uvloop set TCP_NODELAY on every TCP connection by themselves. That is relied on here, since small
    frames must not wait for acknowledgements: tests/unit/runtime/real/test_net.py checks it on both loops.
    """

    __slots__ = ()

    async def listen(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> asyncio.Server:
        """Accepts connections on `host:port`; port 0 takes a free one. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(protocol_factory, host, port, ssl=tls, backlog=ACCEPT_BACKLOG)

    async def connect(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Opens a connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.create_connection(
            protocol_factory, host, port, ssl=tls, server_hostname=server_hostname if tls is not None else None
        )

    async def datagram(
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        host: str,
        port: int,
        *,
        remote: tuple[str, int] | None = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """Opens a UDP endpoint; port 0 takes a free one. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.create_datagram_endpoint(protocol_factory, local_addr=(host, port), remote_addr=remote)
