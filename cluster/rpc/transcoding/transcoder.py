"""Answers JSON requests by calling the gRPC service that they mean.

The JSON is protobuf's canonical mapping with the names of the .proto file, 64-bit integers as strings and bytes as
base64: what grpc-gateway gives with original names, and so what etcd's `/v3` gateway gives. A stream is answered as one
JSON object a line, `{"result": ...}`; a failure within it ends it with `{"error": ...}`.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cluster.http import HttpError, Request, Response
from cluster.rpc.grpc.metadata import read_timeout_s
from cluster.rpc.transcoding.rules import Binding, Route, bindings_of, compile_route

QUERY_FIELDS_MAX = 100
MESSAGES_MAX = 1_000
"""Requests in the body of one call that streams requests."""
JSON_DEPTH_MAX = 100
METADATA_PREFIX = "grpc-metadata-"
"""HTTP fields with this prefix are handed on as metadata without it; `authorization` is handed on as it is."""

HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}


class Transcoder:
    """An HTTP handler over a channel to the services' server."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        services: Iterable[ServiceDescriptor],
        extra: Mapping[str, Iterable[Binding]] | None = None,
    ) -> None:
        """`extra` gives bindings for methods that carry no option, by full name (`etcdserverpb.KV.Range`).

        Raises ValueError for a rule that is malformed.
        """
        self._fixed: dict[tuple[str, str], Route] = {}
        self._routes: list[Route] = []
        self._calls: dict[str, Any] = {}
        for service in services:
            for method in service.methods:
                for binding in (*bindings_of(method), *(extra or {}).get(method.full_name, ())):
                    route = compile_route(binding, method)
                    if any(mark in binding.template for mark in "{*"):
                        self._routes.append(route)
                    else:
                        self._fixed[binding.verb, binding.template] = route
                self._calls[method.full_name] = _callable(channel, method)

    def find(self, verb: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route for a request, with the values of its path; None when there is none."""
        route = self._fixed.get((verb, path))
        if route is not None:
            return route, {}
        for route in self._routes:
            values = route.match(verb, path)
            if values is not None:
                return route, values
        return None

    async def __call__(self, request: Request) -> Response:
        """Answers one request. Raises HttpError 404 when no rule matches, so that handlers can be chained."""
        path = request.target.partition("?")[0]
        found = self.find(request.method, path)
        if found is None:
            raise HttpError(404, "Not Found")
        route, values = found
        try:
            messages = _read_messages(route, values, request)
            metadata, timeout_s = _read_headers(request)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            return _failure(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return await self._answer(route, messages, metadata, timeout_s)

    async def _answer(
        self, route: Route, messages: list[Message], metadata: tuple[tuple[str, str], ...], timeout_s: float | None
    ) -> Response:
        method = route.method
        argument = messages if method.client_streaming else messages[0]
        call = self._calls[method.full_name](argument, metadata=metadata, timeout=timeout_s)
        if method.server_streaming:
            return Response(200, _stream(route, call), content_type="application/json")
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            return _failure(error.code(), error.details() or "")
        body = json.dumps(_write_message(route, response), separators=(",", ":")).encode()
        return Response(200, body, content_type="application/json")


def _callable(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:  # one of four kinds
    kind = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }[method.client_streaming, method.server_streaming]
    assert method.containing_service is not None
    path = f"/{method.containing_service.full_name}/{method.name}"
    request_class = GetMessageClass(method.input_type)
    response_class = GetMessageClass(method.output_type)
    return cast(Any, kind)(path, request_class.SerializeToString, response_class.FromString)


def _read_messages(route: Route, values: dict[str, str], request: Request) -> list[Message]:
    """The request message, or messages. Raises ParseError or ValueError."""
    binding = route.binding
    make = GetMessageClass(route.method.input_type)
    if route.method.client_streaming:
        return [_parse(make(), each) for each in _json_values(request.body.decode())]
    message = make()
    text = request.body.decode() or "{}"
    if binding.body == "*":
        _parse(message, json.loads(text))
    elif binding.body:
        _parse(message, {binding.body: json.loads(text)})
    if binding.body != "*":
        pairs = parse_qsl(request.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
        for path, value in pairs:
            _set_field(message, path, value)
    for path, value in values.items():
        _set_field(message, path, value)
    return [message]


def _parse(message: Message, value: object) -> Message:
    if not isinstance(value, dict):
        raise ValueError("the body is not a JSON object")
    return json_format.ParseDict(value, message, max_recursion_depth=JSON_DEPTH_MAX)


def _json_values(text: str) -> Iterable[object]:
    """JSON values one behind another, with white space or nothing between."""
    decoder = json.JSONDecoder()
    at = 0
    count = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        count += 1
        if count > MESSAGES_MAX:
            raise ValueError("too many messages in one body")
        yield value


def _set_field(message: Message, path: str, value: str) -> None:
    """Sets the field at a dotted path from text; repeated fields grow. Raises ValueError or ParseError."""
    *parents, name = path.split(".")
    for parent in parents:
        field = message.DESCRIPTOR.fields_by_name.get(parent)
        if field is None or field.message_type is None or field.is_repeated:
            raise ValueError(f"no such field: {path}")
        message = getattr(message, parent)
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise ValueError(f"no such field: {path}")
    converted: object = value
    if field.type == FieldDescriptor.TYPE_BOOL:
        if value not in ("true", "false"):
            raise ValueError(f"not a truth value: {path}={value}")
        converted = value == "true"
    json_format.ParseDict({name: [converted] if field.is_repeated else converted}, message)


def _read_headers(request: Request) -> tuple[tuple[tuple[str, str], ...], float | None]:
    metadata: list[tuple[str, str]] = []
    timeout_s: float | None = None
    for name, value in request.headers:
        if name == "authorization":
            metadata.append((name, value))
        elif name.startswith(METADATA_PREFIX):
            metadata.append((name.removeprefix(METADATA_PREFIX), value))
        elif name == "grpc-timeout":
            timeout_s = read_timeout_s(value.encode())
    return tuple(metadata), timeout_s


def _write_message(route: Route, message: Message) -> object:
    values = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return values.get(route.binding.response_body) if route.binding.response_body else values


async def _stream(route: Route, call: Any) -> AsyncIterator[bytes]:  # either engine's call
    try:
        async for message in call:
            yield json.dumps({"result": _write_message(route, message)}, separators=(",", ":")).encode() + b"\n"
    except grpc.aio.AioRpcError as error:
        yield json.dumps({"error": _error(error.code(), error.details() or "")}).encode() + b"\n"
    finally:
        call.cancel()


def _error(code: grpc.StatusCode, details: str) -> dict[str, object]:
    return {"error": details, "code": code.value[0], "message": details}


def _failure(code: grpc.StatusCode, details: str) -> Response:
    body = json.dumps(_error(code, details), separators=(",", ":")).encode()
    return Response(HTTP_STATUS[code], body, content_type="application/json")
