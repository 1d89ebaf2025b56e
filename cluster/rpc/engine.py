"""Makes gRPC servers and channels. Nothing else in the house names an engine.

Servicers and stubs are the ordinary ones that grpcio-tools generates; whichever engine carries them, contexts and
errors are those of `grpc.aio`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import grpc.aio

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


DEFAULT_OPTIONS = RpcOptions()


def create_server(
    options: RpcOptions = DEFAULT_OPTIONS, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
) -> Server:
    """A server without ports and servicers yet. Ports are bound by `bind`."""
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


def create_channel(
    target: str,
    options: RpcOptions = DEFAULT_OPTIONS,
    credentials: grpc.ChannelCredentials | None = None,
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """A channel to `host:port`. It connects when first used, and again by itself after each loss."""
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
