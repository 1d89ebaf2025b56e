"""The network door of one life of a simulated host."""

import asyncio
import errno
import ssl
from collections.abc import Callable

from runtime.sim.incarnation import Incarnation
from runtime.sim.loop import SimLoop


class HostNet:
    """See `runtime.Net`. Stands on the loop, as the real one does, and closes with its process."""

    __slots__ = ("_loop", "_owner")

    def __init__(self, loop: SimLoop, owner: Incarnation) -> None:
        self._loop = loop
        self._owner = owner

    async def listen(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> asyncio.Server:
        """Accepts connections on `host:port`; port 0 takes a free one. Raises OSError."""
        self._check()
        return await self._loop.create_server(protocol_factory, host, port, ssl=tls)

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
        self._check()
        return await self._loop.create_connection(protocol_factory, host, port, ssl=tls)

    async def datagram(
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        host: str,
        port: int,
        *,
        remote: tuple[str, int] | None = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """Opens a UDP endpoint; port 0 takes a free one. Raises OSError."""
        self._check()
        return await self._loop.create_datagram_endpoint(protocol_factory, (host, port), remote)

    def _check(self) -> None:
        if not self._owner.alive or self._loop.current is not self._owner:
            raise OSError(errno.ENETDOWN, f"the network of {self._owner.name}, used by {self._loop.current.name}")
