"""What a registry process can be told; see `runtime.config` for where the values come from.

`orrery` writes these keys: node, data_dir, [admin] listen, [log] level, [registry] listen, advertise, kv,
[dns] listen, [membership] listen, seeds, cluster, keys_file.
"""

from ipaddress import ip_network
from typing import Annotated

import msgspec
from msgspec import Meta

from cluster.membership.config import MembershipSection, membership_options
from cluster.presence.config import RegistrationSection
from cluster.rpc.grpc.address import split_host_port
from cluster.telemetry.config import AdminSection, LogSection
from services.registry.checks.judging import Damping
from services.registry.checks.options import CheckOptions
from services.registry.checks.preservation import Allowance
from services.registry.checks.probes.guarded_net import NETWORKS_DENIED
from services.registry.dns.config import DnsSection
from services.registry.interface import Invalid
from services.registry.validation import check_address, check_node_name


class RegistrySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[registry]."""

    listen: Annotated[
        str, Meta(description="host:port that clients reach: gRPC and Consul's HTTP API on one port.")
    ] = "127.0.0.1:8500"
    advertise: Annotated[
        str, Meta(description="host:port under which clients elsewhere reach `listen`. Empty: as `listen`.")
    ] = ""
    kv: Annotated[
        tuple[str, ...],
        Meta(
            description="host:port of the client ports of all kv members. With one only, its loss is the loss of all"
            " registrations; what is known is told on.",
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
    ] = 7000
    shared_node: Annotated[
        str,
        Meta(
            description="The node of instances that name none. It never dies. It must be the same at all processes:"
            " otherwise a client that registers at one cannot beat at another."
        ),
    ] = "orrery"
    shared_address: Annotated[
        str,
        Meta(
            description="The address of instances that name neither a node nor an address. Empty: the host of"
            " `advertise`. The first process that needs it decides for all."
        ),
    ] = ""
    process_ttl_s: Annotated[
        int,
        Meta(
            description="Seconds without a word in kv after which the other processes take over this one's checks."
            " Shorter than an election of kv, every change of its leader moves all checks.",
            ge=2,
            le=300,
        ),
    ] = 10
    watchers_max: Annotated[
        int, Meta(description="Streams of changes that this process takes.", ge=1, le=1_000_000)
    ] = 10_000
    waiting_max: Annotated[
        int, Meta(description="Blocking queries over gRPC that may wait at this process.", ge=1, le=1_000_000)
    ] = 20_000
    http_waiting_max: Annotated[
        int, Meta(description="Blocking queries over HTTP that may wait at this process.", ge=1, le=1_000_000)
    ] = 4096
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Origins of web pages that may talk to this process over HTTP, such as https://console.example;"
            " `*` lets every page in the browser of whoever can reach it read and write."
        ),
    ] = ()
    drain_ms: Annotated[
        int,
        Meta(description="Milliseconds that calls under way have to finish when this process stops.", ge=0, le=9000),
    ] = 2000

    def __post_init__(self) -> None:
        for address in (self.listen, *self.kv):
            split_host_port(address)
        try:
            check_node_name("shared_node", self.shared_node)
            if self.shared_address:
                check_address("shared_address", self.shared_address)
        except Invalid as error:
            raise ValueError(str(error)) from error


class ChecksSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[checks]."""

    flap_half_life_ms: Annotated[
        int,
        Meta(
            description="Milliseconds in which the memory of flips halves. Longer, a check that flaps stays critical"
            " for longer.",
            ge=1000,
            le=3_600_000,
        ),
    ] = 60_000
    flap_suppress: Annotated[
        float,
        Meta(
            description="Turns to critical, each fading with the half-life, after which a check is held critical"
            " although it would pass. Too low, an ordinary restart takes an instance out for minutes.",
            gt=1.0,
            le=1000.0,
        ),
    ] = 4.0
    preserve_share: Annotated[
        float,
        Meta(
            description="Part of a process's checks that may turn critical within a window and are believed. Beyond it,"
            " the process takes itself for the one that is cut off. 1: all are believed.",
            gt=0.0,
            le=1.0,
        ),
    ] = Allowance().share_max
    preserve_count_min: Annotated[
        int, Meta(description="So many are always believed, however few checks there are.", ge=1, le=100_000)
    ] = Allowance().count_min
    probes_max: Annotated[
        int,
        Meta(
            description="Probes under way at a time; each is a connection. Too few, probes are late.", ge=1, le=10_000
        ),
    ] = 256
    node_deregister_after_s: Annotated[
        int,
        Meta(
            description="Seconds for which a dead node is remembered before it goes, with all that is on it. 0: for"
            " ever.",
            ge=0,
            le=366 * 24 * 3600,
        ),
    ] = 72 * 3600
    probe_ca_file: Annotated[
        str, Meta(description="Certificates that probes by TLS trust. Empty: those of the system.")
    ] = ""

    networks_denied: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks that probes must not reach. The default are those where clouds hand out credentials"
            " to whoever asks from this machine.",
            max_length=256,
        ),
    ] = tuple(map(str, NETWORKS_DENIED))

    def options(self) -> CheckOptions:
        """The same as the checks take it. Raises ValueError."""
        return CheckOptions(
            networks_denied=tuple(map(ip_network, self.networks_denied)),
            damping=Damping(half_life_ms=self.flap_half_life_ms, suppress=self.flap_suppress),
            allowance=Allowance(share_max=self.preserve_share, count_min=self.preserve_count_min),
            probes_max=self.probes_max,
            node_deregister_after_s=float(self.node_deregister_after_s),
            probe_ca_file=self.probe_ca_file,
        )


class RegistryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A registry process."""

    node: Annotated[str, Meta(description="This process's name.", min_length=1)] = "registry-1"
    data_dir: Annotated[str, Meta(description="Not used: a registry process keeps nothing. All it knows is in kv.")] = (
        ""
    )
    admin: Annotated[AdminSection, Meta(description="The admin port.")] = AdminSection("127.0.0.1:8501")
    log: Annotated[LogSection, Meta(description="Logs.")] = LogSection()
    registry: Annotated[RegistrySection, Meta(description="The service.")] = RegistrySection()
    dns: Annotated[DnsSection, Meta(description="DNS.")] = DnsSection()
    checks: Annotated[ChecksSection, Meta(description="How checks are judged.")] = ChecksSection()
    membership: Annotated[MembershipSection, Meta(description="Who else of the cluster is there.")] = (
        MembershipSection()
    )
    registration: Annotated[RegistrationSection, Meta(description="What the registry is told of this process.")] = (
        RegistrationSection()
    )

    def __post_init__(self) -> None:
        membership_options(self.membership, self.node)
        self.checks.options()
