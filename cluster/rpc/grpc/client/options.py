"""How a channel connects and what it takes."""

from dataclasses import dataclass, field

from cluster.rpc.http2 import Limits


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """Named limits and times of a channel."""

    limits: Limits = field(default_factory=Limits)
    receive_bytes_max: int = 4 * 1024 * 1024
    """Largest response message."""
    send_bytes_max: int = 2**31 - 1
    """Largest request message."""
    connect_s_max: float = 20.0
    """How long one address may take to accept, TLS and HTTP/2 settings included."""
    backoff_s_min: float = 0.1
    """Pause after the first failure to connect. gRPC's own default is 1 s; peers here are on the same network."""
    backoff_factor: float = 1.6
    backoff_jitter: float = 0.2
    backoff_s_max: float = 5.0
    """Longest pause between attempts."""
    keepalive_s: float = 10.0
    """Silence after which the channel pings. 0: never. Only while calls run, unless `keepalive_idle`."""
    keepalive_timeout_s: float = 5.0
    """How long that ping may go unanswered before the connection is given up."""
    linger_s_max: float = 2.0
    """How long a closing connection may take to take what was written."""
    calls_waiting_max: int = 10_000
    """Calls that wait for a connection or for a free stream. Further ones fail as RESOURCE_EXHAUSTED."""
    user_agent: str = "grpc-python-orrery/1"
