"""The network of a world: hosts by name and address, links between them, and what can be done to it.

net.cut("kv-1", "kv-2", both=False)     # what kv-1 sends to kv-2 is lost; the other way is open
net.partition(["kv-1"], ["kv-2", "kv-3"])
net.clog("kv-1", "kv-2")                # bytes are held back
net.heal()                              # all of it is over
net.reset("kv-1", "kv-2")               # every connection between the two is reset
net.half_open("kv-1", "kv-2")           # ...and only kv-2 hears of it
"""

import asyncio
import contextvars
import errno
import random
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from runtime.sim.datagrams import Datagrams, SimDatagramTransport
from runtime.sim.dial import Dial
from runtime.sim.errors import NotSimulated
from runtime.sim.incarnation import Incarnation
from runtime.sim.link import Link
from runtime.sim.loop import SimLoop
from runtime.sim.pipe import Pipe
from runtime.sim.server import SimServer
from runtime.sim.swarm import SwarmOptions
from runtime.sim.transport import SimTransport

if TYPE_CHECKING:
    from runtime.sim.host import SimHost

P = TypeVar("P", bound=asyncio.BaseProtocol)

LOOPBACK = "127.0.0.1"
ANY_NAMES = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  # names that a program may listen on
LOOPBACK_NAMES = frozenset({LOOPBACK, "localhost", "::1"})
EPHEMERAL_PORT_MIN = 32_768
EPHEMERAL_PORT_MAX = 60_999


@dataclass(slots=True)
class NetCounters:
    """What the network carried."""

    connections: int = 0
    messages: int = 0
    """Writes that were put on the wire."""
    bytes: int = 0
    datagrams: int = 0
    """UDP datagrams that were sent, whatever became of them; their bytes count in `bytes`."""


