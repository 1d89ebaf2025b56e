"""What all reads share: the query's options, the wait, the index and the freshness in the answer's headers."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import msgspec

from cluster.http import Response
from services.registry.api.consul.answers import EncodedAnswers
from services.registry.api.consul.blocking import BlockingQueries
from services.registry.api.consul.fields import Json
from services.registry.api.consul.query import Query, ReadOptions, read_options
from services.registry.api.consul.refusals import NO_LEADER, Refused
from services.registry.api.consul.shapes import encode
from services.registry.interface import Catalogue, Topic

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reading:
    """What answers reads."""

    catalogue: Catalogue
    blocking: BlockingQueries
    datacenter: str
    flips_held_back: Callable[[], int]
    """Turns to critical that this process does not believe now, because too many came at once."""
    answers: EncodedAnswers = field(default_factory=EncodedAnswers)

    async def answer(self, query: Query, topic: Topic, key: Hashable, make: Callable[[], Json]) -> Response:
        """Waits as the query asks, and answers with what `make` makes then.

        `key` and the topic's index decide what `make` makes: answers are kept under them. Raises Refused.
        """
        options = read_options(query, self.datacenter)
        self.check_ready()
        await self.blocking.wait(topic, options.index, options.wait_ns)
        headers = self._freshness(options)
        index = self.catalogue.index(topic)
        pretty = "pretty" in query
        body = self.answers.get((topic, key, pretty), index, lambda: encoded(make(), pretty=pretty))
        return Response(200, body, JSON, (("x-consul-index", str(index)), *headers))

    def check_ready(self) -> None:
        """Raises Refused (500) before the first answer of kv, when nothing is known."""
        if not self.catalogue.is_ready:
            raise Refused(500, NO_LEADER)

    def _freshness(self, options: ReadOptions) -> Sequence[tuple[str, str]]:
        """Raises Refused (500) when the client wants it fresher than it can be had."""
        staleness = self.catalogue.staleness
        too_old = options.stale_ms_max > 0 and staleness.behind_ms > options.stale_ms_max
        if staleness.is_stale and (options.consistent or too_old):
            raise Refused(500, NO_LEADER)
        held_back = self.flips_held_back()
        return (
            ("x-consul-knownleader", "false" if staleness.is_stale else "true"),
            ("x-consul-lastcontact", str(staleness.behind_ms)),
            ("x-consul-effective-consistency", "stale" if options.stale or staleness.is_stale else "leader"),
            *((("x-orrery-flips-held-back", str(held_back)),) if held_back else ()),
        )


def encoded(value: Json, *, pretty: bool) -> bytes:
    """JSON; indented as Consul does it where a person asks with `?pretty`."""
    body = encode(value)
    return msgspec.json.format(body, indent=4) + b"\n" if pretty else body
