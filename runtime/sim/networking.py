"""How the simulated loop listens and connects: through a SimNet, in the name of the host whose code asks."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

from runtime.sim.errors import NotSimulated
from runtime.sim.unsupported import RefusingLoop

P = TypeVar("P", bound=asyncio.BaseProtocol)

AddressInfo = (
    tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[socket.AddressFamily.AF_INET6],
        socket.SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
)
"""What typeshed says that `getaddrinfo` gives; here always the first kind."""


class Network(Protocol):
    """What the loop asks of SimNet."""

    def address_of(self, name: str) -> str:
        """The address of a name. Raises socket.gaierror."""
        ...

    async def create_server(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        name: str | Sequence[str] | None,
        port: int,
        *,
        tls: object,
    ) -> asyncio.Server:
        """Listens."""
        ...

    async def create_connection(
        self, factory: Callable[[], P], name: str, port: int, *, tls: object
    ) -> tuple[asyncio.Transport, P]:
        """Connects."""
        ...

    async def create_datagram_endpoint(
        self, factory: Callable[[], P], local: tuple[str, int] | None, remote: tuple[str, int] | None
    ) -> tuple[asyncio.DatagramTransport, P]:
        """Binds a UDP port."""
        ...


class NetworkingLoop(RefusingLoop):
    """A loop that can be given a network."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Network | None = None

    async def getaddrinfo(
        self, host: bytes | str | None, port: bytes | str | int | None, **_: object
    ) -> "list[AddressInfo]":
        """The one address of a simulated host. Raises socket.gaierror."""
        address = self._network().address_of(host.decode() if isinstance(host, bytes) else host or "")
        return [
            (socket.AddressFamily.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(str(port or 0))))
        ]

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        ssl: object = None,
        **_: object,
    ) -> asyncio.Server:
        """Listens on the host whose code asks. Raises OSError, NotSimulated for TLS."""
        return await self._network().create_server(protocol_factory, host, port or 0, tls=ssl)

    async def create_connection(
        self,
        protocol_factory: Callable[[], P],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: object = None,
        **_: object,
    ) -> tuple[asyncio.Transport, P]:
        """Connects from the host whose code asks. Raises OSError, NotSimulated for TLS."""
        if host is None or port is None:
            raise NotSimulated("create_connection by a socket")
        return await self._network().create_connection(protocol_factory, host, port, tls=ssl)

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], P],
        local_addr: tuple[str, int] | str | None = None,
        remote_addr: tuple[str, int] | str | None = None,
        **_: object,
    ) -> tuple[asyncio.DatagramTransport, P]:
        """Opens a UDP endpoint on the host whose code asks. Raises OSError."""
        if isinstance(local_addr, str) or isinstance(remote_addr, str):
            raise NotSimulated("datagrams of Unix sockets")
        return await self._network().create_datagram_endpoint(protocol_factory, local_addr, remote_addr)

    def _network(self) -> "Network":
        if self.network is None:
            raise NotSimulated("the network of a loop without a world")
        return self.network
