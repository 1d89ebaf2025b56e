"""How a balanced channel behaves, and how a call says what it belongs to."""

from contextvars import ContextVar
from dataclasses import dataclass, field

from cluster.discovery.outliers import OutlierOptions
from cluster.rpc.engine import RpcOptions

HASH_KEY: ContextVar[bytes | None] = ContextVar("orrery_hash_key", default=None)
"""Calls made in a context with the same key go to the same endpoint, with a balancer that keeps keys."""
HASH_KEY_METADATA = "orrery-hash-key"
"""The same as metadata of one call, which counts more. The endpoint gets to see it."""


@dataclass(frozen=True, slots=True)
class BalancedOptions:
    """The defaults fit processes of one data centre."""

    name: str = ""
    """What is called, in metrics and messages."""
    rpc: RpcOptions = field(default_factory=lambda: RpcOptions(reconnect_backoff_s_max=0.5))
    """Of the connection to each endpoint."""
    outliers: OutlierOptions = field(default_factory=OutlierOptions)
    panic_share: float = 0.5
    """With fewer endpoints than this share well, health is not believed and all get calls."""
    attempts_max: int = 3
    """How many endpoints a unary call is sent to, one after another, while it certainly was not executed."""
    retry_ratio: float = 0.2
    """Retries a call, in the long run."""
    retry_reserve: float = 20.0
    """Retries in a burst."""
    resolve_s_max: float = 5.0
    """How long calls wait for the source's first set."""
    waiting_max: int = 10_000
    """Calls that wait for an endpoint. Further ones fail as RESOURCE_EXHAUSTED."""
    drain_s: float = 30.0
    """How long calls may take to end at an endpoint that is not in the set any more."""
