"""`/v1/catalog/`: what there is, and registrations for nodes other than the agent's own."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from cluster.http import Request, Response
from runtime import Clock
from services.registry.api.consul.definitions import read_catalogue_check, read_catalogue_service
from services.registry.api.consul.fields import Fields, Json, decode
from services.registry.api.consul.filters import Shape, compile_filter
from services.registry.api.consul.query import Query, check_datacenter, check_tenancy
from services.registry.api.consul.reading import JSON, Reading, encoded
from services.registry.api.consul.refusals import Refused
from services.registry.api.consul.shapes import (
    has_metadata,
    has_tags,
    node_shape,
    service_node_shape,
    service_shape,
)
from services.registry.domain import Instance, Node
from services.registry.interface import Endpoint, NodeView, NotFound, Registrar, Topic, TopicKind

_TRUE = Response(200, b"true", JSON)
_NodeShape: TypeAlias = Callable[[NodeView | None, Sequence[dict[str, Json]]], Json]


class CatalogRoom:
    """Reads and writes of the catalogue."""

    def __init__(self, reading: Reading, registrar: Registrar, clock: Clock) -> None:
        self._reading = reading
        self._catalogue = reading.catalogue
        self._registrar = registrar
        self._clock = clock

    # ---- reads

    async def datacenters(self, rest: str, query: Query) -> Response:
        """`/v1/catalog/datacenters`: there is one."""
        return Response(200, encoded([self._reading.datacenter], pretty="pretty" in query), JSON)

    async def nodes(self, rest: str, query: Query) -> Response:
        """`/v1/catalog/nodes`."""
        metadata, text = query.node_metadata, query.get("filter")
        keeps = compile_filter(text, Shape.NODE)

        def make() -> Json:
            found: list[Json] = []
            for view in self._catalogue.nodes():
                if has_metadata(view.node.metadata, metadata):
                    shape = node_shape(view.node, view.index, self._reading.datacenter)
                    if keeps is None or keeps(shape):
                        found.append(shape)
            return found

        return await self._reading.answer(query, Topic(TopicKind.NODES), (metadata, text), make)

    async def services(self, rest: str, query: Query) -> Response:
        """`/v1/catalog/services`: all names, and the tags of each."""
        metadata, text = query.node_metadata, query.get("filter")
        keeps = compile_filter(text, Shape.SERVICE_NODE)

        def make() -> Json:
            if not metadata and keeps is None:
                return {name: [*sorted(tags)] for name, tags in self._catalogue.services().items()}
            found: dict[str, Json] = {}
            for name in self._catalogue.services():
                tags: set[str] = set()
                for endpoint in self._catalogue.endpoints(name):
                    if not has_metadata(endpoint.node.metadata, metadata):
                        continue
                    if keeps is None or keeps(service_node_shape(endpoint, self._reading.datacenter)):
                        tags.update(endpoint.instance.tags)
                        found[name] = []
                if name in found:
                    found[name] = [*sorted(tags)]
            return found

        # A filter may look at what the list of names does not follow.
        topic = Topic(TopicKind.ALL if metadata or keeps is not None else TopicKind.SERVICES)
        return await self._reading.answer(query, topic, ("services", metadata, text), make)

    async def service(self, name: str, query: Query) -> Response:
        """`/v1/catalog/service/:service`: the instances of a service, whatever their health."""
        if not name:
            raise Refused(400, "Missing service name")
        tags, metadata, text = query.all("tag"), query.node_metadata, query.get("filter")
        keeps = compile_filter(text, Shape.SERVICE_NODE)

        def is_wanted(endpoint: Endpoint) -> bool:
            return has_tags(endpoint.instance.tags, tags) and has_metadata(endpoint.node.metadata, metadata)

        def make() -> Json:
            found: list[Json] = []
            for endpoint in filter(is_wanted, self._catalogue.endpoints(name)):
                shape = service_node_shape(endpoint, self._reading.datacenter)
                if keeps is None or keeps(shape):
                    found.append(shape)
            return found

        key = ("catalogue", tags, metadata, text)
        return await self._reading.answer(query, Topic(TopicKind.SERVICE, name), key, make)

    async def node(self, name: str, query: Query) -> Response:
        """`/v1/catalog/node/:node`: a node and its instances by id; `null` when there is none."""

        def shape(view: NodeView | None, instances: Sequence[dict[str, Json]]) -> Json:
            if view is None:
                return None
            node = node_shape(view.node, view.index, self._reading.datacenter)
            return {"Node": node, "Services": {str(instance["ID"]): instance for instance in instances}}

        return await self._node(name, query, "map", shape)

    async def node_services(self, name: str, query: Query) -> Response:
        """`/v1/catalog/node-services/:node`: the same with a list of instances."""

        def shape(view: NodeView | None, instances: Sequence[dict[str, Json]]) -> Json:
            node = node_shape(view.node, view.index, self._reading.datacenter) if view is not None else None
            return {"Node": node, "Services": [*instances]}

        return await self._node(name, query, "list", shape)

    async def _node(self, name: str, query: Query, kind: str, shape: _NodeShape) -> Response:
        if not name:
            raise Refused(400, "Missing node name")
        text = query.get("filter")
        keeps = compile_filter(text, Shape.SERVICE)

        def make() -> Json:
            view = self._catalogue.node(name)
            instances = view.instances if view is not None else ()
            shapes = [service_shape(instance, view.index if view is not None else 1) for instance in instances]
            return shape(view, [found for found in shapes if keeps is None or keeps(found)])

        return await self._reading.answer(query, Topic(TopicKind.NODE, name), (kind, text), make)

    # ---- writes

    async def register(self, request: Request, query: Query) -> Response:
        """`/v1/catalog/register`: a node, with an instance on it, with checks."""
        check_tenancy(query)
        fields = decode(request.body, "RegisterRequest")
        check_datacenter(fields.text("Datacenter"), self._reading.datacenter)
        name, address = fields.text("Node"), fields.text("Address")
        if not name:
            raise Refused(400, "Must provide node")
        keeps_node = fields.flag("SkipNodeUpdate")
        if not address and not keeps_node:
            raise Refused(400, "Must provide address if SkipNodeUpdate is not set")
        # Everything is read before anything is written: a mistake in the last check leaves nothing behind.
        service = fields.child("Service")
        instance = read_catalogue_service(service, name) if service is not None else None
        single = fields.child("Check")
        nested = ([single] if single is not None else []) + fields.children("Checks")
        now_ms = int(self._clock.wall_s() * 1000)
        checks = [read_catalogue_check(check, now_ms) for check in nested]
        for check in nested:
            if check.text("Node") not in ("", name):
                raise Refused(400, f'check node "{check.text("Node")}" does not match node "{name}"')
        await self._write_node(Node(name, address, fields.text_map("NodeMeta")), instance, keeps_node=keeps_node)
        for kept in checks:
            definition = kept.definition
            try:
                await self._registrar.add_check(name, definition, kept.state)
            except NotFound:
                message = f"Unknown service ID '{definition.instance_id}' for check ID '{definition.id}'"
                raise Refused(400, message) from None
        return _TRUE

    async def _write_node(self, node: Node, instance: Instance | None, *, keeps_node: bool) -> None:
        # With SkipNodeUpdate a node is only made, never changed. The agent's own node is not a client's to move.
        keeps_node = keeps_node or node.name == self._registrar.shared_node
        written = None if keeps_node and self._catalogue.node(node.name) is not None else node
        if instance is not None:
            await self._registrar.register(instance, (), node=written, keep_other_checks=True, take_over=True)
        elif written is not None:
            await self._registrar.register_node(written)

    async def deregister(self, request: Request, query: Query) -> Response:
        """`/v1/catalog/deregister`: a check, an instance, or a node with all that is on it.

        What is not there is answered as if it had been: so does Consul.
        """
        check_tenancy(query)
        fields = decode(request.body, "DeregisterRequest")
        check_datacenter(fields.text("Datacenter"), self._reading.datacenter)
        node = fields.text("Node")
        if not node:
            raise Refused(400, "Must provide node")
        try:
            await self._remove(node, fields)
        except NotFound:
            return _TRUE
        return _TRUE

    async def _remove(self, node: str, fields: Fields) -> None:
        instance_id, check_id = fields.text("ServiceID"), fields.text("CheckID")
        if instance_id:
            await self._registrar.deregister(node, instance_id)
        elif check_id:
            await self._registrar.remove_check(node, check_id)
        elif node == self._registrar.shared_node:
            # With Consul its agent would register all of it again; here it would be gone, and not one client's alone.
            raise Refused(400, f'node "{node}" is that of all agents: deregister its services one by one')
        else:
            await self._registrar.deregister_node(node)
