"""Which path is whose, and how errors are told.

Paths, methods and messages are those of Consul 1.18. What the registry does not have is answered with 501 and what to
use in its stead, never with 404: `GET /v1/kv/x` with 404 means to a client that there is no such key.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cluster.http import Request, Response
from runtime import Clock, Randomness
from services.registry.api.consul.agent import AgentRoom
from services.registry.api.consul.blocking import WAITERS_MAX, BlockingQueries
from services.registry.api.consul.catalog import CatalogRoom
from services.registry.api.consul.health import HealthRoom
from services.registry.api.consul.identity import AgentIdentity, IdentityRoom
from services.registry.api.consul.query import Query
from services.registry.api.consul.reading import Reading
from services.registry.api.consul.refusals import Refused, refusal
from services.registry.api.consul.status import StatusRoom
from services.registry.interface import Catalogue, Change, ChangeKind, Registrar, RegistryError

_POLICY = (("x-consul-default-acl-policy", "allow"),)
"""Tokens are taken and not looked at."""
_NO_ACL = ("/v1/acl/", "/v1/agent/token/")
_NOT_SERVED = {
    "/v1/kv/": "the kv service has keys and values, over etcd's API",
    "/v1/txn": "the kv service has transactions, over etcd's API",
    "/v1/session/": "the lock service has sessions and locks",
    "/v1/event/": "there are no events",
    "/v1/query": "there are no prepared queries",
    "/v1/coordinate/": "there are no network coordinates",
    "/v1/connect/": "there is no service mesh",
    "/v1/health/connect/": "there is no service mesh",
    "/v1/health/ingress/": "there is no service mesh",
    "/v1/catalog/connect/": "there is no service mesh",
    "/v1/catalog/gateway-services/": "there is no service mesh",
    "/v1/config": "there are no config entries",
    "/v1/discovery-chain/": "there is no service mesh",
    "/v1/exported-services": "there is one cluster",
    "/v1/imported-services": "there is one cluster",
    "/v1/peering": "there is one cluster",
    "/v1/internal/": "it is internal to Consul",
    "/v1/operator/": "`orrery status` tells about the cluster",
    "/v1/snapshot": "the kv service keeps the state",
    "/v1/agent/connect/": "there is no service mesh",
    "/v1/agent/join/": "the configuration names the members",
    "/v1/agent/leave": "`orrery stop` ends a process",
    "/v1/agent/force-leave/": "/v1/catalog/deregister forgets a node",
    "/v1/agent/reload": "a process reads its configuration when it starts",
    "/v1/agent/monitor": "`orrery logs` shows them",
    "/v1/agent/metrics": "the admin port of each process has /metrics",
    "/v1/agent/host": "the admin port of each process has /info",
    "/v1/agent/version": "the admin port of each process has /info",
}
"""Paths of Consul that are not served, and why or what is instead."""

_log = logging.getLogger(__name__)

_Read: TypeAlias = Callable[[str, Query], Awaitable[Response]]
"""Given what follows the path, and the query."""
_Write: TypeAlias = Callable[[Request, Query], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class ConsulSettings:
    """What the head can be told."""

    address: str
    """Where this process is reached, `host:port`."""
    datacenter: str = "dc1"
    """The one datacenter; a request for another is refused."""
    version: str = "1.18.2"
    """Of Consul, as told to clients that ask."""
    service: str = "registry"
    """The registry's own name in the catalogue: its instances are the peers."""
    waiters_max: int = WAITERS_MAX
    """Blocking queries at the same time; further ones are answered 429."""


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    read: _Read | None = None
    write: _Write | None = None


