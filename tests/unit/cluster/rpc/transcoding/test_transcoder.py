"""JSON in and out, against a servicer on our engine."""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from cluster.http import Headers, HttpError, Request
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2 as pb
from cluster.pb.orrery.rpctest.v1 import rpctest_pb2_grpc as stubs
from cluster.rpc import create_channel, create_server, listen
from cluster.rpc.transcoding import Binding, Transcoder
from runtime.real import StreamNet, SystemRandomness


class Servicer(stubs.TestServiceServicer):
    async def EmptyCall(self, request: pb.Empty, context: Any) -> pb.Empty:
        metadata = dict(context.invocation_metadata())
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"{metadata['authorization']} {metadata['trace']}")
        return pb.Empty()

    async def UnaryCall(self, request: pb.SimpleRequest, context: Any) -> pb.SimpleResponse:
        if request.response_status.code:
            await context.abort(grpc.StatusCode.NOT_FOUND, request.response_status.message)
        body = request.response_status.message.encode() or request.payload.body or b"\0" * request.response_size
        return pb.SimpleResponse(payload=pb.Payload(body=body))

    async def StreamingOutputCall(
        self, request: pb.StreamingOutputCallRequest, context: Any
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        for parameters in request.response_parameters:
            yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=b"\0" * parameters.size))
        if request.response_status.code:
            await context.abort(grpc.StatusCode.ABORTED, "half way")

    async def FullDuplexCall(
        self, request_iterator: AsyncIterator[pb.StreamingOutputCallRequest], context: Any
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        async for request in request_iterator:
            yield pb.StreamingOutputCallResponse(payload=request.payload)


@pytest.fixture
async def transcoder() -> AsyncIterator[Transcoder]:
    net = StreamNet()
    server = create_server(net=net)
    make: Any = Servicer
    stubs.add_TestServiceServicer_to_server(make(), server)
    port = await listen(server, "127.0.0.1:0")
    service = pb.DESCRIPTOR.services_by_name["TestService"]
    extra = {
        f"{service.full_name}.EmptyCall": [Binding("POST", "/v3/empty", body="*")],
        f"{service.full_name}.FullDuplexCall": [Binding("POST", "/v3/chat", body="*")],
    }
    async with create_channel(f"127.0.0.1:{port}", net=net, random=SystemRandomness()) as channel:
        yield Transcoder(channel, [service], extra)
    await server.stop(None)


async def ask(
    transcoder: Transcoder, verb: str, target: str, body: bytes = b"", fields: tuple[tuple[str, str], ...] = ()
) -> tuple[int, Any]:
    response = await transcoder(Request(verb, target, Headers(fields), body, "1.1"))
    assert response.content_type == "application/json"
    if isinstance(response.body, bytes):
        return response.status, json.loads(response.body)
    return response.status, [json.loads(line) async for line in response.body]


async def test_a_body_is_the_request_and_bytes_are_base64(transcoder: Transcoder) -> None:
    assert await ask(transcoder, "POST", "/v1/unary", b'{"payload": {"body": "aGVsbG8="}}') == (
        200,
        {"payload": {"body": "aGVsbG8="}},
    )


async def test_path_and_query_fill_fields(transcoder: Transcoder) -> None:
    assert await ask(transcoder, "GET", "/v1/sizes/3") == (200, {"body": "AAAA"})
    assert await ask(transcoder, "GET", "/v1/sizes/0?payload.body=aGVsbG8%3D&response_compressed=true") == (
        200,
        {"body": "aGVsbG8="},
    )


async def test_a_template_of_several_segments_and_a_verb(transcoder: Transcoder) -> None:
    status, answer = await ask(transcoder, "PUT", "/v1/status/a/b/c%20d/e:set", b"{}")
    assert (status, answer) == (200, {"payload": {"body": "YS9iL2MgZC9l"}})
    with pytest.raises(HttpError):
        await ask(transcoder, "PUT", "/v1/status/b/b/c:set", b"{}")


async def test_a_failure_is_a_status_and_a_message(transcoder: Transcoder) -> None:
    body = b'{"response_status": {"code": 5, "message": "none such"}}'
    assert await ask(transcoder, "POST", "/v1/unary", body) == (
        404,
        {"error": "none such", "code": 5, "message": "none such"},
    )


async def test_metadata_and_authorization_are_handed_on(transcoder: Transcoder) -> None:
    fields = (("authorization", "token"), ("grpc-metadata-trace", "abc"), ("cookie", "x"), ("grpc-timeout", "5S"))
    status, answer = await ask(transcoder, "POST", "/v3/empty", b"", fields)
    assert (status, answer["message"]) == (401, "token abc")


async def test_a_stream_is_a_line_a_message_and_its_failure_the_last(transcoder: Transcoder) -> None:
    body = b'{"response_parameters": [{"size": 1}, {"size": 2}], "response_status": {"code": 10}}'
    status, lines = await ask(transcoder, "POST", "/v1/stream", body)
    assert status == 200
    assert lines == [
        {"result": {"payload": {"body": "AA=="}}},
        {"result": {"payload": {"body": "AAA="}}},
        {"error": {"error": "half way", "code": 10, "message": "half way"}},
    ]


async def test_a_stream_of_requests_is_json_values_in_the_body(transcoder: Transcoder) -> None:
    body = b'{"payload": {"body": "AA=="}}\n {"payload": {"body": "AQ=="}}{}'
    status, lines = await ask(transcoder, "POST", "/v3/chat", body)
    assert (status, lines) == (
        200,
        [
            {"result": {"payload": {"body": "AA=="}}},
            {"result": {"payload": {"body": "AQ=="}}},
            {"result": {"payload": {}}},
        ],
    )


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/unary", b"{"),
        ("/v1/unary", b"[]"),
        ("/v1/unary", b'{"none": 1}'),
        ("/v1/unary", b'{"response_size": "x"}'),
        ("/v1/unary", b"\xff"),
        ("/v1/unary", b'{"payload":' * 50_000),
        ("/v3/chat", b"{} {"),
    ],
)
async def test_bodies_that_are_none(transcoder: Transcoder, target: str, body: bytes) -> None:
    status, answer = await ask(transcoder, "POST", target, body)
    assert (status, answer["code"]) == (400, 3)


@pytest.mark.parametrize(
    "target",
    ["/v1/sizes/x", "/v1/sizes/1?none=1", "/v1/sizes/1?payload.none=1", "/v1/sizes/1?response_compressed=maybe"],
)
async def test_fields_that_are_none(transcoder: Transcoder, target: str) -> None:
    status, answer = await ask(transcoder, "GET", target)
    assert (status, answer["code"]) == (400, 3)


@pytest.mark.parametrize(("verb", "target"), [("GET", "/v1/unary"), ("POST", "/v1/unary/"), ("GET", "/v1/sizes/1/2")])
async def test_what_no_rule_matches(transcoder: Transcoder, verb: str, target: str) -> None:
    with pytest.raises(HttpError) as caught:
        await ask(transcoder, verb, target)
    assert caught.value.status == 404
