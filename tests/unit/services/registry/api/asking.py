"""A registry without kv and without a connection, asked as clients ask it."""

import json
import random
from dataclasses import dataclass
from typing import Any

from cluster.http import Headers, Request, Response
from runtime.sim import SeededRandomness
from services.registry.api.consul import ConsulHead, ConsulSettings
from services.registry.api.http import HttpHead
from services.registry.api.prometheus import PrometheusDiscovery
from services.registry.catalogue import MemoryCatalogue
from tests.unit.services.registry.memory_registry import memory_registry

PEER = "192.0.2.7:40000"


class FakeClock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def wall_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        assert self.content_type == "application/json", self
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def index(self) -> int:
        return int(self.headers["x-consul-index"])


class Registry:
    """Everything behind the HTTP head, in memory."""

    def __init__(self, settings: ConsulSettings | None = None, *, heard: bool = True) -> None:
        self.clock = FakeClock()
        self.flips_held_back = 0
        self.catalogue, self.registrar, self.store = memory_registry(self.clock)
        if not heard:
            self.catalogue = MemoryCatalogue(self.clock)
        self.consul = ConsulHead(
            self.catalogue,
            self.registrar,
            self.clock,
            SeededRandomness(random.Random(1)),
            settings or ConsulSettings("127.0.0.1:8500"),
            lambda: self.flips_held_back,
        )
        self.http = HttpHead(self.consul, PrometheusDiscovery(self.catalogue))

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        peer: str = PEER,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Answer:
        response: Response = await self.http(Request(method, target, Headers(headers), body, "1.1", peer))
        assert isinstance(response.body, bytes)
        return Answer(response.status, response.body, response.content_type, dict(response.headers))

    async def get(self, target: str) -> Answer:
        return await self.ask("GET", target)

    async def put(self, target: str, body: object = None) -> Answer:
        return await self.ask("PUT", target, b"" if body is None else json.dumps(body).encode())

    async def register(self, name: str, **fields: object) -> None:
        """An instance of the agent's own, by Consul's field names."""
        answer = await self.put("/v1/agent/service/register", {"Name": name, **fields})
        assert (answer.status, answer.body) == (200, b""), answer

    async def health(self, service: str, query: str = "") -> Any:
        answer = await self.get(f"/v1/health/service/{service}{query}")
        assert answer.status == 200, answer
        return answer.json

    async def ids(self, service: str, query: str = "") -> list[str]:
        return [entry["Service"]["ID"] for entry in await self.health(service, query)]
