"""What makes a registration one that can be kept. Each function raises Invalid, which names the field and the limit.

All that a client leaves empty is filled in here, too, so that all heads do it alike.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from services.registry import limits
from services.registry.domain import PROBED, CheckDefinition, CheckKind, Health, Instance, Node
from services.registry.interface import Beat, Invalid

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[A-Za-z0-9:](?:[A-Za-z0-9._:%-]*[A-Za-z0-9.:])?")
"""A name, or a number of either kind."""
_METADATA_KEY = re.compile(r"[A-Za-z0-9_./-]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 5.6.2."""
_URL = re.compile(r"https?://[^/?#\s]+[^\s]*")
_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s\[\]/:]+):(?P<port>[0-9]{1,5})")
_GRPC_TARGET = re.compile(_HOST_PORT.pattern + r"(?:/[^\s]*)?")
_KEPT_CONTROLS = "\n\t\r"
"""In text that is no name: a body, an output."""


def completed(
    instance: Instance, checks: Sequence[CheckDefinition], shared_node: str
) -> tuple[Instance, tuple[CheckDefinition, ...]]:
    """The same with what was left empty filled in; what is complete stays as it is."""
    instance = msgspec.structs.replace(instance, id=instance.id or instance.service, node=instance.node or shared_node)
    full = []
    for number, check in enumerate(checks, 1):
        check_id = check.id or f"service:{instance.id}" + (f":{number}" if number > 1 else "")
        name = check.name or f"Service '{instance.service}' check"
        full.append(msgspec.structs.replace(check, id=check_id, name=name, instance_id=instance.id))
    return instance, tuple(full)


def check_registration(instance: Instance, checks: Sequence[CheckDefinition]) -> None:
    """An instance and its checks, complete."""
    check_instance(instance)
    if len(checks) > limits.CHECKS_MAX:
        raise Invalid(f"checks: {len(checks)} of them; at most {limits.CHECKS_MAX}")
    seen: set[str] = set()
    for number, check in enumerate(checks):
        field = f"checks[{number}]"
        check_definition(check, field)
        if check.kind in (CheckKind.NODE, CheckKind.MAINTENANCE):
            raise Invalid(f"{field}.kind: {check.kind.value} is not for registrations")
        if check.id in seen:
            raise Invalid(f"{field}.id: {check.id!r} is there twice")
        seen.add(check.id)


def check_instance(instance: Instance) -> None:
    """An instance, complete."""
    check_service(instance.service)
    check_id("id", instance.id)
    check_node_name("node", instance.node)
    if instance.address:
        check_address("address", instance.address)
    _check_number("port", instance.port, 0, limits.PORT_MAX)
    _check_tags(instance.tags)
    _check_metadata("metadata", instance.metadata)
    _check_number("weights.passing", instance.weights.passing, 1, limits.WEIGHT_MAX)
    _check_number("weights.warning", instance.weights.warning, 0, limits.WEIGHT_MAX)


def check_node(node: Node) -> None:
    """A node."""
    check_node_name("node", node.name)
    check_address("node_address", node.address)
    _check_metadata("node.metadata", node.metadata)


def check_service(service: str) -> None:
    """A service's name: it becomes a label of DNS names."""
    if not service:
        raise Invalid("service: is missing")
    if len(service) > limits.SERVICE_BYTES_MAX:
        raise Invalid(f"service: longer than {limits.SERVICE_BYTES_MAX} characters, the longest label of DNS")
    if _LABEL.fullmatch(service) is None:
        raise Invalid(
            "service: not a DNS label: letters, digits and hyphens, with a letter or a digit at both ends"
            f" ({_shown(service)})"
        )


def check_node_name(field: str, name: str) -> None:
    """A node's name."""
    if not name:
        raise Invalid(f"{field}: is missing")
    if len(name) > limits.NODE_BYTES_MAX:
        raise Invalid(f"{field}: longer than {limits.NODE_BYTES_MAX} characters")
    if _NODE.fullmatch(name) is None:
        raise Invalid(
            f"{field}: not a host's name: letters, digits, dots, hyphens and underscores, with a letter or a digit at"
            f" both ends ({_shown(name)})"
        )


def check_address(field: str, address: str) -> None:
    """A name or a number under which something is reached."""
    if not address:
        raise Invalid(f"{field}: is missing")
    if len(address) > limits.ADDRESS_BYTES_MAX:
        raise Invalid(f"{field}: longer than {limits.ADDRESS_BYTES_MAX} characters")
    if _ADDRESS.fullmatch(address) is None:
        raise Invalid(f"{field}: neither a name nor an IP address ({_shown(address)})")


def check_id(field: str, text: str) -> None:
    """The id of an instance or a check."""
    _check_text(field, text, limits.ID_BYTES_MAX, needed=True)


