"""UDP between simulated hosts: each datagram for itself, lost, doubled, late and overtaken as the world's options say.

What is not here, since a kernel does not do it either: no retry, no order, no flow control, and no word to the sender
of a datagram that nobody takes, unless its endpoint is connected.
"""

import asyncio
import contextvars
import errno
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar

from runtime.sim.incarnation import Incarnation
from runtime.sim.link import Link
from runtime.sim.socket import SimSocket
from runtime.sim.trace import Event

if TYPE_CHECKING:
    from runtime.sim.host import SimHost
    from runtime.sim.net import SimNet

D = TypeVar("D", bound=asyncio.BaseProtocol)
Address = tuple[str, int]

DATAGRAM_BYTES_MAX = 65_507
"""Payload of one datagram over IPv4; a larger one is refused with EMSGSIZE."""
HEADERS_BYTES = 28
"""IPv4 and UDP headers, for what a wire carries."""
RECEIVE_BUFFER_BYTES = 208 << 10
"""What the kernel keeps for a process that does not read (net.core.rmem_default of Linux); more is dropped."""
CLOGGED_DATAGRAMS_MAX = 1_024
"""Datagrams that a clogged network holds back; more are dropped, as by a router's queue."""


class SimDatagramTransport(asyncio.DatagramTransport):
    """An endpoint, as asyncio's protocols see it. What arrives is handed over in steps of the host's own."""

    def __init__(
        self, datagrams: "Datagrams", host: "SimHost", owner: Incarnation, local: Address, remote: Address | None
    ) -> None:
        super().__init__({"sockname": local, "peername": remote, "socket": SimSocket(local, remote)})
        self.host = host
        self.owner = owner
        self.local = local
        self.remote = remote
        self.identity = datagrams.net.next_pipe_number()
        self._datagrams = datagrams
        self._loop = datagrams.net.loop
        self._context = contextvars.copy_context()
        self._protocol: asyncio.BaseProtocol | None = None
        self._received: deque[tuple[bytes, Address]] = deque()
        self._received_bytes = 0
        self._deliver_set = False
        self._closing = False

    def __hash__(self) -> int:
        return self.identity

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<SimDatagramTransport {self.owner.name}:{self.local[1]}>"

    # What protocols call

    def sendto(self, data: bytes | bytearray | memoryview, addr: object = None) -> None:
        """Sends, or loses. Raises ValueError for a name instead of an address, as uvloop does."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        if self.remote is not None:
            if addr is not None and addr != self.remote:
                raise ValueError(f"Invalid address: must be None or {self.remote}")
            addr = self.remote
        if not isinstance(addr, tuple) or len(addr) != 2:
            raise ValueError(f"an endpoint that is not connected needs (address, port) to send to, not {addr!r}")
        ip_address(addr[0])
        if self._closing or not self.owner.alive:
            return
        if len(data) > DATAGRAM_BYTES_MAX:
            self.failed(OSError(errno.EMSGSIZE, "Message too long"))
            return
        self._datagrams.send(self, addr, bytes(data))

    def close(self) -> None:
        """Closes."""
        if self._closing or not self.owner.alive:
            return
        self._closing = True
        self._datagrams.forget(self)
        self._received.clear()
        self._loop.call_soon(self._connection_lost, context=self._context)

    def abort(self) -> None:
        """Closes: nothing is ever buffered for sending."""
        self.close()

    def is_closing(self) -> bool:
        """Whether it is closed or about to."""
        return self._closing or not self.owner.alive

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who hears of it."""
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hands the endpoint to another protocol."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Always 0: the kernel takes or loses at once."""
        return 0

    # What the kernel does

    def start(self, protocol: asyncio.BaseProtocol, made: "asyncio.Future[None]") -> None:
        """Tells the protocol in a step of its own, then `made`."""
        self._protocol = protocol
        self._loop.call_soon(self._start, made, context=self._context)

    def _start(self, made: "asyncio.Future[None]") -> None:
        assert self._protocol is not None
        self._protocol.connection_made(self)
        if not made.done():
            made.set_result(None)

    def take(self, data: bytes, source: Address) -> bool:
        """A datagram has arrived. Returns whether there was room for it, and whether it is from the right one."""
        if self.remote is not None and source != self.remote:
            return False
        if self._received_bytes + len(data) > RECEIVE_BUFFER_BYTES:
            return False
        self._received.append((data, source))
        self._received_bytes += len(data)
        self._set_deliver()
        return True

    def failed(self, error: OSError) -> None:
        """Tells the protocol of an error that does not end the endpoint."""
        self._loop.call_soon(self._error_received, error, context=self._context)

    def _set_deliver(self) -> None:
        if not self._deliver_set:
            self._deliver_set = True
            self._loop.call_soon(self._deliver, context=self._context)

    def _deliver(self) -> None:
        # One a step, as asyncio reads them: other callbacks of the process run between two datagrams.
        self._deliver_set = False
        if self._closing or not self._received:
            return
        data, source = self._received.popleft()
        self._received_bytes -= len(data)
        if self._received:
            self._set_deliver()
        if isinstance(self._protocol, asyncio.DatagramProtocol):
            self._protocol.datagram_received(data, source)

    def _error_received(self, error: OSError) -> None:
        if not self._closing and isinstance(self._protocol, asyncio.DatagramProtocol):
            self._protocol.error_received(error)

    def _connection_lost(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(None)


class Datagrams:
    """The datagrams of a SimNet: who listens where, and what is on its way."""

    def __init__(self, net: "SimNet") -> None:
        self.net = net
        self._endpoints: dict[tuple[str, int], SimDatagramTransport] = {}
        """By the host's name and the port, which has nothing to do with TCP's of the same number."""
        self._clogged: deque[tuple[Link, SimDatagramTransport, SimHost, int, bytes, int]] = deque()

    async def open(
        self,
        factory: Callable[[], D],
        owner: Incarnation,
        here: "SimHost",
        local: Address,
        remote: Address | None,
        *,
        loopback: str,
    ) -> tuple[SimDatagramTransport, D]:
        """Binds, and connects when there is a `remote`. Raises OSError when the port is taken."""
        name, port = local
        if port == 0:
            port = self.net.free_port(here)
            while (here.name, port) in self._endpoints:
                port = self.net.free_port(here)
        elif (here.name, port) in self._endpoints:
            raise OSError(errno.EADDRINUSE, f"Address already in use: {here.name}:{port}")
        inside = name == loopback or (remote is not None and remote[0] == loopback)
        transport = SimDatagramTransport(self, here, owner, (loopback if inside else here.address, port), remote)
        self._endpoints[here.name, port] = transport
        protocol = factory()
        made: asyncio.Future[None] = self.net.loop.create_future()
        transport.start(protocol, made)
        try:
            await made
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    def send(self, source: SimDatagramTransport, target: Address, data: bytes) -> None:
        """Puts a datagram on its way; what happens to it is drawn here."""
        net = self.net
        there = net.host_at(source.host, target[0])
        net.counters.datagrams += 1
        net.counters.bytes += len(data)
        if there is None:
            return
        number = net.next_pipe_number()
        if (log := net.loop.trace.log) is not None:
            log.append(Event(net.loop.virtual_s, source.host.name, "sends", there.name, number, len(data)))
        link = net.link(source.host.name, there.name)
        if link.cut or link.loses(len(data) + HEADERS_BYTES):
            return
        copies = 2 if link.doubles() else 1
        for _ in range(copies):
            due_s = link.datagram_arrival_s(net.loop.virtual_s, len(data) + HEADERS_BYTES)
            net.at(due_s, self._arrives, link, source, there, target[1], data, number)

    def _arrives(
        self, link: Link, source: SimDatagramTransport, there: "SimHost", port: int, data: bytes, number: int
    ) -> None:
        net = self.net
        if link.cut or not there.powered:
            return
        if link.clogged:
            if len(self._clogged) < CLOGGED_DATAGRAMS_MAX:
                self._clogged.append((link, source, there, port, data, number))
            return
        endpoint = self._endpoints.get((there.name, port))
        inside = there is source.host
        if endpoint is None or (endpoint.local[0] != there.address and not inside):
            self._unreachable(source, there)
            return
        address = (endpoint.local[0] if inside else source.host.address, source.local[1])
        if endpoint.take(data, address):
            net.loop.trace.mix_bytes(data, number)
            if (log := net.loop.trace.log) is not None:
                log.append(Event(net.loop.virtual_s, there.name, "takes", source.host.name, number, len(data)))

    def _unreachable(self, source: SimDatagramTransport, there: "SimHost") -> None:
        """The kernel says by ICMP that nobody listens; only a connected endpoint is told (udp(7))."""
        if source.remote is None or self._endpoints.get((source.host.name, source.local[1])) is not source:
            return
        back = self.net.link(there.name, source.host.name)
        if not back.blocked:
            error = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
            self.net.at(back.arrival_s(self.net.loop.virtual_s, 0), source.failed, error)

    def release(self) -> None:
        """Lets go what no clog holds any more, in its order."""
        waiting, self._clogged = self._clogged, deque()
        for item in waiting:
            link = item[0]
            if link.clogged:
                self._clogged.append(item)
            else:
                self.net.at(link.arrival_s(self.net.loop.virtual_s, 0), self._arrives, *item)

    def forget(self, endpoint: SimDatagramTransport) -> None:
        """The port is free again."""
        if self._endpoints.get((endpoint.host.name, endpoint.local[1])) is endpoint:
            del self._endpoints[endpoint.host.name, endpoint.local[1]]

    def process_ended(self, owner: Incarnation) -> None:
        """Frees the ports of a process that has ended."""
        for endpoint in [endpoint for endpoint in self._endpoints.values() if endpoint.owner is owner]:
            self.forget(endpoint)
