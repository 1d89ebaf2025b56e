"""Registrations as Consul's clients send them, as what the registry keeps.

Both spellings of Consul are read (`DeregisterCriticalServiceAfter` and `deregister_critical_service_after`), both
places for checks (`Check` and `Checks`), and durations as text or as nanoseconds. What would change how an instance is
reached or judged, and cannot be had here, is refused; what would not is left out. docs/consul.md lists it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import msgspec

from services.registry.api.consul.durations import milliseconds
from services.registry.api.consul.fields import Fields
from services.registry.api.consul.refusals import Refused
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Weights

INTERVAL_MS_MIN = 1_000
DEREGISTER_AFTER_MS_MIN = 60_000
"""Shorter ones are raised to these, as by Consul."""
WEIGHT_MAX = 65_535
OUTPUT_CHARACTERS_MAX = 4_096
"""Of what a client reports; the rest is cut, as by Consul."""

_PROBES: Mapping[str, CheckKind] = {"HTTP": CheckKind.HTTP, "TCP": CheckKind.TCP, "GRPC": CheckKind.GRPC}
_UNSERVED = ("ScriptArgs", "args", "script_args", "Script", "DockerContainerID", "docker_container_id", "AliasNode",
             "AliasService", "UDP", "H2PING", "OSService", "TCPUseTLS", "tcp_use_tls", "TLSServerName",
             "tls_server_name")  # fmt: skip
_STATUSES = frozenset(health.value for health in Health)


@dataclass(frozen=True, slots=True)
class Registration:
    """An instance and its checks, with ids."""

    instance: Instance
    checks: tuple[CheckDefinition, ...]


def read_registration(fields: Fields, node: str, peer_host: str) -> Registration:
    """The body of `/v1/agent/service/register`. Raises Refused (400).

    An instance without an address gets that of who registers it: a Consul agent runs beside its services and gives its
    own, here the agent is a service of the cluster.
    """
    name = fields.text("Name")
    if not name:
        raise Refused(400, "Missing service name")
    weights = _read_weights(fields.child("Weights"))
    instance = _read_instance(fields, node, name, fields.text("Address") or peer_host, weights)
    read = [_read_check(check, "CheckID") for check in _checks(fields)]
    checks = tuple(_named(check, instance, number, len(read)) for number, check in enumerate(read, 1))
    return Registration(instance, checks)


def read_catalogue_service(fields: Fields, node: str) -> Instance:
    """`Service` in the body of `/v1/catalog/register`. Raises Refused (400)."""
    name = fields.text("Service")
    if not name:
        message = "Must provide service name (Service.Service) when service ID is provided"
        raise Refused(400, message if fields.text("ID") else "Must provide service name")
    weights = fields.child("Weights")
    # Consul's Go client sends zeros where its user said nothing.
    is_unsaid = weights is None or weights.is_zero
    return _read_instance(
        fields, node, name, fields.text("Address"), Weights() if is_unsaid else _read_weights(weights)
    )


def _read_instance(fields: Fields, node: str, name: str, address: str, weights: Weights) -> Instance:
    if _is_any_address(address):
        raise Refused(400, "Invalid service address")
    if fields.text("Kind") or fields.text("SocketPath", "socket_path"):
        raise Refused(400, "Validation failed: Kind and SocketPath are not served here")
    connect, proxy = fields.child("Connect"), fields.child("Proxy")
    # A client that reads an instance and writes it back sends the empty shapes of both.
    is_proxy = proxy is not None and proxy.has("DestinationServiceName")
    if is_proxy or (connect is not None and not connect.is_zero):
        raise Refused(400, "Validation failed: Connect and Proxy are not served here")
    return Instance(
        node=node,
        id=fields.text("ID") or name,
        service=name,
        address=address,
        port=fields.integer("Port"),
        tags=fields.texts("Tags"),
        metadata=fields.text_map("Meta"),
        weights=weights,
    )


def _is_any_address(address: str) -> bool:
    try:
        return ip_address(address).is_unspecified
    except ValueError:
        return False


def _read_weights(fields: Fields | None) -> Weights:
    if fields is None:
        return Weights()
    passing, warning = fields.integer("Passing"), fields.integer("Warning")
    if passing < 1:
        raise Refused(400, "Invalid Weights: Passing must be greater than 0")
    if warning < 0:
        raise Refused(400, "Invalid Weights: Warning must be greater or equal than 0")
    if max(passing, warning) > WEIGHT_MAX:
        raise Refused(400, "Invalid Weights: DNS Weight must be between 0 and 65535")
    return Weights(passing, warning)


def _checks(fields: Fields) -> list[Fields]:
    single = fields.child("Check")
    checks = [single] if single is not None and not single.is_zero else []
    return checks + fields.children("Checks")


def _named(check: CheckDefinition, instance: Instance, number: int, count: int) -> CheckDefinition:
    """With Consul's id and name where the client gave none: clients report under them."""
    return msgspec.structs.replace(
        check,
        id=check.id or f"service:{instance.id}" + (f":{number}" if count > 1 else ""),
        name=check.name or f"Service '{instance.service}' check",
        instance_id=instance.id,
    )


def read_check(fields: Fields) -> CheckDefinition:
    """The body of `/v1/agent/check/register`. Raises Refused (400)."""
    if not fields.text("Name"):
        raise Refused(400, "Missing check name")
    check = _read_check(fields, "ID")
    return msgspec.structs.replace(
        check,
        id=check.id or check.name,
        instance_id=fields.text("ServiceID", "service_id"),
    )


