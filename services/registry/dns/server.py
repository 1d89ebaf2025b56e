"""Listens: UDP and TCP on the same port numbers."""

import asyncio
import errno

from cluster.http.address import join_address, split_address
from runtime import Clock, Net, Randomness
from services.registry.dns.admission import Admission
from services.registry.dns.config import DnsSection
from services.registry.dns.counting import DnsCounters, Drop
from services.registry.dns.responder import Responder
from services.registry.dns.tcp import TcpConnection
from services.registry.dns.udp import UdpEndpoint
from services.registry.interface import Catalogue

BIND_TRIES_MAX = 16
"""Free TCP ports that are tried until one is free for UDP, too."""
STOP_S_MAX = 1.0
"""Seconds that connections have to take the answers that are written."""


class _Refused(asyncio.Protocol):
    """Takes the place of a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class DnsServer:
    """Answers DNS from a catalogue, on every address of `config.listen`."""

    def __init__(self, net: Net, clock: Clock, random: Randomness, catalogue: Catalogue, config: DnsSection) -> None:
        self.counters = DnsCounters()
        self._net = net
        self._config = config
        self._admission = Admission(config.allowed_networks())
        self._responder = Responder(catalogue, clock, random, config, self.counters)
        self._addresses: list[tuple[str, int]] = []
        self._servers: list[asyncio.Server] = []
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._connections: dict[TcpConnection, str] = {}
        self._per_client: dict[str, int] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._is_stopping = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, `host:port`, with the real ports once started."""
        return tuple(join_address(host, port) for host, port in self._addresses)

    async def start(self) -> None:
        """Binds all. Raises OSError when one is taken; then nothing stays bound."""
        try:
            for listen in self._config.listen:
                host, port = split_address(listen)
                self._addresses.append((host, await self._bind(host, port)))
        except BaseException:
            self._close()
            raise

    async def stop(self) -> None:
        """Closes all. Connections may still take what was answered, for STOP_S_MAX seconds."""
        self._is_stopping = True
        self._close()
        self._responder.close()
        for connection in tuple(self._connections):
            connection.close()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self._none_left.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
            await self._none_left.wait()

    async def _bind(self, host: str, port: int) -> int:
        """Binds UDP and TCP on one port number, and says which."""
        for tries_left in range(BIND_TRIES_MAX - 1, -1, -1):
            server = await self._net.listen(self._accept, host, port)
            bound = int(server.sockets[0].getsockname()[1]) if port == 0 else port
            try:
                transport, _ = await self._net.datagram(self._endpoint, host, bound)
            except OSError as error:
                server.close()
                if port or error.errno != errno.EADDRINUSE or not tries_left:
                    raise
                continue
            except BaseException:
                server.close()
                raise
            self._servers.append(server)
            self._datagrams.append(transport)
            return bound
        raise AssertionError("the last try raises")

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        for transport in self._datagrams:
            transport.close()
        self._servers.clear()
        self._datagrams.clear()

    def _endpoint(self) -> UdpEndpoint:
        return UdpEndpoint(self._responder, self._admission, self.counters)

    def _accept(self) -> asyncio.Protocol:
        if self._is_stopping or len(self._connections) >= self._config.connections_max:
            self.counters.dropped[Drop.CONNECTIONS] += 1
            return _Refused()
        return TcpConnection(self._responder, self.counters, self._config.idle_ms_max / 1000, self._opened, self._lost)

    def _opened(self, connection: TcpConnection, host: str) -> bool:
        if not self._admission.allows(host):
            self.counters.dropped[Drop.NOT_ALLOWED] += 1
            return False
        count = self._per_client.get(host, 0)
        if count >= self._config.connections_per_client_max:
            self.counters.dropped[Drop.CONNECTIONS] += 1
            return False
        self._per_client[host] = count + 1
        self._connections[connection] = host
        self.counters.connections = len(self._connections)
        self._none_left.clear()
        return True

    def _lost(self, connection: TcpConnection) -> None:
        host = self._connections.pop(connection, None)
        if host is None:
            return
        if self._per_client[host] == 1:
            del self._per_client[host]
        else:
            self._per_client[host] -= 1
        self.counters.connections = len(self._connections)
        if not self._connections:
            self._none_left.set()
