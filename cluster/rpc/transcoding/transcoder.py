"""A handler for `cluster.http` that answers JSON requests with the calls they stand for.

    calls = InProcessCalls(interceptors)
    add_KVServicer_to_server(servicer, calls)
    handler = Transcoder(rpc_pb2.DESCRIPTOR.services_by_name.values(), calls)

The shapes are grpc-gateway's. One response is one JSON object. A stream of responses is a line `{"result": ...}` for
each, as they come; its HTTP status is decided by what comes first, a response or an error. A stream of requests is a
body of JSON values one after another: HTTP/1.1 cannot have more requests follow once the response has begun.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import cast
from urllib.parse import parse_qsl

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from cluster.http import HttpError, Request, Response
from cluster.rpc.in_process import InProcessCalls, Requests, ResponseStream
from cluster.rpc.transcoding.bindings import WHOLE, Binding, Found, Routes
from cluster.rpc.transcoding.decoding import DecodeError, JsonDecoder, parse_json, skip_whitespace
from cluster.rpc.transcoding.encoding import JsonEncoder, encode_document
from cluster.rpc.transcoding.errors import HTTP_STATUS, error_body, stream_error_line
from cluster.rpc.transcoding.fields import set_field
from cluster.rpc.transcoding.headers import HeaderError, header_fields, metadata_of, timeout_s_of

log = logging.getLogger(__name__)

JSON = "application/json"
QUERY_PARAMETERS_MAX = 256
"""Query parameters of a request."""


class Transcoder:
    """Answers the requests that the services' annotations name. Others get 404, or 405 for a known path."""

    def __init__(self, services: Iterable[ServiceDescriptor], calls: InProcessCalls) -> None:
        """Raises BindingError or TemplateError when an annotation is wrong."""
        self._routes = Routes(services)
        self._calls = calls
        self._encoder = JsonEncoder()
        self._decoder = JsonDecoder()

    async def __call__(self, request: Request) -> Response:
        """Answers the request. Raises HttpError when it is for no method."""
        path, _, query = request.target.partition("?")
        found = self._routes.find(request.method, path)
        if found is None:
            if self._routes.methods_at(path):
                raise HttpError(405, "Method Not Allowed")
            raise HttpError(404, "Not Found")
        try:
            metadata, timeout_s = metadata_of(request), timeout_s_of(request)
            requests = self._requests(found, query, request.body)
        except (DecodeError, HeaderError) as error:
            # grpc-gateway has UNKNOWN for a stream's first message, and etcd's users read the code.
            is_stream = found.binding.method.client_streaming and isinstance(error, DecodeError)
            code = grpc.StatusCode.UNKNOWN if is_stream else grpc.StatusCode.INVALID_ARGUMENT
            return _failure(code, str(error))
        binding = found.binding
        if binding.method.server_streaming:
            stream = self._calls.stream(
                binding.path, requests, metadata=metadata, timeout_s=timeout_s, peer=_peer(request)
            )
            return await self._answer_stream(binding, stream)
        try:
            response, context = await self._calls.unary(
                binding.path, requests, metadata=metadata, timeout_s=timeout_s, peer=_peer(request)
            )
        except grpc.aio.AioRpcError as error:
            return _failure(error.code(), error.details() or "")
        body = encode_document(self._document(binding, cast(Message, response)))
        return Response(200, body, JSON, header_fields(context.initial_metadata or ()))

    # ---- requests

    def _requests(self, found: Found, query: str, body: bytes) -> Requests:
        """The call's requests. The first is read before anything runs: when it is malformed, nothing does."""
        if not found.binding.method.client_streaming:
            return Requests((self._one_request(found, query, body),))
        messages = self._many_requests(found.binding, body)
        return Requests(chain(tuple(islice(messages, 1)), messages))

    def _one_request(self, found: Found, query: str, body: bytes) -> Message:
        binding = found.binding
        message = GetMessageClass(binding.method.input_type)()
        if binding.body:
            text = body.decode("utf-8", "replace")
            # What follows the first value is ignored, and no value is an empty message: grpc-gateway's clients may
            # rely on either.
            if skip_whitespace(text, 0) < len(text):
                document, _ = parse_json(text)
                if binding.body == WHOLE:
                    self._decoder.read(message, document)
                else:
                    self._decoder.read_field(message, binding.body, document)
        if binding.body != WHOLE and query:
            self._read_query(binding, message, query)
        for field_path, text in found.variables:
            set_field(message, field_path, (text,))
        return message

    def _read_query(self, binding: Binding, message: Message, query: str) -> None:
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_PARAMETERS_MAX)
        except ValueError:
            raise DecodeError(f"more than {QUERY_PARAMETERS_MAX} query parameters") from None
        texts: dict[tuple[str, ...], list[str]] = {}
        for name, text in pairs:
            texts.setdefault(tuple(name.split(".")), []).append(text)
        taken = {variable.field_path for variable in binding.template.variables}
        for path, values in texts.items():
            # Parameters that name no field are ignored, as unknown fields of a body are.
            if path not in taken and path[0] != binding.body:
                set_field(message, path, values)

    def _many_requests(self, binding: Binding, body: bytes) -> Iterator[Message]:
        kind = GetMessageClass(binding.method.input_type)
        text = body.decode("utf-8", "replace")
        at = skip_whitespace(text, 0)
        is_first = True
        while at < len(text):
            try:
                document, at = parse_json(text, at)
                message = kind()
                self._decoder.read(message, document)
            except DecodeError as error:
                if is_first:
                    raise
                # The call is under way: as in grpc-gateway, the stream of requests ends here.
                log.info("%s: a later request of a stream cannot be read: %s", binding.path, error)
                return
            is_first = False
            yield message
            at = skip_whitespace(text, at)

    # ---- responses

    def _document(self, binding: Binding, message: Message) -> object:
        if binding.response_body:
            return self._encoder.field_document(message, binding.response_body)
        return self._encoder.document(message)

    async def _answer_stream(self, binding: Binding, stream: ResponseStream) -> Response:
        try:
            first = await anext(stream, None)
        except grpc.aio.AioRpcError as error:
            return _failure(error.code(), error.details() or "")
        except BaseException:
            await stream.aclose()
            raise
        headers = header_fields(stream.context.initial_metadata or ())
        return Response(200, _Lines(partial(self._line, binding), first, stream), JSON, headers)

    def _line(self, binding: Binding, message: Message) -> bytes:
        return encode_document({"result": self._document(binding, message)}) + b"\n"


