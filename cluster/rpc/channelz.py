"""channelz: what a process' servers and their connections are doing (gRPC's "gRFC A14", `grpc.channelz.v1`).

grpcio's own servicer asks its C core, which knows nothing of our servers; this one answers for ours. Channels of this
process are not listed.
"""

import ipaddress
from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from cluster.rpc.grpc import Server
from cluster.rpc.grpc.server.connection import ServerConnection

RESULTS_MAX = 100
"""Answers of one page, whatever was asked for."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ChannelzServicer:
    """Answers for the servers that it was given; they are numbered from 1, and their connections as they came."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._servers = dict(enumerate(servers, start=1))

    async def GetTopChannels(self, request: Any, context: Context) -> Any:  # noqa: N802  # the protocol's name
        """No channels are listed."""
        return channelz_pb2.GetTopChannelsResponse(end=True)

    async def GetServers(self, request: Any, context: Context) -> Any:  # noqa: N802  # the protocol's name
        """The servers from `start_server_id` on."""
        numbers = [number for number in self._servers if number >= request.start_server_id]
        page = numbers[: _page(request.max_results)]
        return channelz_pb2.GetServersResponse(
            server=[self._server(number) for number in page], end=len(page) == len(numbers)
        )

    async def GetServer(self, request: Any, context: Context) -> Any:  # noqa: N802  # the protocol's name
        """One server."""
        if request.server_id not in self._servers:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no server {request.server_id}")
        return channelz_pb2.GetServerResponse(server=self._server(request.server_id))

    async def GetServerSockets(self, request: Any, context: Context) -> Any:  # noqa: N802  # the protocol's name
        """A server's connections from `start_socket_id` on."""
        server = self._servers.get(request.server_id)
        if server is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no server {request.server_id}")
        assert server is not None
        limit = _page(request.max_results)
        later = (each for each in server.open_connections() if each.number >= request.start_socket_id)
        page = list(islice(later, limit + 1))
        return channelz_pb2.GetServerSocketsResponse(
            socket_ref=[_reference(connection) for connection in page[:limit]], end=len(page) <= limit
        )

    async def GetSocket(self, request: Any, context: Context) -> Any:  # noqa: N802  # the protocol's name
        """One connection."""
        for server in self._servers.values():
            for connection in server.open_connections():
                if connection.number == request.socket_id:
                    return channelz_pb2.GetSocketResponse(socket=_socket(connection))
        return await context.abort(grpc.StatusCode.NOT_FOUND, f"no socket {request.socket_id}")

    async def GetChannel(self, request: Any, context: Context) -> Any:  # noqa: N802  # the protocol's name
        """No channels are listed."""
        return await context.abort(grpc.StatusCode.NOT_FOUND, f"no channel {request.channel_id}")

    async def GetSubchannel(self, request: Any, context: Context) -> Any:  # noqa: N802  # the protocol's name
        """No channels are listed."""
        return await context.abort(grpc.StatusCode.NOT_FOUND, f"no subchannel {request.subchannel_id}")

    def _server(self, number: int) -> Any:  # a message without stubs
        calls = self._servers[number].totals
        return channelz_pb2.Server(
            ref=channelz_pb2.ServerRef(server_id=number),
            data=channelz_pb2.ServerData(
                calls_started=calls.started,
                calls_succeeded=calls.succeeded,
                calls_failed=calls.failed,
            ),
        )


def add_channelz(server: grpc.aio.Server, servers: Iterable[Server]) -> None:
    """Adds the service to `server`, answering for `servers`."""
    channelz_pb2_grpc.add_ChannelzServicer_to_server(ChannelzServicer(servers), server)


def _page(asked: int) -> int:
    return min(asked, RESULTS_MAX) if asked > 0 else RESULTS_MAX


def _reference(connection: ServerConnection) -> Any:  # a message without stubs
    return channelz_pb2.SocketRef(socket_id=connection.number, name=connection.peer)


def _socket(connection: ServerConnection) -> Any:  # a message without stubs
    http2 = connection.http2
    calls = connection.totals
    socket = channelz_pb2.Socket(
        ref=_reference(connection),
        data=channelz_pb2.SocketData(
            streams_started=calls.started,
            streams_succeeded=calls.succeeded,
            streams_failed=calls.failed,
            keep_alives_sent=connection.keepalives_sent,
        ),
        local=_address(connection.local_address),
        remote=_address(connection.remote_address),
    )
    socket.data.local_flow_control_window.value = http2.receive_window
    socket.data.remote_flow_control_window.value = http2.send_window
    return socket


def _address(address: object) -> Any:  # a message without stubs
    if isinstance(address, tuple) and len(address) >= 2:
        try:
            packed = ipaddress.ip_address(str(address[0]).partition("%")[0]).packed
        except ValueError:
            return channelz_pb2.Address(other_address=channelz_pb2.Address.OtherAddress(name=str(address[0])))
        return channelz_pb2.Address(tcpip_address=channelz_pb2.Address.TcpIpAddress(ip_address=packed, port=address[1]))
    return channelz_pb2.Address()
