"""Listens, and counts who is connected."""

import asyncio
from typing import cast

from cluster.http.address import join_address, split_address
from cluster.http.connection import HttpConnection
from cluster.http.limits import Limits
from cluster.http.message import Handler
from runtime import Clock, Net

STOP_S_MAX = 5.0
"""Seconds that requests under way get to finish when the server stops."""


class _Refused(asyncio.Protocol):
    """Takes the place of a connection above the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


class HttpServer:
    """An HTTP/1.1 listener on one address."""

    def __init__(self, net: Net, clock: Clock, listen: str, handler: Handler, limits: Limits | None = None) -> None:
        """`listen` is `host:port`; port 0 takes a free one. Raises ValueError when it is malformed."""
        self._net = net
        self._clock = clock
        self._host, self._port = split_address(listen)
        self._handler = handler
        self._limits = limits or Limits()
        self._server: asyncio.Server | None = None
        self._connections: set[HttpConnection] = set()
        self._none_left = asyncio.Event()
        self._none_left.set()

    @property
    def address(self) -> str:
        """Where it listens, `host:port`; the real port once started."""
        return join_address(self._host, self._port)

    async def start(self) -> None:
        """Binds. Raises OSError, with the address in its text, when that cannot be done."""
        self._server = await self._net.listen(self._connected, self._host, self._port)
        if self._port == 0 and self._server.sockets:
            self._port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self, within_s: float = STOP_S_MAX) -> None:
        """Stops accepting, lets requests under way finish for `within_s` seconds, and cuts off the rest."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.close_when_idle()
        try:
            async with asyncio.timeout(within_s):
                await self._none_left.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
            await self._none_left.wait()
        self._server = None

    def _connected(self) -> asyncio.Protocol:
        if len(self._connections) >= self._limits.connections_max:
            return _Refused()
        connection = HttpConnection(self._handler, self._clock, self._limits, self._disconnected)
        self._connections.add(connection)
        self._none_left.clear()
        return connection

    def _disconnected(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._none_left.set()
