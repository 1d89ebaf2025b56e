"""Opening a connection: SYN, SYN-ACK, and what comes instead of them."""

import asyncio
import errno
from typing import TYPE_CHECKING

from runtime.sim.transport import SimTransport

if TYPE_CHECKING:
    from runtime.sim.host import SimHost
    from runtime.sim.net import SimNet

SYN_RETRY_S = 1.0
"""After how long an unanswered SYN is sent again; doubles each time (RFC 6298, section 2)."""
SYN_ACK_TRIES_MAX = 6


class Dial:
    """One attempt to connect. Steps of kernels, except for `established`."""

    def __init__(self, net: "SimNet", client: SimTransport, there: "SimHost", port: int) -> None:
        self._net = net
        self._client = client
        self._there = there
        self._port = port
        self._out = net.link(client.host.name, there.name)
        self._back = net.link(there.name, client.host.name)
        self._answer: asyncio.Future[None] = net.loop.create_future()
        self._server: SimTransport | None = None
        self._give_up_s = net.loop.virtual_s + net.options.connect_timeout_s
        self._retry_s = SYN_RETRY_S
        self._syn()

    async def established(self) -> None:
        """Waits for the answer. Raises ConnectionRefusedError, TimeoutError; gives up when cancelled."""
        try:
            await self._answer
        except asyncio.CancelledError:
            # A late answer finds nobody, and is itself answered by a reset.
            self._client.gone = True
            raise

    def _syn(self) -> None:
        net = self._net
        if self._over:
            return
        now_s = net.loop.virtual_s
        if now_s >= self._give_up_s:
            self._client.gone = True
            self._answer.set_exception(TimeoutError(errno.ETIMEDOUT, f"Connect call failed: {self._name}"))
            return
        net.at(self._out.arrival_s(now_s, 0), self._syn_arrives)
        net.at(min(now_s + self._retry_s, self._give_up_s), self._syn)
        self._retry_s *= 2

    @property
    def _over(self) -> bool:
        return self._answer.done() or not self._client.owner.alive

    @property
    def _name(self) -> str:
        return f"{self._there.name}:{self._port}"

    def _syn_arrives(self) -> None:
        there = self._there
        if self._over or self._server is not None or self._out.blocked:
            return
        if not there.powered:
            if there.refuses:
                self._refuse(OSError(errno.EHOSTUNREACH, f"No route to host: {self._name}"))
            return
        listener = there.listeners.get(self._port)
        if listener is None or (listener.loopback_only and there is not self._client.host):
            self._refuse(ConnectionRefusedError(errno.ECONNREFUSED, f"Connection refused: {self._name}"))
            return
        local: tuple[str, int] = self._client.get_extra_info("peername")
        remote: tuple[str, int] = self._client.get_extra_info("sockname")
        server = SimTransport(self._net, there, listener.owner, listener.context.copy(), local, remote, listener)
        self._server = server
        self._net.connect(self._client, server)
        listener.accept(server)
        self._syn_ack(SYN_ACK_TRIES_MAX)

    def _refuse(self, error: OSError) -> None:
        self._net.at(self._back.arrival_s(self._net.loop.virtual_s, 0), self._refused, error)

    def _refused(self, error: OSError) -> None:
        if not self._over and not self._back.blocked:
            self._client.gone = True
            self._answer.set_exception(error)

    def _syn_ack(self, tries: int) -> None:
        self._net.at(self._back.arrival_s(self._net.loop.virtual_s, 0), self._syn_ack_arrives, tries)

    def _syn_ack_arrives(self, tries: int) -> None:
        assert self._server is not None
        if self._back.blocked:
            # The server's side stands and the client does not know: half open, until one of them gives up.
            if tries > 1:
                self._net.at(self._net.loop.virtual_s + SYN_RETRY_S, self._syn_ack, tries - 1)
            else:
                self._server.broken(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
            return
        if self._over:
            if self._client.host.powered:
                self._net.forget(self._client)
                self._server.broken(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        else:
            self._answer.set_result(None)