class ConsulHead:
    """A handler for `cluster.http`, for paths that begin with `/v1/`."""

    def __init__(
        self,
        catalogue: Catalogue,
        registrar: Registrar,
        clock: Clock,
        random: Randomness,
        settings: ConsulSettings,
        flips_held_back: Callable[[], int] = lambda: 0,
    ) -> None:
        """`flips_held_back` counts the turns to critical that self-preservation holds back; answers carry it."""
        self._blocking = BlockingQueries(catalogue, random, settings.waiters_max)
        self._reading = reading = Reading(catalogue, self._blocking, settings.datacenter, flips_held_back)
        self._unsubscribe = catalogue.subscribe(self._changed)
        identity = AgentIdentity(registrar.shared_node, settings.address, settings.version)
        self._agent = AgentRoom(reading, registrar, clock)
        self._catalog = CatalogRoom(reading, registrar, clock)
        self._exact = self._exact_routes(
            IdentityRoom(reading, identity), StatusRoom(reading, settings.service, settings.address)
        )
        self._by_prefix = self._prefix_routes(HealthRoom(reading))

    @property
    def waiting(self) -> int:
        """Blocking queries that wait now."""
        return len(self._blocking)

    def stop_waiting(self) -> None:
        """Answers all blocking queries now, with what there is: the process is about to end."""
        self._blocking.close()
        self._unsubscribe()

    def _changed(self, changes: Sequence[Change]) -> None:
        if any(change.kind is ChangeKind.RESET for change in changes):
            self._reading.answers.clear()

    def _exact_routes(self, identity: IdentityRoom, status: StatusRoom) -> dict[str, _Route]:
        agent, catalog = self._agent, self._catalog
        return {
            "/v1/agent/self": _Route("GET", identity.self),
            "/v1/agent/members": _Route("GET", identity.members),
            "/v1/agent/services": _Route("GET", agent.services),
            "/v1/agent/checks": _Route("GET", agent.checks),
            "/v1/agent/maintenance": _Route("PUT", agent.maintain_node),
            "/v1/agent/service/register": _Route("PUT", write=agent.register),
            "/v1/agent/check/register": _Route("PUT", write=agent.register_check),
            "/v1/catalog/register": _Route("PUT", write=catalog.register),
            "/v1/catalog/deregister": _Route("PUT", write=catalog.deregister),
            "/v1/catalog/datacenters": _Route("GET", catalog.datacenters),
            "/v1/catalog/nodes": _Route("GET", catalog.nodes),
            "/v1/catalog/services": _Route("GET", catalog.services),
            "/v1/status/leader": _Route("GET", status.leader),
            "/v1/status/peers": _Route("GET", status.peers),
        }

    def _prefix_routes(self, health: HealthRoom) -> list[tuple[str, _Route]]:
        """Longer ones stand before those that they begin with."""
        agent, catalog = self._agent, self._catalog
        return [
            ("/v1/agent/service/deregister/", _Route("PUT", agent.deregister)),
            ("/v1/agent/service/maintenance/", _Route("PUT", agent.maintain_service)),
            ("/v1/agent/service/", _Route("GET", agent.service)),
            ("/v1/agent/health/service/id/", _Route("GET", agent.health_by_id)),
            ("/v1/agent/health/service/name/", _Route("GET", agent.health_by_name)),
            ("/v1/agent/check/deregister/", _Route("PUT", agent.deregister_check)),
            ("/v1/agent/check/pass/", _Route("PUT", agent.passes)),
            ("/v1/agent/check/warn/", _Route("PUT", agent.warns)),
            ("/v1/agent/check/fail/", _Route("PUT", agent.fails)),
            ("/v1/catalog/service/", _Route("GET", catalog.service)),
            ("/v1/catalog/node/", _Route("GET", catalog.node)),
            ("/v1/catalog/node-services/", _Route("GET", catalog.node_services)),
            ("/v1/health/service/", _Route("GET", health.service)),
            ("/v1/health/checks/", _Route("GET", health.checks)),
            ("/v1/health/node/", _Route("GET", health.node)),
            ("/v1/health/state/", _Route("GET", health.state)),
        ]

    async def __call__(self, request: Request) -> Response:
        """Answers a request; errors are answers, too."""
        try:
            response = await self._answer(request)
        except Refused as refused:
            response = _told(refused)
        except RegistryError as error:
            response = _told(refusal(error))
            if response.status >= 500:
                _log.info("a write failed", extra={"path": request.path, "error": str(error)})
        return Response(response.status, response.body, response.content_type, (*response.headers, *_POLICY))

    async def _answer(self, request: Request) -> Response:
        path = request.path
        route, rest = self._exact.get(path), ""
        if route is None and path.startswith("/v1/agent/check/update/"):
            # The one that has both: an id in the path, and a body.
            check_id = path.removeprefix("/v1/agent/check/update/")

            async def update(request: Request, query: Query) -> Response:
                return await self._agent.update(request, check_id, query)

            route = _Route("PUT", write=update)
        if route is None:
            for prefix, candidate in self._by_prefix:
                if path.startswith(prefix):
                    route, rest = candidate, path[len(prefix) :]
                    break
        if route is None:
            raise _unserved(path)
        if request.method != route.method:
            allow = f"OPTIONS,{route.method}"
            if request.method == "OPTIONS":
                return Response(200, b"", headers=(("allow", allow),))
            raise Refused(405, f"method {request.method} not allowed", allow=allow)
        query = Query(request.query)
        if route.write is not None:
            return await route.write(request, query)
        assert route.read is not None
        return await route.read(rest, query)


def _told(refused: Refused) -> Response:
    allow = (("allow", refused.allow),) if refused.allow else ()
    return Response(refused.status, refused.message.encode(), headers=allow)


def _unserved(path: str) -> Refused:
    if path.startswith(_NO_ACL):
        return Refused(401, "ACL support disabled")
    for prefix, instead in _NOT_SERVED.items():
        if path.startswith(prefix) or path == prefix.rstrip("/"):
            return Refused(501, f"{path} of Consul's API is not served by Orrery's registry: {instead}")
    return Refused(404, "Invalid URL path: not a recognized HTTP API endpoint\n")
