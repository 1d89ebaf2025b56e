"""A listening port of a simulated host."""

import asyncio
import contextvars
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from runtime.sim.incarnation import Incarnation
from runtime.sim.socket import SimSocket
from runtime.sim.transport import SimTransport

if TYPE_CHECKING:
    from runtime.sim.host import SimHost
    from runtime.sim.net import SimNet


class SimServer(asyncio.Server):
    """See asyncio.Server; `wait_closed` waits for the connections, as it does from Python 3.12 on."""

    def __init__(
        self,
        net: "SimNet",
        host: "SimHost",
        owner: Incarnation,
        factory: Callable[[], asyncio.BaseProtocol],
        port: int,
        *,
        loopback_only: bool,
    ) -> None:
        # Without the base's constructor, which is about real sockets.
        self.owner = owner
        self.port = port
        self.loopback_only = loopback_only
        """Bound to 127.0.0.1: unreachable from other hosts."""
        self._net = net
        self._host = host
        self._factory = factory
        self._context = contextvars.copy_context()
        self._listening = True
        self._connections: dict[SimTransport, None] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._serving_forever: asyncio.Future[None] | None = None

    def accept(self, transport: SimTransport) -> None:
        """A connection stands: makes its protocol, in a step of its own."""
        self._connections[transport] = None
        self._net.loop.call_soon(self._accept, transport, context=self._context)

    def _accept(self, transport: SimTransport) -> None:
        if not self._listening:
            transport.kernel_close(reset=True)
            self.detach(transport)
            return
        transport.start(self._factory(), None)

    @property
    def context(self) -> contextvars.Context:
        """What its connections' callbacks run in: copies of this."""
        return self._context

    def detach(self, transport: SimTransport) -> None:
        """A connection has ended."""
        self._connections.pop(transport, None)
        self._wake_if_done()

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """One that can tell its name, while listening."""
        if not self._listening:
            return ()
        address = "127.0.0.1" if self.loopback_only else self._host.address
        return (cast(socket.socket, SimSocket((address, self.port), None)),)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The simulated loop."""
        return self._net.loop

    def is_serving(self) -> bool:
        """Whether it accepts."""
        return self._listening

    async def start_serving(self) -> None:
        """It does from the beginning."""

    async def serve_forever(self) -> None:
        """Waits until cancelled, then closes. Raises RuntimeError when it is closed."""
        if not self._listening:
            raise RuntimeError(f"server {self!r} is closed")
        self._serving_forever = self._net.loop.create_future()
        try:
            await self._serving_forever
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise
        finally:
            self._serving_forever = None

    def close(self) -> None:
        """Listens no more; connections stay."""
        if not self._listening:
            return
        self._listening = False
        self._host.listeners.pop(self.port, None)
        if self._serving_forever is not None and not self._serving_forever.done():
            self._serving_forever.cancel()
        self._wake_if_done()

    async def wait_closed(self) -> None:
        """Returns once it is closed and its connections have ended."""
        if not self._listening and not self._connections:
            return
        waiter: asyncio.Future[None] = self._net.loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def close_clients(self) -> None:
        """Closes the connections."""
        for transport in list(self._connections):
            transport.close()

    def abort_clients(self) -> None:
        """Aborts the connections."""
        for transport in list(self._connections):
            transport.abort()

    def __repr__(self) -> str:
        return f"<SimServer {self.owner.name}:{self.port}>"

    def _wake_if_done(self) -> None:
        if self._listening or self._connections:
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
