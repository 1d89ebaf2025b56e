"""What the registry serves over HTTP/1.1 on its port: Consul's API, and targets for Prometheus.

A web page may only talk to it when its origin is listed in `allowed_origins`: else every page in the browser of whoever
can reach the registry could read it and write to it.
"""

from collections.abc import Sequence
from dataclasses import replace

from cluster.http import HttpError, Limits, Request, Response
from services.registry.api.consul import ConsulHead
from services.registry.api.consul.fields import BODY_BYTES_MAX
from services.registry.api.prometheus import PATH, PrometheusDiscovery

ANY_ORIGIN = "*"
CONNECTIONS_BESIDE_WAITERS = 4096
HALF_CLOSED_S_MAX = 1.0
"""Who closes its side while a blocking query waits has gone, as a rule. Who only says that it will send no more gets
its answer if it comes this soon."""

_NO_SNIFF = ("x-content-type-options", "nosniff")
_METHODS = ("access-control-allow-methods", "GET, PUT, OPTIONS")
_HEADERS = ("access-control-allow-headers", "accept, content-type, authorization, x-consul-token")
_EXPOSED = ("access-control-expose-headers", "x-consul-index, x-consul-knownleader, x-consul-lastcontact")


def http_limits(waiters_max: int) -> Limits:
    """More connections may be open than wait in blocking queries, so that watchers do not keep writers out."""
    connections_max = waiters_max + CONNECTIONS_BESIDE_WAITERS
    return Limits(
        body_bytes_max=BODY_BYTES_MAX,
        idle_s_max=300.0,
        half_closed_s_max=HALF_CLOSED_S_MAX,
        connections_max=connections_max,
    )


class HttpHead:
    """A handler for `cluster.http`."""

    def __init__(
        self, consul: ConsulHead, prometheus: PrometheusDiscovery, allowed_origins: Sequence[str] = ()
    ) -> None:
        self._consul = consul
        self._prometheus = prometheus
        self._allowed_origins = allowed_origins

    async def __call__(self, request: Request) -> Response:
        """Answers a request. Raises HttpError."""
        origin = request.headers.get("origin")
        allowed = self._allowed_origins
        if origin is not None and ANY_ORIGIN not in allowed and origin not in allowed:
            raise HttpError(403, f"the origin {origin} is not among the allowed_origins of the registry")
        response = await self._answer(request)
        headers = (*response.headers, _NO_SNIFF)
        if origin is not None:
            cors = (("access-control-allow-origin", origin), ("vary", "origin"), _METHODS, _HEADERS, _EXPOSED)
            headers = (*headers, *cors)
        return replace(response, headers=headers)

    async def _answer(self, request: Request) -> Response:
        path = request.path
        if path == PATH:
            return await self._prometheus(request)
        if path.startswith("/v1/"):
            return await self._consul(request)
        if path == "/" and request.method == "GET":
            return Response(200, b"Orrery registry: Consul's HTTP API is under /v1/\n")
        message = "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
        return Response(404, message.encode())
