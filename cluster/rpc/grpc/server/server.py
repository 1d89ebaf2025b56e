"""The server: ports, handlers, and the way down."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence

import grpc
import grpc.aio

from cluster.rpc.grpc.address import split_host_port
from cluster.rpc.grpc.metadata import Pairs
from cluster.rpc.grpc.server.connection import Observer, ServerConnection, ServerOptions, Serving, Totals
from cluster.rpc.grpc.server.method import CallDetails, Handler, Method
from cluster.rpc.grpc.server.sniffer import Sniffer
from runtime import Net

log = logging.getLogger(__name__)

METHODS_REMEMBERED_MAX = 4096
"""Methods found through generic handlers that are kept; names come from clients, so the number needs a limit."""

ProtocolFactory = Callable[[], asyncio.Protocol]


class Server(grpc.aio.Server):
    """A gRPC server on `runtime.Net`. Takes whatever `add_XServicer_to_server` hands it.

    Servicer methods that are plain functions run on the event loop, where grpc.aio would use a thread: they must not
    block. Calls `http1` (a protocol factory) for connections that do not speak HTTP/2, or closes them.
    """

    def __init__(
        self,
        net: Net,
        options: ServerOptions | None = None,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        observers: Sequence[Observer] = (),
        calls_max: int | None = None,
        http1: ProtocolFactory | None = None,
    ) -> None:
        self._net = net
        self._options = options or ServerOptions()
        self._http1 = http1
        self._registered: dict[str, Handler] = {}
        self._generic: list[grpc.GenericRpcHandler] = []
        self._methods: dict[str, Method] = {}
        self._pending_ports: list[tuple[str, int, ssl.SSLContext | None]] = []
        self._listeners: list[asyncio.Server] = []
        self._serving = Serving(
            find=self.find,
            interceptors=tuple(interceptors),
            observers=observers,
            options=self._options,
            connections={},
            calls_max=calls_max,
        )
        self._undecided: dict[Sniffer, None] = {}
        self._started = False
        self._terminated = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None

    # ---- handlers

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Registers handlers that find methods by name."""
        self._generic.extend(generic_rpc_handlers)
        self._methods.clear()

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Registers a service's methods."""
        for name, handler in method_handlers.items():
            self._registered[f"/{service_name}/{name}"] = handler
        self._methods.clear()

    def find(self, path: str, metadata: Pairs) -> Method | None:
        """The method for `path`, or None."""
        method = self._methods.get(path)
        if method is not None:
            return method
        handler = self._registered.get(path)
        if handler is None:
            details = CallDetails(path, metadata)
            for generic in self._generic:
                handler = generic.service(details)
                if handler is not None:
                    break
            else:
                return None
        method = Method(path, handler)
        if len(self._methods) < METHODS_REMEMBERED_MAX:
            self._methods[path] = method
        return method

    # ---- ports

    def add_insecure_port(self, address: str) -> int:
        """Listens on `host:port` from `start` on. With port 0 the number is known only then: see `listen`."""
        host, port = split_host_port(address)
        self._pending_ports.append((host, port, None))
        return port

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Not served: grpc's credentials cannot be read. Use `listen` with an `ssl.SSLContext`."""
        raise NotImplementedError("grpc.ServerCredentials are opaque: hand an ssl.SSLContext to listen()")

    async def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Accepts connections from now on; returns the port. Raises OSError when it is taken."""
        listener = await self._net.listen(self._accept, host, port, tls=tls)
        self._listeners.append(listener)
        self._started = True
        # A simulated listener has no sockets; it is never asked for a free port either.
        return int(listener.sockets[0].getsockname()[1]) if listener.sockets else port

    async def start(self) -> None:
        """Opens the ports that were added."""
        self._started = True
        pending, self._pending_ports = self._pending_ports, []
        for host, port, tls in pending:
            await self.listen(host, port, tls=tls)

    def _accept(self) -> asyncio.Protocol:
        return Sniffer(
            asyncio.get_running_loop(),
            http2=self._http2_protocol,
            http1=self._http1,
            full=len(self._serving.connections) + len(self._undecided) >= self._options.connections_max,
            handshake_s_max=self._options.handshake_s_max,
            undecided=self._undecided,
        )

    def _http2_protocol(self) -> ServerConnection:
        connection = ServerConnection(asyncio.get_running_loop(), self._serving)
        if self._stopping is not None:
            asyncio.get_running_loop().call_soon(connection.drain)
        return connection

    @property
    def connections(self) -> int:
        """HTTP/2 connections that are open."""
        return len(self._serving.connections)

    def open_connections(self) -> Iterable[ServerConnection]:
        """The connections that are open, in the order in which they came."""
        return tuple(self._serving.connections)

    @property
    def totals(self) -> Totals:
        """Calls since the start, on all connections."""
        parts = [self._serving.totals, *(connection.totals for connection in self._serving.connections)]
        return Totals(
            started=sum(part.started for part in parts),
            succeeded=sum(part.succeeded for part in parts),
            failed=sum(part.failed for part in parts),
        )

    @property
    def calls(self) -> int:
        """Calls that are running."""
        return self._serving.calls

    # ---- the way down

    async def stop(self, grace: float | None) -> None:
        """Refuses new calls, waits up to `grace` seconds for the running ones, and ends what is left."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(grace))
        elif grace is None:
            self._end_all()
        await asyncio.shield(self._stopping)

    async def _stop(self, grace: float | None) -> None:
        for listener in self._listeners:
            listener.close()
        for sniffer in list(self._undecided):
            sniffer.close()
        connections = self._serving.connections
        if grace:
            for connection in list(connections):
                connection.drain()
            deadline_s = asyncio.get_running_loop().time() + grace
            await self._until_no_connections(deadline_s)
        self._end_all()
        linger_s = asyncio.get_running_loop().time() + self._options.linger_s_max
        await self._until_no_connections(linger_s)
        for connection in list(connections):
            connection.abort()
        await self._until_no_connections(linger_s + 1.0)
        for listener in self._listeners:
            await listener.wait_closed()
        self._serving.workers.close()
        self._terminated.set()

    def _end_all(self) -> None:
        for connection in list(self._serving.connections):
            connection.shut_down("server is shutting down")

    async def _until_no_connections(self, deadline_s: float) -> None:
        loop = asyncio.get_running_loop()
        while self._serving.connections and loop.time() < deadline_s:
            gone = loop.create_future()
            timer = loop.call_at(deadline_s, _resolve, gone)
            self._serving.when_gone = gone
            try:
                await gone
            finally:
                timer.cancel()
                self._serving.when_gone = None

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits until `stop` is through. Returns whether that took longer than `timeout`."""
        try:
            async with asyncio.timeout(timeout):
                await self._terminated.wait()
        except TimeoutError:
            return True
        return False


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
