"""DNS over UDP: a datagram in, at most one out."""

import asyncio
from typing import cast

from services.registry.dns.admission import Admission
from services.registry.dns.counting import DnsCounters, Drop, Protocol
from services.registry.dns.responder import Responder


class UdpEndpoint(asyncio.DatagramProtocol):
    """One socket. It keeps nothing between datagrams, so there is nothing to limit."""

    def __init__(self, responder: Responder, admission: Admission, counters: DnsCounters) -> None:
        self._responder = responder
        self._admission = admission
        self._counters = counters
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answers. The address goes back as it came: IPv6 has four parts."""
        if not self._admission.allows(addr[0]):
            self._counters.dropped[Drop.NOT_ALLOWED] += 1
            return
        response = self._responder.respond(data, Protocol.UDP)
        transport = self._transport
        if response is None or transport is None or transport.is_closing():
            return
        try:
            transport.sendto(response, addr)
        except (OSError, ValueError):
            # Port 0, for example, which nobody can be sent to.
            self._counters.dropped[Drop.NOT_SENT] += 1

    def error_received(self, exc: Exception) -> None:
        """The kernel could not send: the asker is gone. It is lost, as the network might have lost it."""
        self._counters.dropped[Drop.NOT_SENT] += 1