class SimNet:
    """See the module. `SimLoop.create_server` and `create_connection` end up here."""

    def __init__(self, loop: SimLoop, options: SwarmOptions, source: random.Random) -> None:
        self.loop = loop
        self.options = options
        self.random = source
        self.counters = NetCounters()
        self.stalled: dict[Pipe, None] = {}
        """Directions in which something waits for the end of a blockade."""
        self.ends: dict[SimTransport, None] = {}
        """Every end of a connection that its kernel knows of."""
        self.datagrams = Datagrams(self)
        self._hosts: dict[str, SimHost] = {}
        self._by_address: dict[str, SimHost] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._pipes = 0
        self._kernel = loop.world.context.copy()

    # Hosts and names

    def add(self, host: "SimHost") -> str:
        """Gives a host its address."""
        if host.name in self._hosts:
            raise ValueError(f"there is a host {host.name} already")
        number = len(self._hosts) + 1
        address = f"10.0.{number >> 8}.{number & 255}"
        self._hosts[host.name] = self._by_address[address] = host
        return address

    def resolve(self, here: "SimHost", name: str) -> "SimHost":
        """The host of a name or an address, as seen from `here`. Raises socket.gaierror."""
        if name in LOOPBACK_NAMES or name in ANY_NAMES:
            return here
        host = self._hosts.get(name) or self._by_address.get(name)
        if host is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return host

    def host_at(self, here: "SimHost", address: str) -> "SimHost | None":
        """Whose address that is, as seen from `here`; None when it is nobody's."""
        return here if address in LOOPBACK_NAMES else self._by_address.get(address)

    def address_of(self, name: str) -> str:
        """The address of a name, as the host whose code asks sees it. Raises socket.gaierror."""
        _, here = self._caller()
        host = self.resolve(here, name)
        return LOOPBACK if host is here else host.address

    def link(self, source: str, target: str) -> Link:
        """The direction from one host to another, by names."""
        link = self._links.get((source, target))
        if link is None:
            for name in (source, target):
                if name not in self._hosts:
                    raise ValueError(f"there is no host {name}")
            link = Link(self.options, self.random, loopback=source == target)
            self._links[source, target] = link
        return link

    # Faults

    def cut(self, source: str, target: str, *, both: bool = True) -> None:
        """Loses everything from `source` to `target`, and with `both` the other way, too."""
        self._set(source, target, both, "cut", True)

    def mend(self, source: str, target: str, *, both: bool = True) -> None:
        """Ends a cut."""
        self._set(source, target, both, "cut", False)

    def clog(self, source: str, target: str, *, both: bool = False) -> None:
        """Holds back everything from `source` to `target`."""
        self._set(source, target, both, "clogged", True)

    def unclog(self, source: str, target: str, *, both: bool = False) -> None:
        """Lets go what a clog has held back."""
        self._set(source, target, both, "clogged", False)

    def slow(self, source: str, target: str, factor: float) -> None:
        """Multiplies the latency of one direction; 1 is normal."""
        self.link(source, target).latency_factor = factor
        self._tell(f"latency of {source} to {target} times {factor}")

    def lose(self, source: str, target: str, probability: float, *, both: bool = True) -> None:
        """Loses that share of the datagrams, instead of what the world's options say; connections only feel cuts."""
        for pair in ((source, target), (target, source))[: 2 if both else 1]:
            self.link(*pair).loss_probability = probability
            self._tell(f"{pair[0]} to {pair[1]} loses {probability:.0%} of the datagrams")

    def partition(self, *sides: Collection[str]) -> None:
        """Cuts every link between hosts of different sides, both ways."""
        for number, side in enumerate(sides):
            for other in sides[number + 1 :]:
                for a in side:
                    for b in other:
                        self.cut(a, b)

    def isolate(self, name: str) -> None:
        """Cuts a host off from all others."""
        self.partition([name], [other for other in self._hosts if other != name])

    def heal(self) -> None:
        """Ends every cut, clog, slowness and loss of its own."""
        for link in self._links.values():
            link.cut = link.clogged = False
            link.latency_factor = 1.0
            link.loss_probability = self.options.datagram_loss_probability
        self._tell("network healed")
        self.release()

    def reset(self, a: str, b: str) -> None:
        """Resets every connection between two hosts."""
        self._tell(f"connections between {a} and {b} reset")
        for end in self._between(a, b):
            end.broken(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def half_open(self, a: str, b: str) -> None:
        """Resets every connection between two hosts in a way that only `b` hears of."""
        self._tell(f"connections between {a} and {b} half open: {a} does not know")
        for end in self._between(a, b):
            if end.host.name == b:
                end.broken(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _between(self, a: str, b: str) -> list[SimTransport]:
        pairs = ((a, b), (b, a))
        return [end for end in self.ends if (end.host.name, end.pipe.target.host.name) in pairs]

    def _set(self, source: str, target: str, both: bool, field: str, value: bool) -> None:
        for pair in ((source, target), (target, source))[: 2 if both else 1]:
            setattr(self.link(*pair), field, value)
            self._tell(f"{pair[0]} to {pair[1]} {'' if value else 'no longer '}{field}")
        if not value:
            self.release()

    def release(self) -> None:
        """Lets go on what is not blocked any more."""
        for pipe in list(self.stalled):
            if not pipe.blocked:
                del self.stalled[pipe]
                pipe.release()
        self.datagrams.release()

    def _tell(self, what: str) -> None:
        self.loop.trace.tell(self.loop.virtual_s, "net", what)

    # What the loop asks for

    async def create_server(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        name: str | Sequence[str] | None,
        port: int,
        *,
        tls: object,
    ) -> SimServer:
        """See asyncio's loop. Raises OSError, NotSimulated for TLS."""
        if tls:
            raise NotSimulated("TLS")
        owner, host = self._caller()
        names = [name or ""] if name is None or isinstance(name, str) else list(name)
        for one in names:
            if self.resolve(host, one) is not host:
                raise OSError(errno.EADDRNOTAVAIL, f"{one} is not an address of {host.name}")
        if port == 0:
            port = self.free_port(host)
        elif port in host.listeners:
            raise OSError(errno.EADDRINUSE, f"Address already in use: {host.name}:{port}")
        loopback_only = all(one in LOOPBACK_NAMES for one in names)
        server = host.listeners[port] = SimServer(self, host, owner, factory, port, loopback_only=loopback_only)
        return server

    async def create_connection(
        self, factory: Callable[[], P], name: str, port: int, *, tls: object
    ) -> tuple[SimTransport, P]:
        """See asyncio's loop. Raises OSError, NotSimulated for TLS."""
        if tls:
            raise NotSimulated("TLS")
        owner, here = self._caller()
        there = self.resolve(here, name)
        address = LOOPBACK if there is here else here.address
        client = SimTransport(
            self,
            here,
            owner,
            contextvars.copy_context(),
            (address, self.free_port(here)),
            (LOOPBACK if there is here else there.address, port),
        )
        dial = Dial(self, client, there, port)
        await dial.established()
        if client.gone:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        protocol = factory()
        made: asyncio.Future[None] = self.loop.create_future()
        client.start(protocol, made)
        try:
            await made
        except BaseException:
            client.close()
            raise
        return client, protocol

    async def create_datagram_endpoint(
        self, factory: Callable[[], P], local: tuple[str, int] | None, remote: tuple[str, int] | None
    ) -> tuple[SimDatagramTransport, P]:
        """See asyncio's loop. Raises OSError."""
        owner, here = self._caller()
        name, port = local if local is not None else ("", 0)
        if self.resolve(here, name) is not here:
            raise OSError(errno.EADDRNOTAVAIL, f"{name} is not an address of {here.name}")
        if remote is not None:
            there = self.resolve(here, remote[0])
            remote = (LOOPBACK if there is here else there.address, remote[1])
        own = LOOPBACK if name and name in LOOPBACK_NAMES else here.address
        return await self.datagrams.open(factory, owner, here, (own, port), remote, loopback=LOOPBACK)

    def _caller(self) -> tuple[Incarnation, "SimHost"]:
        owner = self.loop.current
        host = owner.host
        if host is None:
            raise NotSimulated("a connection of the world itself, which is no host,")
        if not owner.alive:
            raise OSError(errno.ENETDOWN, f"{owner.name} has ended")
        return owner, cast("SimHost", host)

    def free_port(self, host: "SimHost") -> int:
        """The next ephemeral port that nothing listens on."""
        for _ in range(EPHEMERAL_PORT_MAX - EPHEMERAL_PORT_MIN + 1):
            host.last_port = host.last_port + 1 if host.last_port < EPHEMERAL_PORT_MAX else EPHEMERAL_PORT_MIN
            if host.last_port not in host.listeners:
                return host.last_port
        raise OSError(errno.EADDRINUSE, "no port is free")

    # What the kernels do

    def at(self, virtual_s: float, callback: Callable[..., object], *arguments: object) -> None:
        """Runs a kernel's work at a point of virtual time; it belongs to no process."""
        self.loop.call_virtual(virtual_s, callback, *arguments, context=self._kernel)

    def next_pipe_number(self) -> int:
        """Numbers pipes and ends."""
        self._pipes += 1
        return self._pipes

    def connect(self, client: SimTransport, server: SimTransport) -> None:
        """Joins the two ends by a pipe each way."""
        out, back = (
            self.link(client.host.name, server.host.name),
            self.link(server.host.name, client.host.name),
        )
        client.pipe = server.back = Pipe(self, out, back, client, server)
        server.pipe = client.back = Pipe(self, back, out, server, client)
        self.ends[client] = self.ends[server] = None
        self.counters.connections += 1

    def forget(self, end: SimTransport) -> None:
        """A kernel knows nothing of this end any more."""
        self.ends.pop(end, None)

    def process_ended(self, host: "SimHost", owner: Incarnation, *, power_lost: bool) -> None:
        """Ends what a process had open: with a word to the other sides, or without when the machine is gone, too."""
        for server in list(host.listeners.values()):
            if server.owner is owner:
                host.listeners.pop(server.port, None)
        self.datagrams.process_ended(owner)
        for end in [end for end in self.ends if end.owner is owner]:
            if power_lost:
                end.vanish(keep_in_flight=self.random.random() < 0.5)
            else:
                end.kernel_close(reset=self.random.random() < 0.5)