def _read_check(fields: Fields, id_field: str) -> CheckDefinition:
    """A check as agents take it. In a service's registration its id is `CheckID`, in one of its own it is `ID`."""
    status = fields.text("Status")
    if status and status not in _STATUSES:
        raise Refused(400, "Status for checks must 'passing', 'warning', 'critical'")
    for name in _UNSERVED:
        if fields.has(name):
            raise Refused(400, f"Invalid check: {name} is not served here; there are TTL, HTTP, TCP and GRPC")
    ttl_ns, interval_ns = fields.duration_ns("TTL"), fields.duration_ns("Interval")
    probes = [name for name in _PROBES if fields.text(name)]
    if interval_ns > 0 and ttl_ns > 0:
        raise Refused(400, "Invalid check: Interval and TTL cannot both be specified")
    if len(probes) > 1:
        raise Refused(400, f"Invalid check: {' and '.join(probes)} cannot both be specified")
    if probes and interval_ns <= 0:
        raise Refused(400, "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
    if not probes and ttl_ns <= 0:
        raise Refused(400, "Invalid check: TTL must be > 0 for TTL checks")
    critical = fields.integer("FailuresBeforeCritical")
    if fields.integer("FailuresBeforeWarning") > critical:
        raise Refused(400, "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
    headers = fields.texts_map("Header")
    # Read whatever the kind: a value that is no duration is refused, not overlooked.
    timeout_ms = max(0, milliseconds(fields.duration_ns("Timeout")))
    after_ns = fields.duration_ns("DeregisterCriticalServiceAfter", "deregister_critical_service_after")
    method, body = fields.text("Method"), fields.text("Body")
    use_tls = fields.flag("GRPCUseTLS", "grpc_use_tls")
    skip_tls_verification = fields.flag("TLSSkipVerify", "tls_skip_verify")
    definition = CheckDefinition(
        id=fields.text(id_field),
        name=fields.text("Name"),
        kind=_PROBES[probes[0]] if probes else CheckKind.TTL,
        notes=fields.text("Notes"),
        successes_before_passing=max(1, fields.integer("SuccessBeforePassing")),
        failures_before_critical=max(1, critical),
        deregister_critical_after_ms=max(DEREGISTER_AFTER_MS_MIN, milliseconds(after_ns)) if after_ns > 0 else 0,
        initial=Health(status) if status else Health.CRITICAL,
    )
    if not probes:
        return msgspec.structs.replace(definition, ttl_ms=milliseconds(ttl_ns))
    definition = msgspec.structs.replace(
        definition,
        target=fields.text(probes[0]),
        interval_ms=max(INTERVAL_MS_MIN, milliseconds(interval_ns)),
        timeout_ms=timeout_ms,
        skip_tls_verification=skip_tls_verification,
    )
    match definition.kind:
        case CheckKind.HTTP:
            pairs = tuple((name, value) for name, values in headers.items() for value in values)
            return msgspec.structs.replace(definition, method=method or "GET", headers=pairs, body=body)
        case CheckKind.GRPC:
            return msgspec.structs.replace(definition, use_tls=use_tls)
        case _:
            return definition


@dataclass(frozen=True, slots=True)
class CatalogueCheck:
    """A check that somebody puts into the catalogue with what it says."""

    definition: CheckDefinition
    state: CheckState | None
    """None: found out by the registry from now on."""


def read_catalogue_check(fields: Fields, now_ms: int) -> CatalogueCheck:
    """One of `Check` and `Checks` in the body of `/v1/catalog/register`. Raises Refused (400).

    With a `Definition` of HTTP or TCP and an interval the registry probes it: what needs consul-esm beside Consul.
    Without one it says what it is told to, until it is told otherwise.
    """
    name, status = fields.text("Name"), fields.text("Status")
    check_id = fields.text("CheckID") or name
    if not check_id:
        raise Refused(400, "Must provide CheckID or Name of the check")
    if status and status not in _STATUSES:
        raise Refused(400, "Status for checks must 'passing', 'warning', 'critical'")
    instance_id, notes, output = fields.text("ServiceID"), fields.text("Notes"), fields.text("Output")
    nested = fields.child("Definition")
    if nested is not None and any(nested.text(probe) for probe in _PROBES):
        check = _read_check(nested, "")
        return CatalogueCheck(
            msgspec.structs.replace(
                check,
                id=check_id,
                name=name or check_id,
                notes=notes,
                instance_id=instance_id,
                initial=Health(status) if status else Health.CRITICAL,
            ),
            None,
        )
    health = Health(status) if status else Health.CRITICAL
    return CatalogueCheck(
        CheckDefinition(check_id, name or check_id, CheckKind.MAINTENANCE, instance_id, notes),
        CheckState(
            health,
            cut_output(output),
            changed_at_ms=now_ms,
            critical_since_ms=now_ms if health is Health.CRITICAL else 0,
        ),
    )


def read_report(fields: Fields) -> tuple[Health, str]:
    """The body of `/v1/agent/check/update`: the health and the output. Raises Refused (400)."""
    status = fields.text("Status")
    if status not in _STATUSES:
        raise Refused(400, f"Invalid check status: '{status}'")
    return Health(status), cut_output(fields.text("Output"))


def cut_output(output: str) -> str:
    """The beginning of an output that is too long, and how long it was."""
    if len(output) <= OUTPUT_CHARACTERS_MAX:
        return output
    return f"{output[:OUTPUT_CHARACTERS_MAX]} ... (captured {OUTPUT_CHARACTERS_MAX} of {len(output)} bytes)"