class _Lines:
    """A stream of responses as parts of a body.

    Each is a part of its own, and so a chunk on the wire, though joining those that are ready would be cheaper: there
    are clients (etcd3gw) that take a chunk for a line.
    """

    def __init__(self, encode: Callable[[Message], bytes], first: object, stream: ResponseStream) -> None:
        self._encode = encode
        self._next: object = first
        self._stream = stream
        self._ended = first is None

    def __aiter__(self) -> "_Lines":
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            response = self._next if self._next is not None else await anext(self._stream)
        except StopAsyncIteration:
            self._ended = True
            raise
        except grpc.aio.AioRpcError as error:
            self._ended = True
            return stream_error_line(error.code(), error.details() or "")
        self._next = None
        return self._encode(cast(Message, response))

    async def aclose(self) -> None:
        """Ends the call: the body's reader has gone, or has all of it."""
        await self._stream.aclose()


def _failure(code: grpc.StatusCode, message: str) -> Response:
    return Response(HTTP_STATUS[code], error_body(code, message), JSON)


def _peer(request: Request) -> str:
    """The peer as gRPC writes it."""
    host, _, port = request.peer.rpartition(":")
    if not host:
        return "unknown"
    return f"ipv6:%5B{host[1:-1]}%5D:{port}" if host.startswith("[") else f"ipv4:{host}:{port}"
