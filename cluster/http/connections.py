"""The open HTTP/1.1 connections of one listener, whoever accepts them.

`HttpServer` has a listener of its own. A port that carries several protocols calls `accept` for each connection that
turns out to speak HTTP/1.1.
"""

import asyncio
from typing import cast

from cluster.http.connection import HttpConnection
from cluster.http.limits import Limits
from cluster.http.message import Handler
from runtime import Clock


class _Refused(asyncio.Protocol):
    """Takes the place of a connection above the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


class HttpConnections:
    """Makes connections, counts them, and brings them to an end."""

    def __init__(self, handler: Handler, clock: Clock, limits: Limits | None = None) -> None:
        self._handler = handler
        self._clock = clock
        self._limits = limits or Limits()
        self._open: dict[HttpConnection, None] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new connection; above the limit, and while closing, one that ends it at once."""
        if self._closing or len(self._open) >= self._limits.connections_max:
            return _Refused()
        connection = HttpConnection(self._handler, self._clock, self._limits, self._disconnected)
        self._open[connection] = None
        self._none_left.clear()
        return connection

    async def close(self, within_s: float) -> None:
        """Lets requests under way finish for `within_s` seconds, and cuts off the rest."""
        self._closing = True
        for connection in tuple(self._open):
            connection.close_when_idle()
        try:
            async with asyncio.timeout(within_s):
                await self._none_left.wait()
        except TimeoutError:
            for connection in tuple(self._open):
                connection.abort()
            await self._none_left.wait()

    def _disconnected(self, connection: HttpConnection) -> None:
        self._open.pop(connection, None)
        if not self._open:
            self._none_left.set()
