"""Makes gRPC servers and channels. Nothing else in the house names an engine.

Servicers and stubs are the ordinary ones that grpcio-tools generates; whichever engine carries them, contexts and
errors are those of `grpc.aio`.

Our own engine stands on the doors that it is handed (`net`, `random`), so it runs inside the simulator too; it is taken
when they are given, unless `RpcOptions.engine` says otherwise. grpcio brings its own sockets and threads.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import grpc
import grpc.aio

from cluster.rpc.grpc import Channel, ChannelOptions, Observer, ServerOptions
from cluster.rpc.grpc import Server as OwnServer
from cluster.rpc.grpc.address import split_host_port
from runtime import Net, Randomness

Server: TypeAlias = grpc.aio.Server


@dataclass(frozen=True, slots=True)
class RpcOptions:
    """How connections behave. The defaults fit processes of one data centre."""

    message_bytes_max: int = 16 * 1024 * 1024
    """The largest message either way. A service enforces its own, smaller limit with its own error."""
    keepalive_s: float = 10.0
    """Seconds of silence after which a channel pings; finds a dead host that never said goodbye."""
    keepalive_timeout_s: float = 5.0
    """Seconds that a ping may go unanswered before the connection is given up."""
    client_ping_interval_s_min: float = 5.0
    """A server disconnects clients that ping more often: etcd's bound, so its clients' settings are fine."""
    reconnect_backoff_s_max: float = 1.0
    """The longest pause between two attempts to connect. Short, because a restarted peer must be found again soon."""
    concurrent_calls_max: int | None = None
    """Calls that a server runs at once; further ones get RESOURCE_EXHAUSTED. None: the service bounds them itself."""
    engine: Literal["orrery", "grpcio"] = "orrery"
    """Which engine carries the calls where the doors for our own are given."""


DEFAULT_OPTIONS = RpcOptions()


def create_server(
    options: RpcOptions = DEFAULT_OPTIONS,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    *,
    net: Net | None = None,
    observers: Sequence[Observer] = (),
    http1: Callable[[], asyncio.Protocol] | None = None,
) -> Server:
    """A server without ports and servicers yet. Ports are opened by `listen`.

    With `net` it is our own engine; `observers` (calls begun and ended) and `http1` (the protocol for connections that
    turn out to speak HTTP/1.1) are its alone.
    """
    if net is not None and options.engine == "orrery":
        return OwnServer(
            net,
            ServerOptions(
                receive_bytes_max=options.message_bytes_max,
                send_bytes_max=options.message_bytes_max,
                ping_interval_s_min=options.client_ping_interval_s_min,
            ),
            interceptors=interceptors,
            observers=observers,
            calls_max=options.concurrent_calls_max,
            http1=http1,
        )
    return grpc.aio.server(
        interceptors=list(interceptors),
        options=[
            *_shared_arguments(options),
            # Two processes on one port would share its connections at random: a taken port must be an error.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", int(options.client_ping_interval_s_min * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
        maximum_concurrent_rpcs=options.concurrent_calls_max,
    )


def bind(server: Server, listen: str, credentials: grpc.ServerCredentials | None = None) -> int:
    """Adds a port, `host:port`, and returns its number (port 0 takes a free one). Raises OSError when it is taken."""
    try:
        port = server.add_insecure_port(listen) if credentials is None else server.add_secure_port(listen, credentials)
    except RuntimeError as error:  # grpc's word for every reason
        raise OSError(f"cannot listen on {listen}: {error}") from error
    if port == 0:
        raise OSError(f"cannot listen on {listen}")
    return port


async def listen(server: Server, address: str, *, tls: ssl.SSLContext | None = None) -> int:
    """Opens a port, `host:port`, on a server of either engine and returns its number (port 0 takes a free one).

    Raises OSError when it is taken, and ValueError for `tls` with grpcio, whose `bind` takes credentials.
    """
    if isinstance(server, OwnServer):
        host, port = split_host_port(address)
        return await server.listen(host, port, tls=tls)
    if tls is not None:
        raise ValueError("grpcio cannot take an ssl.SSLContext: use bind() with grpc.ssl_server_credentials")
    return bind(server, address)


def create_channel(
    target: str,
    options: RpcOptions = DEFAULT_OPTIONS,
    credentials: grpc.ChannelCredentials | None = None,
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    *,
    net: Net | None = None,
    random: Randomness | None = None,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> grpc.aio.Channel:
    """A channel to `host:port`. It connects when first used, and again by itself after each loss.

    With `net` and `random` it is our own engine, which takes TLS as `tls` instead of `credentials`. Raises ValueError
    for what the engine cannot do: our own takes no `credentials`, grpcio no `tls`.
    """
    if net is not None and random is not None and options.engine == "orrery":
        if credentials is not None:
            raise ValueError("our own engine cannot read grpc's credentials: use tls")
        own = ChannelOptions(
            receive_bytes_max=options.message_bytes_max,
            send_bytes_max=options.message_bytes_max,
            backoff_s_max=options.reconnect_backoff_s_max,
            keepalive_s=options.keepalive_s,
            keepalive_timeout_s=options.keepalive_timeout_s,
        )
        return Channel(target, net, random, own, tls=tls, server_hostname=server_hostname, interceptors=interceptors)
    if tls is not None:
        raise ValueError("grpcio cannot take an ssl.SSLContext: use grpc.ssl_channel_credentials")
    arguments = [
        *_shared_arguments(options),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", int(options.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(options.keepalive_timeout_s * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", int(options.reconnect_backoff_s_max * 1000)),
        # Proxy variables of a developer's shell are not meant for traffic between our processes.
        ("grpc.enable_http_proxy", 0),
        # Channels to one target share a connection by default, and so a stuck one.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=arguments, interceptors=list(interceptors))
    return grpc.aio.secure_channel(target, credentials, options=arguments, interceptors=list(interceptors))


def _shared_arguments(options: RpcOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.message_bytes_max),
        ("grpc.max_send_message_length", options.message_bytes_max),
        # Compound metadata (traces, tokens) stays far below; a flood of it is cut off.
        ("grpc.max_metadata_size", 64 * 1024),
    ]
