"""The door to the network: asyncio transports and protocols, on whatever event loop runs; streams and datagrams."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol


class Net(Protocol):
    """Listens and connects. In production that is uvloop's TCP and UDP; in the simulator, links between named hosts."""

    async def listen(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> asyncio.Server:
        """Accepts connections on `host:port`; port 0 takes a free one. Raises OSError when it is taken."""
        ...

    async def connect(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Opens a connection. The name is resolved anew each time. Raises OSError."""
        ...

    async def datagram(
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        host: str,
        port: int,
        *,
        remote: tuple[str, int] | None = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """Opens a UDP endpoint on `host:port`; port 0 takes a free one.

        With `remote` it is connected: it sends there only, hears from there only, and is told by `error_received` when
        nobody listens there. `sendto` takes numeric addresses only: a name would have to be resolved, which blocks.
        Raises OSError when the port is taken.
        """
        ...
