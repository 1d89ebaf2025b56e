"""What the registry knows. The same shapes are kept in kv (see `records`) and handed to the heads.

Times are Unix time in milliseconds where they are kept, since processes differ in their monotonic clocks.
"""

from enum import StrEnum

import msgspec

NODE_CHECK_ID = "serfHealth"
"""The check of a node that membership decides, under the name that Consul's clients look for."""
NODE_MAINTENANCE_ID = "_node_maintenance"
INSTANCE_MAINTENANCE_ID = "_service_maintenance:{id}"
"""Checks that stand for maintenance, named as Consul names them."""


class Health(StrEnum):
    """What a check says. The worst counts."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def badness(self) -> int:
        """0, 1, 2: the larger, the worse."""
        return _BADNESS[self]


_BADNESS = {Health.PASSING: 0, Health.WARNING: 1, Health.CRITICAL: 2}


class CheckKind(StrEnum):
    """Who decides."""

    TTL = "ttl"
    HTTP = "http"
    TCP = "tcp"
    GRPC = "grpc"
    NODE = "node"
    """Membership."""
    MAINTENANCE = "maintenance"
    """An operator, by making and removing the check."""


PROBED = frozenset({CheckKind.HTTP, CheckKind.TCP, CheckKind.GRPC})
"""Kinds that the registry finds out by asking."""


class CheckDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the health of an instance or of a node is found out. Numbers that a kind does not use are 0."""

    id: str
    """Unique on its node."""
    name: str
    kind: CheckKind
    instance_id: str = ""
    """Empty: of the node."""
    notes: str = ""
    ttl_ms: int = 0
    interval_ms: int = 0
    timeout_ms: int = 0
    target: str = ""
    """HTTP: a URL. TCP: host:port. gRPC: host:port or host:port/service."""
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    use_tls: bool = False
    skip_tls_verification: bool = False
    successes_before_passing: int = 1
    failures_before_critical: int = 1
    deregister_critical_after_ms: int = 0
    """0: never."""
    initial: Health = Health.CRITICAL


class CheckState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a check says now. It is written when it flips, not with each result."""

    health: Health
    output: str = ""
    changed_at_ms: int = 0
    critical_since_ms: int = 0
    """0 when it is not critical."""
    penalty: float = 0.0
    """For flap damping: grows with each flip, halves with time; as of `changed_at_ms`."""
    held: bool = False
    """It would pass, and is held critical because it flaps."""


class Weights(msgspec.Struct, frozen=True, omit_defaults=True):
    """Shares of the load, by health."""

    passing: int = 1
    warning: int = 1


class Instance(msgspec.Struct, frozen=True, omit_defaults=True):
    """One instance of a service. `(node, id)` is its identity."""

    node: str
    id: str
    service: str
    address: str = ""
    """Empty: the node's."""
    port: int = 0
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    weights: Weights = Weights()


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """A host or process that instances stand and fall with."""

    name: str
    address: str
    metadata: dict[str, str] = {}
