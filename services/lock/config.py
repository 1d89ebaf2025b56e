"""What a lock process can be told; see `runtime.config` for where the values come from.

`orrery` writes these keys: node, data_dir, [admin] listen, [log] level, [lock] listen, advertise, kv,
[membership] listen, seeds, cluster, keys_file.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from cluster.discovery.config import DiscoverySection
from cluster.membership.config import MembershipSection, membership_options
from cluster.presence.config import RegistrationSection
from cluster.rpc.grpc.address import split_host_port
from cluster.telemetry.config import AdminSection, LogSection
from services.lock.limits import QUEUE_MAX


class LockSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[lock]."""

    listen: Annotated[str, Meta(description="host:port that clients reach.")] = "127.0.0.1:2389"
    advertise: Annotated[
        str, Meta(description="host:port under which clients elsewhere reach `listen`. Empty: as `listen`.")
    ] = ""
    kv: Annotated[
        tuple[str, ...],
        Meta(
            description="host:port of the client ports of all kv members. With one only, its loss is the loss of all"
            " locks.",
            min_length=1,
        ),
    ] = ("127.0.0.1:2379",)
    kv_timeout_ms: Annotated[
        int,
        Meta(
            description="Milliseconds for which kv is asked, all members together, before a client is told that it"
            " does not answer. Shorter than an election of kv, each change of its leader is seen by clients.",
            ge=500,
            le=60_000,
        ),
    ] = 5000
    sessions_max: Annotated[
        int,
        Meta(
            description="Sessions whose streams this process takes: about 15 KB each, and 13 KB for each wait.",
            ge=1,
            le=1_000_000,
        ),
    ] = 20_000
    observers_max: Annotated[
        int, Meta(description="Observers of elections that this process takes.", ge=1, le=1_000_000)
    ] = 10_000
    waiters_max: Annotated[
        int,
        Meta(
            description="Places in the queue of one lock. Each process that serves one of them holds the whole queue"
            " in memory, about 500 bytes for each.",
            ge=1,
            le=QUEUE_MAX - 1,
        ),
    ] = 4096
    drain_ms: Annotated[
        int,
        Meta(
            description="Milliseconds that clients have to go on at another process when this one stops. Those that"
            " are late find their stream broken, and go on all the same.",
            ge=0,
            le=9000,
        ),
    ] = 2000

    def __post_init__(self) -> None:
        for address in (self.listen, *self.kv):
            split_host_port(address)


class LockConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lock process."""

    node: Annotated[str, Meta(description="This process's name.", min_length=1)] = "lock-1"
    data_dir: Annotated[str, Meta(description="Not used: a lock process keeps nothing. All it knows is in kv.")] = ""
    admin: Annotated[AdminSection, Meta(description="The admin port.")] = AdminSection("127.0.0.1:2391")
    log: Annotated[LogSection, Meta(description="Logs.")] = LogSection()
    lock: Annotated[LockSection, Meta(description="The service.")] = LockSection()
    membership: Annotated[MembershipSection, Meta(description="Who else of the cluster is there.")] = (
        MembershipSection()
    )
    registration: Annotated[RegistrationSection, Meta(description="What the registry is told of this process.")] = (
        RegistrationSection()
    )

    discovery: Annotated[DiscoverySection, Meta(description="How this process finds the members of kv.")] = (
        DiscoverySection()
    )

    def __post_init__(self) -> None:
        membership_options(self.membership, self.node)
