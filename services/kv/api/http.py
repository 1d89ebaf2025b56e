"""What etcd serves over HTTP/1.1 on its client port: the JSON gateway under `/v3/`, health, version and metrics.

Paths, bodies and status codes are etcd's (3.4: compared with it request by request in `tests/conformance/gateway`;
`/livez` and `/readyz` came with 3.5). One thing is stricter: a web page may only talk to a member when its origin is
listed in `allowed_origins`. etcd lets every page in the browser of whoever can reach it read and write.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias
from urllib.parse import parse_qs

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from cluster.http import HttpError, Limits, Request, Response
from cluster.pb.etcd.etcdserverpb import rpc_pb2
from cluster.rpc.in_process import InProcessCalls
from cluster.rpc.transcoding import Transcoder
from services.kv.api.calls import Calls
from services.kv.refusals import Refused

JSON = "application/json"
ANY_ORIGIN = "*"
QUERY_FIELDS_MAX = 32
_METHODS = ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE")
_HEADERS = ("access-control-allow-headers", "accept, content-type, authorization")
_NO_SNIFF = (("x-content-type-options", "nosniff"),)

Check: TypeAlias = Callable[[], Awaitable[None]]
"""Raises Refused when something is not as it must be."""
Page: TypeAlias = Callable[[Request], Awaitable[Response]]


def http_limits(request_bytes_max: int) -> Limits:
    """Limits of a connection: JSON writes bytes as base64, in four characters for three."""
    return Limits(body_bytes_max=request_bytes_max * 4 // 3 + 64 * 1024, idle_s_max=300.0, connections_max=4096)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What the head can be told."""

    etcd_version: str
    allowed_origins: Sequence[str] = ()
    """Origins of web pages that may talk to the member; `*` for all."""


class HttpHead:
    """A handler for `cluster.http`."""

    def __init__(self, calls: Calls, rpcs: InProcessCalls, registry: CollectorRegistry, settings: HttpSettings) -> None:
        """`rpcs` has the member's servicers; what it does not have is answered as unimplemented."""
        self._calls = calls
        self._registry = registry
        self._settings = settings
        self._gateway = Transcoder(rpc_pb2.DESCRIPTOR.services_by_name.values(), rpcs)
        self._pages: dict[str, Page] = {
            "/health": self._health,
            "/version": self._version,
            "/metrics": self._metrics,
        }
        self._add_checks("/livez", {"serializable_read": self._read_locally})
        self._add_checks(
            "/readyz",
            {
                "data_corruption": self._read_locally,  # a member that finds corruption stops
                "serializable_read": self._read_locally,
                "linearizable_read": self._calls.barrier,
                "non_learner": self._read_locally,  # every member votes
            },
        )

    async def __call__(self, request: Request) -> Response:
        """Answers a request. Raises HttpError."""
        origin = request.headers.get("origin")
        allowed = self._settings.allowed_origins
        if origin is not None and ANY_ORIGIN not in allowed and origin not in allowed:
            raise HttpError(403, f"the origin {origin} is not among the allowed_origins of this member")
        if request.method == "OPTIONS":
            response = Response(200, b"")
        else:
            response = await self._answer(request)
        if origin is None:
            return response
        allow = (("access-control-allow-origin", origin), ("vary", "origin"), _METHODS, _HEADERS)
        return replace(response, headers=(*response.headers, *allow))

    async def _answer(self, request: Request) -> Response:
        target = request.target
        if target.startswith("/v3beta/"):
            # etcd 3.3 had the gateway there, and its successors still take it.
            request = replace(request, target="/v3/" + target.removeprefix("/v3beta/"))
        if request.target.startswith("/v3/"):
            try:
                return await self._gateway(request)
            except HttpError as error:
                return Response(error.status, f"{error.message}\n".encode(), headers=_NO_SNIFF)
        page = self._pages.get(request.path)
        if page is None:
            return Response(404, b"404 page not found\n", headers=_NO_SNIFF)
        if request.method != "GET":
            return Response(405, b"Method Not Allowed\n", headers=(("allow", "GET"), *_NO_SNIFF))
        return await page(request)

    async def _version(self, request: Request) -> Response:
        version = self._settings.etcd_version
        minor = ".".join([*version.split(".")[:2], "0"])
        document = {"etcdserver": version, "etcdcluster": minor, "storage": minor}
        return Response(200, msgspec.json.encode(document), JSON)

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept") or "")
        return Response(200, encode(self._registry), content_type)

    # ---- health

    async def _health(self, request: Request) -> Response:
        """Healthy is a member that can serve a linearizable read, or, when asked for `serializable`, one that runs."""
        if "true" in _query(request).get("serializable", ()):
            return Response(200, b'{"health":"true"}')
        if not self._calls.gate.has_leader:
            return _unhealthy("RAFT NO LEADER")
        try:
            await self._calls.barrier()
        except Refused as refused:
            return _unhealthy(f"RANGE ERROR:{refused.refusal.message}")
        return Response(200, b'{"health":"true"}')

    def _add_checks(self, path: str, checks: dict[str, Check]) -> None:
        self._pages[path] = partial(_run_checks, checks)
        for name, check in checks.items():
            self._pages[f"{path}/{name}"] = partial(_run_checks, {name: check})

    async def _read_locally(self) -> None:
        """A member that answers at all can read its own state."""


async def _run_checks(checks: dict[str, Check], request: Request) -> Response:
    query = _query(request)
    lines: list[str] = []
    failed = False
    for name, check in checks.items():
        if name in query.get("exclude", ()):
            continue
        try:
            await check()
            lines.append(f"[+]{name} ok\n")
        except Refused as refused:
            failed = True
            lines.append(f"[-]{name} failed: {refused.refusal.message}\n")
    if failed:
        return Response(503, "".join([*lines, "\n"]).encode(), headers=_NO_SNIFF)
    return Response(200, "".join([*(lines if "verbose" in query else ()), "ok\n"]).encode(), headers=_NO_SNIFF)


def _unhealthy(reason: str) -> Response:
    body = msgspec.json.encode({"health": "false", "reason": reason})
    return Response(503, body + b"\n", headers=_NO_SNIFF)


def _query(request: Request) -> dict[str, list[str]]:
    try:
        return parse_qs(request.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise HttpError(400, f"more than {QUERY_FIELDS_MAX} query parameters") from None
