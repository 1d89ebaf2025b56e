"""From the registry's own shapes to those of `orrery.registry.v1`, and back.

What is no shape of ours raises Invalid. What is left empty stays empty here, and what is too large stays too large:
`services.registry.validation` sees to both.
"""

from collections.abc import Iterable

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from services.registry import domain
from services.registry.domain import CheckKind, Health
from services.registry.interface import Beat, Check, Endpoint, Invalid, NodeView, Staleness

_HEALTH_NUMBERS = {Health.PASSING: pb.PASSING, Health.WARNING: pb.WARNING, Health.CRITICAL: pb.CRITICAL}
_HEALTHS = {number: health for health, number in _HEALTH_NUMBERS.items()}


def read_health(number: "pb.Health.ValueType", otherwise: Health) -> Health:
    """A health; `otherwise` when it is unspecified."""
    if number == pb.HEALTH_UNSPECIFIED:
        return otherwise
    health = _HEALTHS.get(number)
    if health is None:
        raise Invalid(f"health: there is none with the number {number}")
    return health


def read_instance(message: pb.Instance) -> domain.Instance:
    """An instance, without its checks."""
    weights = domain.Weights()
    if message.HasField("weights"):
        weights = domain.Weights(message.weights.passing, message.weights.warning)
    return domain.Instance(
        node=message.node,
        id=message.id,
        service=message.service,
        address=message.address,
        port=message.port,
        tags=tuple(message.tags),
        metadata=dict(message.metadata),
        weights=weights,
    )


def read_checks(messages: Iterable[pb.CheckDefinition]) -> tuple[domain.CheckDefinition, ...]:
    """The checks of a registration."""
    return tuple(_read_check(message, f"checks[{number}]") for number, message in enumerate(messages))


def _read_check(message: pb.CheckDefinition, field: str) -> domain.CheckDefinition:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise Invalid(f"{field}.kind: is missing: ttl, http, tcp or grpc")
    http, tcp, grpc = message.http, message.tcp, message.grpc
    return domain.CheckDefinition(
        id=message.id,
        name=message.name,
        kind=CheckKind(kind),
        notes=message.notes,
        ttl_ms=message.ttl.ttl_ms,
        interval_ms=http.interval_ms or tcp.interval_ms or grpc.interval_ms,
        timeout_ms=http.timeout_ms or tcp.timeout_ms or grpc.timeout_ms,
        target=http.url or tcp.address or grpc.target,
        method=http.method or "GET",
        headers=tuple((header.name, header.value) for header in http.headers),
        body=http.body,
        use_tls=grpc.use_tls,
        skip_tls_verification=http.skip_tls_verification or grpc.skip_tls_verification,
        successes_before_passing=message.successes_before_passing or 1,
        failures_before_critical=message.failures_before_critical or 1,
        deregister_critical_after_ms=message.deregister_critical_after_ms,
        initial=read_health(message.initial, Health.CRITICAL),
    )


def read_beat(message: pb.Beat) -> Beat:
    """A report."""
    return Beat(message.node, message.check_id, read_health(message.health, Health.PASSING), message.output)


def instance_message(instance: domain.Instance, checks: Iterable[domain.CheckDefinition] = ()) -> pb.Instance:
    """An instance."""
    message = pb.Instance(
        service=instance.service,
        id=instance.id,
        node=instance.node,
        address=instance.address,
        port=instance.port,
        tags=instance.tags,
        metadata=instance.metadata,
        weights=pb.Weights(passing=instance.weights.passing, warning=instance.weights.warning),
    )
    message.checks.extend(map(_definition_message, checks))
    return message


def _definition_message(check: domain.CheckDefinition) -> pb.CheckDefinition:
    message = pb.CheckDefinition(
        id=check.id,
        name=check.name,
        notes=check.notes,
        successes_before_passing=check.successes_before_passing,
        failures_before_critical=check.failures_before_critical,
        deregister_critical_after_ms=check.deregister_critical_after_ms,
        initial=_HEALTH_NUMBERS[check.initial],
    )
    times = {"interval_ms": check.interval_ms, "timeout_ms": check.timeout_ms}
    if check.kind is CheckKind.TTL:
        message.ttl.ttl_ms = check.ttl_ms
    elif check.kind is CheckKind.HTTP:
        headers = [pb.Header(name=name, value=value) for name, value in check.headers]
        message.http.CopyFrom(
            pb.HttpCheck(
                url=check.target,
                method=check.method,
                headers=headers,
                body=check.body,
                skip_tls_verification=check.skip_tls_verification,
                **times,
            )
        )
    elif check.kind is CheckKind.TCP:
        message.tcp.CopyFrom(pb.TcpCheck(address=check.target, **times))
    elif check.kind is CheckKind.GRPC:
        message.grpc.CopyFrom(
            pb.GrpcCheck(
                target=check.target,
                use_tls=check.use_tls,
                skip_tls_verification=check.skip_tls_verification,
                **times,
            )
        )
    return message


def check_message(check: Check) -> pb.Check:
    """A check and what it says."""
    definition, state = check.definition, check.state
    return pb.Check(
        id=definition.id,
        node=check.node,
        name=definition.name,
        notes=definition.notes,
        instance_id=definition.instance_id,
        service=check.service,
        health=_HEALTH_NUMBERS[state.health],
        output=state.output,
        changed_at_ms=state.changed_at_ms,
        kind=definition.kind.value,
    )


def endpoint_message(endpoint: Endpoint) -> pb.Endpoint:
    """An instance with its health."""
    return pb.Endpoint(
        instance=instance_message(endpoint.instance),
        address=endpoint.address,
        health=_HEALTH_NUMBERS[endpoint.health],
        checks=map(check_message, endpoint.checks),
        index=endpoint.index,
    )


def node_message(view: NodeView) -> pb.Node:
    """A node with its own checks."""
    return pb.Node(
        name=view.node.name,
        address=view.node.address,
        metadata=view.node.metadata,
        checks=map(check_message, view.checks),
    )


def freshness_message(index: int, staleness: Staleness) -> pb.Freshness:
    """What every answer tells of itself."""
    return pb.Freshness(index=index, stale=staleness.is_stale, stale_ms=staleness.behind_ms)
