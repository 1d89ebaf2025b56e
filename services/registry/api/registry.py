"""orrery.registry.v1.Registry: the registry by gRPC."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NoReturn, TypeAlias

import grpc
import grpc.aio
from grpc import StatusCode

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from services.registry import limits, validation
from services.registry.api.encoding import Encoder, Filter
from services.registry.api.hub import Hub
from services.registry.api.messages import (
    freshness_message,
    instance_message,
    node_message,
    read_beat,
    read_checks,
    read_instance,
)
from services.registry.catalogue import KeyKind, MemoryCatalogue
from services.registry.domain import (
    INSTANCE_MAINTENANCE_ID,
    NODE_MAINTENANCE_ID,
    CheckDefinition,
    CheckKind,
    CheckState,
    Health,
    Node,
)
from services.registry.interface import (
    Beat,
    Exists,
    Invalid,
    NotFound,
    Registrar,
    RegistryError,
    Topic,
    TopicKind,
    Unavailable,
    WrongKind,
)
from services.registry.metrics import Counters
from services.registry.status import CheckCounts

SERVICE = pb.DESCRIPTOR.services_by_name["Registry"].full_name
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_CODES: dict[type[RegistryError], StatusCode] = {
    Invalid: StatusCode.INVALID_ARGUMENT,
    NotFound: StatusCode.NOT_FOUND,
    Exists: StatusCode.ALREADY_EXISTS,
    WrongKind: StatusCode.FAILED_PRECONDITION,
    Unavailable: StatusCode.UNAVAILABLE,
}
MAINTENANCE_NAME = "Maintenance mode"


class RegistryHead:
    """Serves `orrery.registry.v1.Registry`."""

    def __init__(
        self,
        copy: MemoryCatalogue,
        registrar: Registrar,
        checks: Callable[[], CheckCounts],
        counters: Counters,
        *,
        node: str,
        watchers_max: int,
        waiting_max: int,
    ) -> None:
        """`node` is this process; the limits are on streams of changes, and on queries that wait for a change."""
        self._copy = copy
        self._registrar = registrar
        self._checks = checks
        self._counters = counters
        self._node = node
        self._watchers_max = watchers_max
        self._waiting_max = waiting_max
        self._encoder = Encoder()
        self._hub = Hub(copy, self._encoder, counters)
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Tells those who watch when kv is away, for ever."""
        await self._hub.run()

    def stop(self) -> None:
        """Ends all streams: clients go on at another process."""
        self._stopped.set()
        self._hub.stop()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the service. Answers may be bytes, which are put together once for many clients."""
        methods: dict[str, Callable[[Any, Context], object]] = {
            "Register": self._answering(self.register),
            "Deregister": self._answering(self.deregister),
            "Heartbeat": self._answering(self.heartbeat),
            "SetMaintenance": self._answering(self.set_maintenance),
            "ListServices": self._answering(self.list_services),
            "ListInstances": self._answering(self.list_instances),
            "ListNodes": self._answering(self.list_nodes),
            "Status": self._answering(self.status),
        }
        requests = {
            method.name: getattr(pb, method.input_type.name).FromString
            for method in pb.DESCRIPTOR.services_by_name["Registry"].methods
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                method, request_deserializer=requests[name], response_serializer=_serialize
            )
            for name, method in methods.items()
        }
        handlers["Watch"] = grpc.unary_stream_rpc_method_handler(
            self.watch, request_deserializer=requests["Watch"], response_serializer=_serialize
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    @staticmethod
    def _answering(
        method: Callable[[Any], Awaitable[object]],
    ) -> Callable[[Any, Context], Awaitable[object]]:
        async def answer(request: object, context: Context) -> object:
            try:
                return await method(request)
            except RegistryError as error:
                await _refuse(context, error)

        return answer

    # ---- writing

    async def register(self, request: pb.RegisterRequest) -> pb.RegisterResponse:
        """Makes or changes an instance. Raises RegistryError, as all of these do."""
        self._check_ready()
        instance, checks = validation.completed(
            read_instance(request.instance), read_checks(request.instance.checks), self._registrar.shared_node
        )
        node = None
        if request.node_address:
            view = self._copy.node(instance.node)
            metadata = view.node.metadata if view is not None else {}
            node = Node(instance.node, request.node_address, metadata)
        index = await self._registrar.register(instance, checks, node=node)
        return pb.RegisterResponse(instance=instance_message(instance, checks), index=index)

    async def deregister(self, request: pb.DeregisterRequest) -> pb.DeregisterResponse:
        """Takes an instance away."""
        self._check_ready()
        return pb.DeregisterResponse(index=await self._registrar.deregister(self._place(request.node), request.id))

    async def heartbeat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Reports on TTL checks."""
        self._check_ready()
        if len(request.beats) > limits.BEATS_MAX:
            raise Invalid(f"beats: {len(request.beats)} of them; at most {limits.BEATS_MAX}")
        beats: list[Beat] = []
        errors: dict[int, RegistryError] = {}
        for number, message in enumerate(request.beats):
            try:
                beats.append(read_beat(message))
            except Invalid as error:
                errors[number] = error
        answers = iter(await self._registrar.beat(beats))
        results = (errors[number] if number in errors else next(answers) for number in range(len(request.beats)))
        return pb.HeartbeatResponse(results=map(_beat_result, results))

    async def set_maintenance(self, request: pb.SetMaintenanceRequest) -> pb.SetMaintenanceResponse:
        """Takes an instance or a node out of use, and back: by a check that is critical as long as it is there."""
        self._check_ready()
        node, instance_id = self._place(request.node), request.instance_id
        check_id = INSTANCE_MAINTENANCE_ID.format(id=instance_id) if instance_id else NODE_MAINTENANCE_ID
        if request.enabled:
            definition = CheckDefinition(
                check_id, MAINTENANCE_NAME, CheckKind.MAINTENANCE, instance_id, notes=request.reason
            )
            state = CheckState(Health.CRITICAL, request.reason)
            return pb.SetMaintenanceResponse(index=await self._registrar.add_check(node, definition, state))
        if instance_id and self._copy.instance(node, instance_id) is None:
            raise NotFound(f"there is no instance {instance_id!r} on node {node!r}")
        try:
            index = await self._registrar.remove_check(node, check_id)
        except NotFound:
            # It is in use, as was wished.
            index = self._copy.index(Topic(TopicKind.NODE, node))
        return pb.SetMaintenanceResponse(index=index)

    # ---- reading

    async def list_services(self, request: pb.ListServicesRequest) -> pb.ListServicesResponse:
        """All names, with their tags."""
        topic = Topic(TopicKind.SERVICES)
        await self._block(topic, request.block)
        response = pb.ListServicesResponse(freshness=self._freshness(topic))
        for name, tags in self._copy.services().items():
            endpoints = self._copy.endpoints(name)
            passing = sum(endpoint.health is Health.PASSING for endpoint in endpoints)
            response.services.add(name=name, tags=sorted(tags), instances=len(endpoints), passing=passing)
        return response

    async def list_instances(self, request: pb.ListInstancesRequest) -> bytes:
        """The instances of one service: an encoded ListInstancesResponse."""
        validation.check_service(request.service)
        topic = Topic(TopicKind.SERVICE, request.service)
        await self._block(topic, request.block)
        asked = _filter(request.service, request.tags, passing_only=request.passing_only)
        copy = self._copy
        return self._encoder.listed(asked, copy.endpoints(request.service), copy.index(topic), copy.staleness)

    async def list_nodes(self, request: pb.ListNodesRequest) -> pb.ListNodesResponse:
        """All nodes, with their own checks."""
        topic = Topic(TopicKind.NODES)
        await self._block(topic, request.block)
        return pb.ListNodesResponse(nodes=map(node_message, self._copy.nodes()), freshness=self._freshness(topic))

    async def watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[bytes]:
        """What there is, and then each change: encoded WatchResponses."""
        try:
            self._check_ready()
            if request.service:
                validation.check_service(request.service)
            asked = _filter(request.service, request.tags, passing_only=request.passing_only)
            if self._counters.watchers >= self._watchers_max:
                await context.abort(
                    StatusCode.RESOURCE_EXHAUSTED, f"{self._watchers_max} streams of changes are open already"
                )
        except RegistryError as error:
            await _refuse(context, error)
        watcher = self._hub.watch(asked)
        self._counters.watchers += 1
        try:
            while parts := await watcher.take():
                for part in parts:
                    yield part
        finally:
            self._counters.watchers -= 1
            watcher.close()
        await context.abort(StatusCode.UNAVAILABLE, "this process is about to stop")

    async def status(self, request: pb.StatusRequest) -> pb.StatusResponse:
        """How this process stands."""
        copy, counts = self._copy, self._checks()
        return pb.StatusResponse(
            node=self._node,
            freshness=self._freshness(Topic(TopicKind.ALL)),
            services=len(copy.services()),
            instances=copy.count(KeyKind.INSTANCE),
            nodes=copy.count(KeyKind.NODE),
            checks=copy.count(KeyKind.CHECK),
            checks_owned=counts.owned,
            self_preservation=counts.is_preserving,
            flips_held_back=counts.held_back,
            processes=copy.processes(),
        )

    # ---- inside

    def _check_ready(self) -> None:
        if not self._copy.is_ready:
            raise Unavailable("this process has not read the registry from kv yet", definite=True)

    def _place(self, node: str) -> str:
        return node or self._registrar.shared_node

    def _freshness(self, topic: Topic) -> pb.Freshness:
        return freshness_message(self._copy.index(topic), self._copy.staleness)

    async def _block(self, topic: Topic, block: pb.Block) -> None:
        """Waits, if that is asked for, until the topic's index is above what the client knows."""
        self._check_ready()
        if block.wait_ms_max > limits.WAIT_MS_MAX:
            raise Invalid(f"block.wait_ms_max: is {block.wait_ms_max}; at most {limits.WAIT_MS_MAX}")
        if not block.index or self._copy.index(topic) > block.index:
            return
        if self._copy.topics.waiting >= self._waiting_max:
            raise _Crowded(f"{self._waiting_max} queries wait for changes already")
        within_s = (block.wait_ms_max or limits.WAIT_MS_DEFAULT) / 1000
        waits = {
            asyncio.ensure_future(self._copy.wait(topic, block.index, within_s)),
            asyncio.ensure_future(self._stopped.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


class _Crowded(RegistryError):
    """More at once than this process takes."""


def _filter(service: str, tags: Iterable[str], *, passing_only: bool) -> Filter:
    asked = Filter.of(service, tags, passing_only=passing_only)
    if len(asked.tags) > limits.TAGS_MAX:
        raise Invalid(f"tags: {len(asked.tags)} of them; at most {limits.TAGS_MAX}")
    return asked


def _serialize(message: object) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()  # type: ignore[attr-defined]


def _code(error: RegistryError) -> StatusCode:
    return _CODES.get(type(error), StatusCode.RESOURCE_EXHAUSTED)


def _beat_result(error: RegistryError | None) -> pb.BeatResult:
    if error is None:
        return pb.BeatResult()
    number: int = _code(error).value[0]
    return pb.BeatResult(code=number, message=str(error))


async def _refuse(context: Context, error: RegistryError) -> NoReturn:
    await context.abort(_code(error), str(error))
    raise AssertionError("abort raises") from error
