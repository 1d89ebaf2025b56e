"""What a registry process can be told; see `runtime.config` for where the values come from.

`orrery` writes these keys: node, data_dir, [admin] listen, [log] level, [registry] listen, advertise, kv.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cluster.rpc.grpc.address import split_host_port
from services.registry.interface import Invalid
from services.registry.validation import check_address, check_node_name


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[admin]."""

    listen: Annotated[
        str,
        Meta(
            description="host:port of the admin port: /metrics, /healthz, /readyz, /info. It knows no passwords: keep"
            " it off public networks."
        ),
    ] = "127.0.0.1:8501"


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[log]."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least severity that is logged.")
    ] = "info"


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
        int, Meta(description="Blocking queries that may wait at this process.", ge=1, le=1_000_000)
    ] = 20_000
    datacenter: Annotated[
        str,
        Meta(
            description="The datacenter, as Consul's clients are told. A request for another one is refused.",
            pattern="^[a-z0-9_-]{1,63}$",
        ),
    ] = "dc1"
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description='Origins of web pages that may use the HTTP API, such as "http://ui.example"; "*" for all. With'
            " one that is not yours, that page can register and deregister from the browser of whoever opens it."
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


class RegistryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A registry process."""

    node: Annotated[str, Meta(description="This process's name.", min_length=1)] = "registry-1"
    data_dir: Annotated[str, Meta(description="Not used: a registry process keeps nothing. All it knows is in kv.")] = (
        ""
    )
    admin: Annotated[AdminConfig, Meta(description="The admin port.")] = AdminConfig()
    log: Annotated[LogConfig, Meta(description="Logs.")] = LogConfig()
    registry: Annotated[RegistrySection, Meta(description="The service.")] = RegistrySection()
