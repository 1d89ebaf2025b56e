"""What a driver can be told."""

from dataclasses import dataclass, field

from cluster.http.address import split_address
from cluster.membership.core import SwimConfig


@dataclass(frozen=True, slots=True)
class MembershipOptions:
    """Who a member is and how it runs. Raises ValueError, naming the field, when something makes no sense."""

    name: str
    """Unique in the cluster, and the same after a restart."""
    listen: str = "127.0.0.1:0"
    """`host:port` for datagrams and streams alike; port 0 takes one that is free for both."""
    advertise: str = ""
    """`host:port` under which the others reach `listen`; empty: the same. Names are resolved once, at the start."""
    seeds: tuple[str, ...] = ()
    """`host:port` of members to ask for the cluster; this member's own address among them does no harm."""
    label: str = "orrery"
    """The cluster's name: members of others are not heard."""
    keys: tuple[bytes, ...] = ()
    """Keys that the cluster shares, the primary one first; none: everything travels in clear."""
    seal_outgoing: bool = True
    """With keys: whether to seal. Off for the first step of bringing keys to a running cluster."""
    refuse_unsealed: bool = True
    """With keys: whether to refuse what is not sealed. On as the last step."""
    tick_s: float = 0.1
    """Length of a tick; all times of `swim` are in ticks."""
    join_retry_s: float = 1.0
    """How long a member that has found nobody waits before it asks its seeds again; doubles up to `seeds_refresh_s`."""
    seeds_refresh_s: float = 30.0
    """How often the seeds' names are resolved anew: in containers, addresses change."""
    stream_s_max: float = 10.0
    """How long a conversation by a stream may take."""
    streams_out_max: int = 16
    """Conversations that this member has begun; more are dropped."""
    streams_in_max: int = 64
    """Conversations that others have begun; more are refused."""
    watch_events_max: int = 1_024
    """Events that a watcher may leave unread; then it gets RESET instead of them."""
    swim: SwimConfig = field(default_factory=SwimConfig)

    def __post_init__(self) -> None:
        for address in (self.listen, *self.seeds, *([self.advertise] if self.advertise else [])):
            split_address(address)
        for name in ("tick_s", "join_retry_s", "seeds_refresh_s", "stream_s_max"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("streams_out_max", "streams_in_max", "watch_events_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
