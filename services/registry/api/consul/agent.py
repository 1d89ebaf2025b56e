"""`/v1/agent/`: registrations and reports, as to the Consul agent of one's own host.

Here all processes of the registry show the same agent: what it has belongs to the shared node, so a client that
registers at one process can report at another.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from cluster.http import Request, Response
from cluster.http.address import split_address
from runtime import Clock
from services.registry.api.consul.definitions import cut_output, read_check, read_registration, read_report
from services.registry.api.consul.fields import Json, decode
from services.registry.api.consul.filters import Shape, compile_filter
from services.registry.api.consul.query import Query, check_datacenter, check_tenancy, parse_bool
from services.registry.api.consul.reading import JSON, Reading, encoded
from services.registry.api.consul.refusals import Refused
from services.registry.api.consul.shapes import agent_service_shape, aggregated_status, check_shape
from services.registry.domain import (
    INSTANCE_MAINTENANCE_ID,
    NODE_MAINTENANCE_ID,
    CheckDefinition,
    CheckKind,
    CheckState,
    Health,
)
from services.registry.interface import Beat, Endpoint, NotFound, Registrar, WrongKind

_DONE = Response(200, b"")
_SERVICE_REASON = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
_NODE_REASON = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
_STATUS_CODES = {Health.PASSING.value: 200, Health.WARNING.value: 429}
"""Of `/v1/agent/health/...`; critical and maintenance are 503."""


class AgentRoom:
    """What a client says of itself, and what the agent knows of it."""

    def __init__(self, reading: Reading, registrar: Registrar, clock: Clock) -> None:
        self._reading = reading
        self._catalogue = reading.catalogue
        self._registrar = registrar
        self._clock = clock

    @property
    def _node(self) -> str:
        return self._registrar.shared_node

    # ---- reads

    async def services(self, rest: str, query: Query) -> Response:
        """`/v1/agent/services`: instances by id."""
        self._check(query)
        keeps = compile_filter(query.get("filter"), Shape.AGENT_SERVICE)
        found: dict[str, Json] = {}
        for endpoint in self._endpoints():
            shape = self._shape(endpoint)
            if keeps is None or keeps(shape):
                found[endpoint.instance.id] = shape
        return self._json(found, query)

    async def service(self, instance_id: str, query: Query) -> Response:
        """`/v1/agent/service/:id`."""
        self._check(query)
        if query.get("hash"):
            # Answered at once, a client that means to wait would ask again and again.
            raise Refused(400, "Blocking by ?hash is not served here; use ?index on /v1/health/service")
        endpoint = self._catalogue.instance(self._node, instance_id)
        if endpoint is None:
            raise Refused(404, f"unknown service ID: {instance_id}")
        return self._json(self._shape(endpoint), query)

    async def checks(self, rest: str, query: Query) -> Response:
        """`/v1/agent/checks`: checks by id."""
        self._check(query)
        keeps = compile_filter(query.get("filter"), Shape.CHECK)
        view = self._catalogue.node(self._node)
        shapes = [check_shape(check, ()) for check in view.checks] if view is not None else []
        for endpoint in self._endpoints():
            shapes += (check_shape(check, endpoint.instance.tags) for check in endpoint.checks if check.service)
        return self._json({str(found["CheckID"]): found for found in shapes if keeps is None or keeps(found)}, query)

    async def health_by_id(self, instance_id: str, query: Query) -> Response:
        """`/v1/agent/health/service/id/:id`: the status code tells the health."""
        if not instance_id:
            raise Refused(400, "Missing serviceID")
        self._check(query)
        endpoint = self._catalogue.instance(self._node, instance_id)
        if endpoint is None:
            reason = f"ServiceId {instance_id} not found"
            missing: Json = {"AggregatedStatus": Health.CRITICAL.value, "Checks": None, "Service": None}
            return self._judged(404, reason, missing, query)
        status = aggregated_status(endpoint.checks)
        return self._judged(_STATUS_CODES.get(status, 503), status, self._judged_shape(endpoint), query)

    async def health_by_name(self, name: str, query: Query) -> Response:
        """`/v1/agent/health/service/name/:service`: the worst of all instances that the agent has."""
        if not name:
            raise Refused(400, "Missing service Name")
        self._check(query)
        found = [endpoint for endpoint in self._catalogue.endpoints(name) if endpoint.instance.node == self._node]
        if not found:
            return self._judged(404, f"ServiceName {name} Not Found", [], query)
        statuses = [aggregated_status(endpoint.checks) for endpoint in found]
        worst = max(statuses, key=lambda status: _STATUS_CODES.get(status, 503))
        shapes: Json = [self._judged_shape(endpoint) for endpoint in found]
        return self._judged(_STATUS_CODES.get(worst, 503), worst, shapes, query)

    def _endpoints(self) -> Sequence[Endpoint]:
        view = self._catalogue.node(self._node)
        instances = view.instances if view is not None else ()
        found = (self._catalogue.instance(self._node, instance.id) for instance in instances)
        return [endpoint for endpoint in found if endpoint is not None]

    def _check(self, query: Query) -> None:
        check_tenancy(query)
        check_datacenter(query.get("dc"), self._reading.datacenter)
        self._reading.check_ready()

    def _shape(self, endpoint: Endpoint) -> dict[str, Json]:
        return agent_service_shape(endpoint.instance, endpoint.index, self._reading.datacenter)

    def _judged_shape(self, endpoint: Endpoint) -> Json:
        tags = endpoint.instance.tags
        return {
            "AggregatedStatus": aggregated_status(endpoint.checks),
            "Checks": [check_shape(check, tags if check.service else ()) for check in endpoint.checks],
            "Service": self._shape(endpoint),
        }

    def _json(self, value: Json, query: Query) -> Response:
        return Response(200, encoded(value, pretty="pretty" in query), JSON)

    def _judged(self, status: int, reason: str, value: Json, query: Query) -> Response:
        headers = (("x-consul-reason", _in_header(reason)),)
        if query.get("format") == "text":
            return Response(status, reason.encode(), "text/plain", headers)
        return Response(status, encoded(value, pretty="pretty" in query), JSON, headers)

    # ---- services

    async def register(self, request: Request, query: Query) -> Response:
        """`/v1/agent/service/register`."""
        check_tenancy(query)
        fields = decode(request.body, "ServiceDefinition")
        found = read_registration(fields, self._node, _peer_host(request))
        replace = query.get("replace-existing-checks")
        await self._registrar.register(
            found.instance,
            found.checks,
            keep_other_checks=not ("replace-existing-checks" in query and replace in ("", "true")),
            take_over=True,
        )
        return _DONE

    async def deregister(self, instance_id: str, query: Query) -> Response:
        """`/v1/agent/service/deregister/:id`."""
        check_tenancy(query)
        try:
            await self._registrar.deregister(self._node, instance_id)
        except NotFound:
            hint = "Ensure that the service ID is passed, not the service name."
            raise Refused(404, f'Unknown service ID "{instance_id}". {hint}') from None
        return _DONE

    async def maintain_service(self, instance_id: str, query: Query) -> Response:
        """`/v1/agent/service/maintenance/:id?enable=`."""
        if not instance_id:
            raise Refused(400, "Missing service ID")
        enable = _enable(query)
        check_tenancy(query)
        check_id = INSTANCE_MAINTENANCE_ID.format(id=instance_id)
        missing = Refused(404, f'No service registered with ID "{instance_id}"')
        if enable:
            reason = query.get("reason") or _SERVICE_REASON
            definition = CheckDefinition(
                check_id, "Service Maintenance Mode", CheckKind.MAINTENANCE, instance_id, reason
            )
            try:
                await self._maintain(definition)
            except NotFound:
                raise missing from None
            return _DONE
        try:
            await self._registrar.remove_check(self._node, check_id)
        except NotFound:
            if self._catalogue.instance(self._node, instance_id) is None:
                raise missing from None
        return _DONE

    async def maintain_node(self, rest: str, query: Query) -> Response:
        """`/v1/agent/maintenance?enable=`: of the shared node, thus of all that the agent has."""
        enable = _enable(query)
        if enable:
            reason = query.get("reason") or _NODE_REASON
            await self._maintain(
                CheckDefinition(NODE_MAINTENANCE_ID, "Node Maintenance Mode", CheckKind.MAINTENANCE, "", reason)
            )
            return _DONE
        try:
            await self._registrar.remove_check(self._node, NODE_MAINTENANCE_ID)
        except NotFound:
            return _DONE
        return _DONE

    async def _maintain(self, definition: CheckDefinition) -> None:
        if self._catalogue.check(self._node, definition.id) is not None:
            return  # the first reason stays, as in Consul
        now_ms = int(self._clock.wall_s() * 1000)
        state = CheckState(Health.CRITICAL, changed_at_ms=now_ms, critical_since_ms=now_ms)
        await self._registrar.add_check(self._node, definition, state)

    # ---- checks

    async def register_check(self, request: Request, query: Query) -> Response:
        """`/v1/agent/check/register`."""
        check_tenancy(query)
        definition = read_check(decode(request.body, "CheckDefinition"))
        try:
            await self._registrar.add_check(self._node, definition)
        except NotFound:
            raise Refused(404, f'ServiceID "{definition.instance_id}" does not exist') from None
        return _DONE

    async def deregister_check(self, check_id: str, query: Query) -> Response:
        """`/v1/agent/check/deregister/:id`."""
        check_tenancy(query)
        try:
            await self._registrar.remove_check(self._node, check_id)
        except NotFound:
            raise _unknown_check(check_id) from None
        return _DONE

    async def passes(self, check_id: str, query: Query) -> Response:
        """`/v1/agent/check/pass/:id?note=`."""
        return await self._report(check_id, Health.PASSING, query.get("note"), query)

    async def warns(self, check_id: str, query: Query) -> Response:
        """`/v1/agent/check/warn/:id?note=`."""
        return await self._report(check_id, Health.WARNING, query.get("note"), query)

    async def fails(self, check_id: str, query: Query) -> Response:
        """`/v1/agent/check/fail/:id?note=`."""
        return await self._report(check_id, Health.CRITICAL, query.get("note"), query)

    async def update(self, request: Request, check_id: str, query: Query) -> Response:
        """`/v1/agent/check/update/:id`: health and output in the body."""
        health, output = read_report(decode(request.body, "checkUpdate"))
        return await self._report(check_id, health, output, query)

    async def _report(self, check_id: str, health: Health, output: str, query: Query) -> Response:
        check_tenancy(query)
        (error,) = await self._registrar.beat((Beat(self._node, check_id, health, cut_output(output)),))
        if isinstance(error, NotFound):
            raise _unknown_check(check_id)
        if isinstance(error, WrongKind):
            raise Refused(400, f'CheckID "{check_id}" does not have associated TTL')
        if error is not None:
            raise error
        return _DONE


def _enable(query: Query) -> bool:
    if "enable" not in query:
        raise Refused(400, "Missing value for enable")
    value = parse_bool(query.get("enable"))
    if value is None:
        raise Refused(400, f'Invalid value for enable: "{query.get("enable")}"')
    return value


def _unknown_check(check_id: str) -> Refused:
    hint = "Ensure that the check ID is passed, not the check name."
    return Refused(404, f'Unknown check ID "{check_id}". {hint}')


def _peer_host(request: Request) -> str:
    """The address of the other end; empty when the transport does not say."""
    if not request.peer:
        return ""
    host = split_address(request.peer)[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host
    # A socket that listens for both kinds tells of IPv4 as of IPv6.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _in_header(text: str) -> str:
    """What users sent, as a header can carry it."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
