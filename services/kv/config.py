"""What a kv process can be told; see `runtime.config` for where the values come from.

`orrery` writes these keys: node, data_dir, [admin] listen, [log] level, [kv] listen, advertise, peer_listen, members,
cluster_token, [membership] listen, seeds, cluster, keys_file.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cluster.membership.config import MembershipSection, membership_options
from cluster.presence.config import RegistrationSection
from cluster.telemetry.config import AdminSection, LogSection
from services.kv.identity import parse_members


class KvSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[kv]."""

    listen: Annotated[str, Meta(description="host:port that clients of the etcd API reach.")] = "127.0.0.1:2379"
    advertise: Annotated[
        str,
        Meta(
            description="host:port under which clients elsewhere reach `listen`; member lists show it. Empty: as"
            " `listen`. Wrong, it sends clients that discover members to nowhere."
        ),
    ] = ""
    peer_listen: Annotated[
        str, Meta(description="host:port for the other members. Empty: the address of this node in `members`.")
    ] = ""
    members: Annotated[
        tuple[str, ...],
        Meta(
            description="All members as name=host:port of their peer ports, this node included; the same on each of"
            " them. Members whose lists differ at the first start found clusters that cannot work together."
        ),
    ] = ("kv-1=127.0.0.1:2380",)
    cluster_token: Annotated[
        str,
        Meta(
            description="Tells clusters apart: ids are made from it, and a member refuses peers and data directories of"
            " another one. Changing it makes the data directory unusable.",
            min_length=1,
        ),
    ] = "orrery"  # noqa: S105 (a name, not a secret)
    tick_ms: Annotated[
        int,
        Meta(
            description="Milliseconds between heartbeats. Above the election time over ten, a lost message can cost a"
            " leader.",
            ge=10,
            le=5000,
        ),
    ] = 100
    election_ms: Annotated[
        int,
        Meta(
            description="Milliseconds without a leader before an election; also the unit of the shortest lease. Below"
            " five ticks, a busy machine elects again and again; every second more is a second longer without service.",
            ge=100,
            le=60000,
        ),
    ] = 1000
    request_timeout_ms: Annotated[
        int, Meta(description="Milliseconds after which a request that got no answer is given up.", ge=100, le=600_000)
    ] = 7000
    request_bytes_max: Annotated[
        int,
        Meta(
            description="The largest write in bytes (etcd: --max-request-bytes). Large ones delay all others.",
            ge=1024,
            le=8 * 1024 * 1024,
        ),
    ] = 1536 * 1024
    txn_operations_max: Annotated[
        int, Meta(description="Operations in one transaction (etcd: --max-txn-ops).", ge=1, le=10_000)
    ] = 128
    snapshot_log_bytes: Annotated[
        int,
        Meta(
            description="Bytes of log after which a snapshot is taken and the log cut. Small: much writing. Large: a"
            " restart replays more.",
            ge=1024 * 1024,
        ),
    ] = 64 * 1024 * 1024
    snapshot_trailing_entries: Annotated[
        int,
        Meta(
            description="Entries kept behind a snapshot, so that a member that was away for a moment catches up by the"
            " log.",
            ge=0,
        ),
    ] = 5000
    progress_interval_ms: Annotated[
        int,
        Meta(description="Milliseconds between notices to idle watchers that ask for them.", ge=100, le=86_400_000),
    ] = 600_000
    etcd_version: Annotated[
        str,
        Meta(
            description="The version of etcd that Status and /version report: clients decide by it what they use.",
            pattern=r"^\d+\.\d+\.\d+$",
        ),
    ] = "3.6.0"

    engine: Annotated[
        Literal["memory", "lsm", "btree"],
        Meta(
            description="Where the records are kept. memory: in the process, read back at each start from the log and"
            " the newest snapshot. lsm, btree: in an engine on the disk: memory holds the keys and a cache only."
            " Members may differ. From memory to another it may be changed at any start; otherwise only with an empty"
            " data directory."
        ),
    ] = "memory"

    rpc_engine: Annotated[
        Literal["orrery", "grpcio"],
        Meta(
            description="What carries gRPC between members and to clients: this house's own engine, or grpcio, which is"
            " several times slower, and leaves the client port without HTTP/1.1: no JSON gateway, /health or /version."
        ),
    ] = "orrery"

    channelz: Annotated[
        bool,
        Meta(
            description="Serve gRPC's channelz on the client port: what is connected, and how its calls fare. It shows"
            " the addresses of all clients to each of them. Only with this house's own engine."
        ),
    ] = False

    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Origins of web pages, as https://console.example, that may use the JSON gateway; * for every"
            " page. A page that is listed can read and write everything here that its visitor's browser can reach."
        ),
    ] = ()

    def __post_init__(self) -> None:
        parse_members(self.cluster_token, self.members)
        if self.listen.endswith(":0"):
            raise ValueError("listen needs a port of its own choice: clients must find it again after a restart")
        if self.election_ms < 5 * self.tick_ms:
            raise ValueError(f"election_ms ({self.election_ms}) must be at least five times tick_ms ({self.tick_ms})")


class KvConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kv process."""

    node: Annotated[str, Meta(description="This member's name; one of those in [kv] members.")] = "kv-1"
    data_dir: Annotated[
        str,
        Meta(description="Directory of this member alone. Its loss is the loss of this replica.", min_length=1),
    ] = "data/kv-1"
    admin: Annotated[AdminSection, Meta(description="The admin port.")] = AdminSection("127.0.0.1:2381")
    log: Annotated[LogSection, Meta(description="Logs.")] = LogSection()
    kv: Annotated[KvSection, Meta(description="The service.")] = KvSection()
    membership: Annotated[MembershipSection, Meta(description="Who else of the cluster is there.")] = (
        MembershipSection()
    )
    registration: Annotated[RegistrationSection, Meta(description="What the registry is told of this process.")] = (
        RegistrationSection()
    )

    def __post_init__(self) -> None:
        membership_options(self.membership, self.node)
        names = [entry.partition("=")[0] for entry in self.kv.members]
        if self.node not in names:
            raise ValueError(f"node {self.node!r} is not among [kv] members: {', '.join(names)}")
