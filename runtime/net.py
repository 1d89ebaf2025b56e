"""The door to the network: asyncio transports and protocols, on whatever event loop runs."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol


class Net(Protocol):
    """Listens and connects. In production that is uvloop's TCP; in the simulator, links between named hosts."""

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
