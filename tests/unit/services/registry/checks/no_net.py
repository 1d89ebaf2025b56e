"""A network door behind which there is nothing."""

import asyncio
import ssl
from collections.abc import Callable


class NoNet:
    async def listen(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> asyncio.Server:
        raise OSError("there is no network")

    async def connect(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        raise OSError("there is no network")

    async def datagram(
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        host: str,
        port: int,
        *,
        remote: tuple[str, int] | None = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        raise OSError("there is no network")
