"""Targets for Prometheus (HTTP service discovery): `GET /v1/sd/prometheus`.

    scrape_configs:
      - job_name: orrery
        http_sd_configs: [{url: "http://127.0.0.1:8500/v1/sd/prometheus?port=admin"}]
        relabel_configs:
          - {source_labels: [__meta_orrery_service], target_label: service}
          - {source_labels: [__meta_orrery_node], target_label: node}

An instance often serves its metrics on another port than its service. `port=NAME` takes the target from the metadata
of that name, a `host:port`, and leaves out the instances without it; every process of Orrery has `admin` there.

| parameter | takes |
|---|---|
| `port` | the target from the metadata of this name; without it, the instance's own address and port |
| `service` | only these services (repeat it for several) |
| `tag` | only instances with all of these tags (repeat it) |
| `passing` | only instances that pass: mind that one that is unwell is then not scraped at all |

Each instance is a group of its own, since a group has one set of labels:
`__meta_orrery_service`, `_service_id`, `_node`, `_address`, `_port`, `_tags` (between commas, as with Consul),
`_health`, `_metadata_<key>` and `_node_metadata_<key>`.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import parse_qs

import msgspec

from cluster.http import HttpError, Request, Response, join_address, split_address
from services.registry.domain import Health
from services.registry.interface import Catalogue, Change, ChangeKind, Endpoint, Topic, TopicKind

PATH = "/v1/sd/prometheus"
PARAMETERS_MAX = 64
KEPT_MAX = 16
"""Answers to different questions that are kept until something changes."""

_PREFIX = "__meta_orrery_"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")
_KNOWN = frozenset({"port", "service", "tag", "passing"})


class _Group(msgspec.Struct):
    targets: list[str]
    labels: dict[str, str]


class PrometheusDiscovery:
    """A handler for `cluster.http`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._encoder = msgspec.json.Encoder()
        self._kept: dict[str, bytes] = {}
        self._kept_index = 0
        catalogue.subscribe(self._changed)

    def _changed(self, changes: Sequence[Change]) -> None:
        if any(change.kind is ChangeKind.RESET for change in changes):
            self._kept.clear()  # kv may have been set up anew, and its revisions with it

    async def __call__(self, request: Request) -> Response:
        """Answers with the targets. Raises HttpError: Prometheus then keeps the targets that it had."""
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"method not allowed\n", headers=(("allow", "GET, HEAD"),))
        if not self._catalogue.is_ready:
            raise HttpError(503, "the registry has not heard of kv yet")
        index = self._catalogue.index(Topic(TopicKind.ALL))
        if index != self._kept_index or len(self._kept) >= KEPT_MAX:
            self._kept.clear()
            self._kept_index = index
        body = self._kept.get(request.query)
        if body is None:
            body = self._kept[request.query] = self._encoder.encode(self._groups(_parameters(request.query)))
        return Response(200, body, "application/json")

    def _groups(self, parameters: Mapping[str, Sequence[str]]) -> list[_Group]:
        port_name = parameters.get("port", ("",))[0]
        services = parameters.get("service") or sorted(self._catalogue.services())
        tags = parameters.get("tag", ())
        passing_only = parameters.get("passing", ("false",))[0] not in ("false", "0")
        groups: list[_Group] = []
        for service in dict.fromkeys(services):
            for endpoint in self._catalogue.endpoints(service):
                if passing_only and endpoint.health is not Health.PASSING:
                    continue
                target = _target(endpoint, port_name)
                if target and all(tag in endpoint.instance.tags for tag in tags):
                    groups.append(_Group([target], _labels(endpoint)))
        return groups


def _parameters(query: str) -> Mapping[str, Sequence[str]]:
    try:
        parameters = parse_qs(query, keep_blank_values=True, max_num_fields=PARAMETERS_MAX) if query else {}
    except ValueError:
        raise HttpError(400, f"more than {PARAMETERS_MAX} query parameters") from None
    unknown = sorted(parameters.keys() - _KNOWN)
    if unknown:
        raise HttpError(400, f"unknown parameter {unknown[0]!r}; there are: {', '.join(sorted(_KNOWN))}")
    return parameters


def _target(endpoint: Endpoint, port_name: str) -> str:
    """Where an instance is scraped; empty when it has no such place."""
    if not port_name:
        return join_address(endpoint.address, endpoint.instance.port) if endpoint.address else ""
    try:
        host, port = split_address(endpoint.instance.metadata.get(port_name, ""))
    except ValueError:
        return ""
    # A process that listens everywhere is reached where its service is.
    return join_address(endpoint.address if _is_any_address(host) else host, port)


def _is_any_address(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _labels(endpoint: Endpoint) -> dict[str, str]:
    instance, node = endpoint.instance, endpoint.node
    labels = {
        _PREFIX + "service": instance.service,
        _PREFIX + "service_id": instance.id,
        _PREFIX + "node": node.name,
        _PREFIX + "address": endpoint.address,
        _PREFIX + "port": str(instance.port),
        _PREFIX + "tags": f",{','.join(instance.tags)}," if instance.tags else "",
        _PREFIX + "health": endpoint.health.value,
    }
    for key, value in node.metadata.items():
        labels[f"{_PREFIX}node_metadata_{_NOT_IN_NAMES.sub('_', key)}"] = value
    for key, value in instance.metadata.items():
        labels[f"{_PREFIX}metadata_{_NOT_IN_NAMES.sub('_', key)}"] = value
    return labels
