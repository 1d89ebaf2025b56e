"""Listens."""

import asyncio

from cluster.http.address import join_address, split_address
from cluster.http.connections import HttpConnections
from cluster.http.limits import Limits
from cluster.http.message import Handler
from runtime import Clock, Net

STOP_S_MAX = 5.0
"""Seconds that requests under way get to finish when the server stops."""


class HttpServer:
    """An HTTP/1.1 listener on one address."""

    def __init__(self, net: Net, clock: Clock, listen: str, handler: Handler, limits: Limits | None = None) -> None:
        """`listen` is `host:port`; port 0 takes a free one. Raises ValueError when it is malformed."""
        self._net = net
        self._host, self._port = split_address(listen)
        self._connections = HttpConnections(handler, clock, limits)
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where it listens, `host:port`; the real port once started."""
        return join_address(self._host, self._port)

    async def start(self) -> None:
        """Binds. Raises OSError, with the address in its text, when that cannot be done."""
        self._server = await self._net.listen(self._connections.accept, self._host, self._port)
        if self._port == 0 and self._server.sockets:
            self._port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self, within_s: float = STOP_S_MAX) -> None:
        """Stops accepting, lets requests under way finish for `within_s` seconds, and cuts off the rest."""
        if self._server is None:
            return
        self._server.close()
        await self._connections.close(within_s)
        self._server = None
