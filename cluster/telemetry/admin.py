"""The admin port of a process: `/metrics`, `/healthz`, `/readyz`, `/info`.

`/healthz` answers whenever the event loop turns; whoever restarts processes asks it. `/readyz` answers 200 when every
check holds and 503 otherwise; whoever sends traffic asks it. The two are apart because a replica without a leader must
be left alone, not restarted.
"""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from cluster.http import HttpServer, Limits, Request, Response, Router
from cluster.telemetry.metrics import LoopLag
from cluster.telemetry.report import VERSION, Check, Info
from runtime import Clock, Net

_LIMITS = Limits(body_bytes_max=64 * 1024, receive_s_max=10.0, idle_s_max=300.0, connections_max=64)
_JSON = "application/json"


class AdminServer:
    """Serves what a process tells about itself. It reads, and changes nothing."""

    def __init__(
        self,
        net: Net,
        clock: Clock,
        listen: str,
        registry: CollectorRegistry,
        info: Callable[[], Info],
        ready: Callable[[], Sequence[Check]],
    ) -> None:
        """`listen` is `host:port`, port 0 for a free one; `info` and `ready` are asked anew for each request."""
        self._clock = clock
        self._registry = registry
        self._info = info
        self._ready = ready
        self._started_wall_s = clock.wall_s()
        self._started_s = clock.monotonic_s()
        self._lag = LoopLag(registry)
        self.router = Router()
        """Further read-only pages of a service may be added before `start`."""
        for path, handler in (
            ("/metrics", self._serve_metrics),
            ("/healthz", self._serve_health),
            ("/readyz", self._serve_readiness),
            ("/info", self._serve_info),
        ):
            self.router.add("GET", path, handler)
        self._server = HttpServer(net, clock, listen, self.router, _LIMITS)

    @property
    def address(self) -> str:
        """Where it listens, `host:port`."""
        return self._server.address

    async def start(self) -> None:
        """Binds and begins measuring. Raises OSError when the port is taken."""
        await self._server.start()
        self._lag.start()

    async def stop(self) -> None:
        """Closes the port."""
        self._lag.stop()
        await self._server.stop(within_s=1.0)

    async def _serve_metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept") or "")
        return Response(200, encode(self._registry), content_type=content_type)

    async def _serve_health(self, request: Request) -> Response:
        return Response(200, b"ok\n")

    async def _serve_readiness(self, request: Request) -> Response:
        checks = self._ready()
        status = 200 if all(check.ok for check in checks) else 503
        if _wants_json(request):
            document = {
                "ready": status == 200,
                "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
            }
            return Response(status, msgspec.json.encode(document), content_type=_JSON)
        lines = [f"[{'+' if check.ok else '-'}] {check.name}: {check.detail or 'ok'}\n" for check in checks]
        lines.append("ready\n" if status == 200 else "not ready\n")
        return Response(status, "".join(lines).encode())

    async def _serve_info(self, request: Request) -> Response:
        info = self._info()
        document = {
            "service": info.service,
            "node": info.node,
            "pid": os.getpid(),
            "version": VERSION,
            "role": info.role,
            "leader": info.leader,
            "endpoints": dict(info.endpoints),
            "data_dir": info.data_dir,
            "uptime_s": round(self._clock.monotonic_s() - self._started_s, 3),
            "started": datetime.fromtimestamp(self._started_wall_s, UTC).isoformat(timespec="milliseconds"),
            **info.parts,
        }
        return Response(200, msgspec.json.encode(document), content_type=_JSON)


def _wants_json(request: Request) -> bool:
    return "json" in (request.headers.get("accept") or "") or "format=json" in request.query