def check_definition(check: CheckDefinition, field: str) -> None:
    """A check, complete; `field` is where it stands in the request."""
    check_id(f"{field}.id", check.id)
    _check_text(f"{field}.name", check.name, limits.NAME_BYTES_MAX, needed=True)
    _check_text(f"{field}.notes", check.notes, limits.NOTES_BYTES_MAX)
    if check.instance_id:
        check_id(f"{field}.instance_id", check.instance_id)
    for name, count in (
        ("successes_before_passing", check.successes_before_passing),
        ("failures_before_critical", check.failures_before_critical),
    ):
        _check_number(f"{field}.{name}", count, 1, limits.THRESHOLD_MAX)
    if check.deregister_critical_after_ms:
        _check_number(
            f"{field}.deregister_critical_after_ms",
            check.deregister_critical_after_ms,
            limits.DEREGISTER_AFTER_MS_MIN,
            limits.DEREGISTER_AFTER_MS_MAX,
        )
    if check.kind is CheckKind.TTL:
        _check_number(f"{field}.ttl_ms", check.ttl_ms, limits.TTL_MS_MIN, limits.TTL_MS_MAX)
    elif check.kind in PROBED:
        _check_number(f"{field}.interval_ms", check.interval_ms, limits.INTERVAL_MS_MIN, limits.INTERVAL_MS_MAX)
        _check_number(f"{field}.timeout_ms", check.timeout_ms, 0, limits.TIMEOUT_MS_MAX)
        _check_target(check, field)


def check_beat(beat: Beat) -> None:
    """A report."""
    check_node_name("node", beat.node)
    check_id("check_id", beat.check_id)
    if not isinstance(beat.health, Health):
        raise Invalid("health: unknown")


def cut_output(text: str) -> str:
    """Output as it is kept: cut, and without what a terminal would take for orders."""
    if len(text) > limits.OUTPUT_BYTES_MAX or not text.isascii():
        cut = text.encode("utf-8", "replace")[: limits.OUTPUT_BYTES_MAX]
        text = cut.decode("utf-8", "ignore")
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in _KEPT_CONTROLS else "�" for letter in text)


def _check_tags(tags: Sequence[str]) -> None:
    if len(tags) > limits.TAGS_MAX:
        raise Invalid(f"tags: {len(tags)} of them; at most {limits.TAGS_MAX}")
    for number, tag in enumerate(tags):
        _check_text(f"tags[{number}]", tag, limits.TAG_BYTES_MAX, needed=True)


def _check_metadata(field: str, metadata: Mapping[str, str]) -> None:
    if len(metadata) > limits.METADATA_MAX:
        raise Invalid(f"{field}: {len(metadata)} of them; at most {limits.METADATA_MAX}")
    for key, value in metadata.items():
        if len(key) > limits.METADATA_KEY_BYTES_MAX:
            raise Invalid(f"{field}: a key is longer than {limits.METADATA_KEY_BYTES_MAX} characters ({_shown(key)})")
        if _METADATA_KEY.fullmatch(key) is None:
            raise Invalid(f"{field}: a key has other characters than letters, digits and _ . / - ({_shown(key)})")
        _check_text(f"{field}[{key}]", value, limits.METADATA_VALUE_BYTES_MAX)


def _check_target(check: CheckDefinition, field: str) -> None:
    name = f"{field}.{'url' if check.kind is CheckKind.HTTP else 'target'}"
    _check_text(name, check.target, limits.TARGET_BYTES_MAX, needed=True)
    if check.kind is CheckKind.HTTP:
        if _URL.fullmatch(check.target) is None:
            raise Invalid(f"{name}: not a URL of http or https ({_shown(check.target)})")
        _check_request(check, field)
        return
    pattern = _HOST_PORT if check.kind is CheckKind.TCP else _GRPC_TARGET
    found = pattern.fullmatch(check.target)
    if found is None:
        raise Invalid(f"{name}: not host:port ({_shown(check.target)})")
    _check_number(f"{name}: the port", int(found["port"]), 1, limits.PORT_MAX)


def _check_request(check: CheckDefinition, field: str) -> None:
    if len(check.method) > limits.METHOD_BYTES_MAX or _TOKEN.fullmatch(check.method) is None:
        raise Invalid(f"{field}.method: not a method of HTTP ({_shown(check.method)})")
    if len(check.headers) > limits.HEADERS_MAX:
        raise Invalid(f"{field}.headers: {len(check.headers)} of them; at most {limits.HEADERS_MAX}")
    for name, value in check.headers:
        if len(name) > limits.HEADER_NAME_BYTES_MAX or _TOKEN.fullmatch(name) is None:
            raise Invalid(f"{field}.headers: not the name of a header ({_shown(name)})")
        _check_text(f"{field}.headers[{name}]", value, limits.HEADER_VALUE_BYTES_MAX)
    if len(check.body.encode("utf-8", "replace")) > limits.BODY_BYTES_MAX:
        raise Invalid(f"{field}.body: longer than {limits.BODY_BYTES_MAX} bytes")
    if not all(letter.isprintable() or letter in _KEPT_CONTROLS for letter in check.body):
        raise Invalid(f"{field}.body: contains control characters")


def _check_text(field: str, text: str, bytes_max: int, *, needed: bool = False) -> None:
    if needed and not text.strip():
        raise Invalid(f"{field}: is missing")
    if not text.isprintable():
        raise Invalid(f"{field}: contains characters that cannot be printed ({_shown(text)})")
    if len(text.encode()) > bytes_max:
        raise Invalid(f"{field}: longer than {bytes_max} bytes")


def _check_number(field: str, number: int, least: int, most: int) -> None:
    if not least <= number <= most:
        raise Invalid(f"{field}: is {number}; it must be from {least} to {most}")


def _shown(text: str) -> str:
    return ascii(text[:60]) + ("..." if len(text) > 60 else "")
