from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from cluster.rpc import create_channel
from cluster.rpc.channelz import add_channelz
from cluster.rpc.grpc import Server
from runtime.real import StreamNet, SystemRandomness


async def test_servers_and_their_connections_are_told() -> None:
    net = StreamNet()
    server = Server(net)
    add_channelz(server, [server])
    port = await server.listen("127.0.0.1", 0)
    async with create_channel(f"127.0.0.1:{port}", net=net, random=SystemRandomness()) as channel:
        stub: Any = channelz_pb2_grpc.ChannelzStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetServer(channelz_pb2.GetServerRequest(server_id=7))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        servers = await stub.GetServers(channelz_pb2.GetServersRequest())
        (told,) = servers.server
        assert servers.end
        assert (told.data.calls_started, told.data.calls_succeeded, told.data.calls_failed) == (2, 0, 1)
        sockets = await stub.GetServerSockets(
            channelz_pb2.GetServerSocketsRequest(server_id=told.ref.server_id, start_socket_id=0)
        )
        (reference,) = sockets.socket_ref
        socket = (await stub.GetSocket(channelz_pb2.GetSocketRequest(socket_id=reference.socket_id))).socket
        assert socket.local.tcpip_address.port == port
        assert socket.local.tcpip_address.ip_address == b"\x7f\0\0\1"
        assert socket.data.streams_started == 4
        assert socket.data.local_flow_control_window.value > 65_535
        for call, request in (
            (stub.GetSocket, channelz_pb2.GetSocketRequest(socket_id=99)),
            (stub.GetChannel, channelz_pb2.GetChannelRequest(channel_id=1)),
            (stub.GetServerSockets, channelz_pb2.GetServerSocketsRequest(server_id=9)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(request)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    await server.stop(None)
    assert server.totals.started == 7
