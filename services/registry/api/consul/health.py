"""`/v1/health/`: instances with their checks, and checks."""

from collections.abc import Sequence

from cluster.http import Response
from services.registry.api.consul.fields import Json
from services.registry.api.consul.filters import Predicate, Shape, compile_filter
from services.registry.api.consul.query import Query
from services.registry.api.consul.reading import Reading
from services.registry.api.consul.refusals import Refused
from services.registry.api.consul.shapes import check_shape, endpoint_shape, has_metadata, has_tags
from services.registry.domain import Health
from services.registry.interface import Check, Topic, TopicKind

_ANY = "any"


class HealthRoom:
    """Reads that tell how things are."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._catalogue = reading.catalogue

    async def service(self, name: str, query: Query) -> Response:
        """`/v1/health/service/:service`: the instances of a service, their nodes and checks."""
        if not name:
            raise Refused(400, "Missing service name")
        tags, nodes, passing = query.all("tag"), query.node_metadata, query.flag("passing")
        text = query.get("filter")
        keeps = compile_filter(text, Shape.ENDPOINT)

        def make() -> Json:
            found: list[Json] = []
            for endpoint in self._catalogue.endpoints(name):
                if passing and endpoint.health is not Health.PASSING:
                    continue
                if not has_tags(endpoint.instance.tags, tags) or not has_metadata(endpoint.node.metadata, nodes):
                    continue
                shape = endpoint_shape(endpoint, self._reading.datacenter)
                if keeps is None or keeps(shape):
                    found.append(shape)
            return found

        key = ("health", tags, nodes, passing, text)
        return await self._reading.answer(query, Topic(TopicKind.SERVICE, name), key, make)

    async def checks(self, name: str, query: Query) -> Response:
        """`/v1/health/checks/:service`: the checks of a service's instances, without those of the nodes."""
        if not name:
            raise Refused(400, "Missing service name")
        nodes, text = query.node_metadata, query.get("filter")
        keeps = compile_filter(text, Shape.CHECK)

        def make() -> Json:
            return self._kept(
                [
                    (check, endpoint.instance.tags)
                    for endpoint in self._catalogue.endpoints(name)
                    if has_metadata(endpoint.node.metadata, nodes)
                    for check in endpoint.checks
                    if check.service
                ],
                keeps,
            )

        return await self._reading.answer(query, Topic(TopicKind.SERVICE, name), ("checks", nodes, text), make)

    async def node(self, name: str, query: Query) -> Response:
        """`/v1/health/node/:node`: all checks on a node."""
        if not name:
            raise Refused(400, "Missing node name")
        text = query.get("filter")
        keeps = compile_filter(text, Shape.CHECK)

        def make() -> Json:
            view = self._catalogue.node(name)
            if view is None:
                return []
            found: list[tuple[Check, Sequence[str]]] = [(check, ()) for check in view.checks]
            for instance in view.instances:
                endpoint = self._catalogue.instance(name, instance.id)
                if endpoint is not None:
                    found.extend((check, instance.tags) for check in endpoint.checks if check.service)
            return self._kept(found, keeps)

        return await self._reading.answer(query, Topic(TopicKind.NODE, name), ("checks", text), make)

    async def state(self, name: str, query: Query) -> Response:
        """`/v1/health/state/:state`: all checks that say this, or `any`."""
        if not name:
            raise Refused(400, "Missing check state")
        nodes, text = query.node_metadata, query.get("filter")
        keeps = compile_filter(text, Shape.CHECK)

        def make() -> Json:
            found: list[tuple[Check, Sequence[str]]] = []
            for check in self._catalogue.checks():
                if name not in (_ANY, check.state.health.value) or (nodes and not self._is_on(check.node, nodes)):
                    continue
                found.append((check, self._tags(check)))
            return self._kept(found, keeps)

        # With the metadata of nodes asked for, a change of a node may change the answer.
        topic = Topic(TopicKind.ALL) if nodes else Topic(TopicKind.CHECKS)
        return await self._reading.answer(query, topic, ("state", name, nodes, text), make)

    def _tags(self, check: Check) -> Sequence[str]:
        if not check.service:
            return ()
        endpoint = self._catalogue.instance(check.node, check.definition.instance_id)
        return endpoint.instance.tags if endpoint is not None else ()

    def _is_on(self, node: str, metadata: Sequence[tuple[str, str]]) -> bool:
        view = self._catalogue.node(node)
        return view is not None and has_metadata(view.node.metadata, metadata)

    @staticmethod
    def _kept(found: Sequence[tuple[Check, Sequence[str]]], keeps: Predicate | None) -> Json:
        shapes = [check_shape(check, tags) for check, tags in found]
        return [shape for shape in shapes if keeps is None or keeps(shape)]
