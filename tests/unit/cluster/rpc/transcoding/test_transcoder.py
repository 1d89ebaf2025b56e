"""Requests to a service with every kind of binding, over HTTP connections and straight to the handler."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.http import Headers, HttpError, HttpServer, Request, Response
from cluster.pb.orrery.rpctest.v1 import transcoding_pb2
from cluster.pb.orrery.rpctest.v1.transcoding_pb2 import Every
from cluster.pb.orrery.rpctest.v1.transcoding_pb2_grpc import TranscodingServicer, add_TranscodingServicer_to_server
from cluster.rpc.in_process import InProcessCalls
from cluster.rpc.transcoding import Transcoder
from cluster.rpc.transcoding.transcoder import QUERY_PARAMETERS_MAX
from runtime.real import StreamNet, SystemClock

Context = Any


class Servicer(TranscodingServicer):
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.metadata: dict[str, object] = {}
        self.streams_ended = asyncio.Event()

    async def Whole(self, request: Every, context: Context) -> Every:
        self.metadata = dict(context.invocation_metadata())
        if request.string_value:
            await context.abort(grpc.StatusCode[request.string_value], "as asked")
        await context.send_initial_metadata((("seen", "yes"),))
        return request

    async def ByName(self, request: Every, context: Context) -> Every:
        return request

    ByNumber = UnderFiles = Part = Publish = NotAnnotated = ByName

    async def Stream(self, request: Every, context: Context) -> AsyncIterator[Every]:
        try:
            for number in range(request.int32_value):
                yield Every(int32_value=number)
            if request.bool_value:
                await asyncio.Event().wait()
            if request.string_value:
                await context.abort(grpc.StatusCode[request.string_value], "as asked")
        finally:
            self.streams_ended.set()

    async def Echo(self, request_iterator: AsyncIterator[Every], context: Context) -> AsyncIterator[Every]:
        async for request in request_iterator:
            yield request

    async def Count(self, request_iterator: AsyncIterator[Every], context: Context) -> Every:
        return Every(int32_value=len([request async for request in request_iterator]))


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
def transcoder(servicer: Servicer) -> Transcoder:
    calls = InProcessCalls()
    add_TranscodingServicer_to_server(servicer, calls)
    return Transcoder(transcoding_pb2.DESCRIPTOR.services_by_name.values(), calls)


async def ask(
    transcoder: Transcoder, method: str, target: str, body: str | bytes = b"", *fields: tuple[str, str]
) -> tuple[int, str]:
    raw = body.encode() if isinstance(body, str) else body
    response = await transcoder(Request(method, target, Headers(fields), raw, "1.1", "127.0.0.1:9"))
    assert response.content_type == "application/json"
    return response.status, (await read(response)).decode()


async def read(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    try:
        return b"".join([part async for part in response.body])
    finally:
        await response.body.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "target", "body", "answer"),
    [
        ("POST", "/v1/whole", '{"int32_value":1}', {"int32_value": 1}),
        ("POST", "/v1/whole", "", {}),
        ("POST", "/v1/whole", " \n", {}),
        ("POST", "/v1/whole", "null", {}),
        ("POST", "/v1/whole", '{"int32_value":1} trailing', {"int32_value": 1}),
        ("POST", "/v1/whole?int32_value=2", "{}", {}),
        ("GET", "/v1/whole?int32_value=2&numbers=1&numbers=2", "", {"int32_value": 2, "numbers": ["1", "2"]}),
        ("GET", "/v1/whole?nested.camelCase=a+b%20c&unknown=1", "", {"nested": {"camelCase": "a b c"}}),
        ("GET", "/v1/whole?bytes_value=_-8%3D", "", {"bytes_value": "/+8="}),
        ("GET", "/v1/shelves/1/books/a%20b", "", {"string_value": "shelves/1/books/a b"}),
        ("GET", "/v1/shelves/1/books/2?string_value=other", "", {"string_value": "shelves/1/books/2"}),
        ("GET", "/v1/numbers/-7", "", {"nested": {"int64_value": "-7"}}),
        ("GET", "/v1/files/a/b%2Fc", "", {"string_value": "a/b%2Fc"}),
        ("PUT", "/v1/parts/x?nested.int32_value=4&int32_value=5", '{"int32_value":3}', {"int32_value": 3}),
        ("PUT", "/v1/parts/x", "", {}),
        ("POST", "/v1/parts/x:publish", '{"string_value":"y"}', {"string_value": "x"}),
        ("POST", "/v1/count", "{}{} {}\n", {"int32_value": 3}),
        ("POST", "/v1/count", "", {}),
    ],
)  # fmt: skip
async def test_requests_become_messages(
    transcoder: Transcoder, method: str, target: str, body: str, answer: dict[str, object]
) -> None:
    status, text = await ask(transcoder, method, target, body)
    assert (status, json.loads(text)) == (200, answer)


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code"),
    [
        ("POST", "/v1/whole", "{", 400, 3),
        ("POST", "/v1/whole", '{"int32_value":"x"}', 400, 3),
        ("GET", "/v1/whole?int32_value=x", "", 400, 3),
        ("GET", "/v1/whole?" + "&".join(["a=b"] * (QUERY_PARAMETERS_MAX + 1)), "", 400, 3),
        ("GET", "/v1/numbers/x", "", 400, 3),
        ("POST", "/v1/whole", '{"string_value":"FAILED_PRECONDITION"}', 412, 9),
        ("POST", "/v1/whole", '{"string_value":"UNAVAILABLE"}', 503, 14),
        ("POST", "/v1/count", "xx", 500, 2),
        ("GET", "/v1/stream?string_value=NOT_FOUND", "", 404, 5),
    ],
)
async def test_errors(transcoder: Transcoder, method: str, target: str, body: str, status: int, code: int) -> None:
    found, text = await ask(transcoder, method, target, body)
    error = json.loads(text)
    assert (found, error["code"]) == (status, code)
    assert error["error"] == error["message"] != ""


async def test_paths_that_are_none(transcoder: Transcoder) -> None:
    for method, path, status in (("GET", "/v1/none", 404), ("PATCH", "/v1/whole", 405), ("GET", "*", 404)):
        with pytest.raises(HttpError) as caught:
            await ask(transcoder, method, path)
        assert caught.value.status == status


async def test_a_method_without_a_servicer_is_unimplemented() -> None:
    transcoder = Transcoder(transcoding_pb2.DESCRIPTOR.services_by_name.values(), InProcessCalls())
    for target in ("/v1/whole", "/v1/stream"):
        status, text = await ask(transcoder, "GET", target)
        assert (status, json.loads(text)["code"]) == (501, 12)


async def test_metadata_goes_in_and_comes_out(transcoder: Transcoder, servicer: Servicer) -> None:
    fields = (("grpc-metadata-token", "secret"), ("authorization", "abc"))
    response = await transcoder(Request("POST", "/v1/whole", Headers(fields), b"", "1.1", "127.0.0.1:9"))
    assert ("grpc-metadata-seen", "yes") in response.headers
    assert servicer.metadata["token"] == "secret"
    assert servicer.metadata["authorization"] == "abc"
    status, _ = await ask(transcoder, "POST", "/v1/whole", "", ("grpc-timeout", "x"))
    assert status == 400
    status, _ = await ask(transcoder, "POST", "/v1/count", "", ("grpc-timeout", "x"))
    assert status == 400


async def test_streams_are_lines(transcoder: Transcoder) -> None:
    status, text = await ask(transcoder, "GET", "/v1/stream?int32_value=20")
    assert status == 200
    assert [json.loads(line) for line in text.splitlines()] == [
        {"result": {"int32_value": number} if number else {}} for number in range(20)
    ]
    assert await ask(transcoder, "GET", "/v1/stream") == (200, "")


async def test_each_response_is_a_chunk_of_its_own(transcoder: Transcoder) -> None:
    response = await transcoder(Request("GET", "/v1/stream?int32_value=3", Headers(()), b"", "1.1"))
    assert not isinstance(response.body, bytes)
    assert [part async for part in response.body] == [
        b'{"result":{}}\n',
        b'{"result":{"int32_value":1}}\n',
        b'{"result":{"int32_value":2}}\n',
    ]


async def test_a_stream_that_fails_late_ends_with_an_error(transcoder: Transcoder) -> None:
    status, text = await ask(transcoder, "GET", "/v1/stream?int32_value=1&string_value=ABORTED")
    assert status == 200
    result, error = (json.loads(line) for line in text.splitlines())
    assert result == {"result": {}}
    assert error["error"]["grpc_code"] == 10
    assert error["error"]["http_code"] == 409
    assert error["error"]["message"] == "as asked"


async def test_a_stream_ends_at_its_deadline(transcoder: Transcoder, servicer: Servicer) -> None:
    target = "/v1/stream?int32_value=1&bool_value=true"
    _, text = await ask(transcoder, "GET", target, "", ("grpc-timeout", "20m"))
    assert json.loads(text.splitlines()[-1])["error"]["grpc_code"] == 4
    assert servicer.streams_ended.is_set()


async def test_requests_of_a_stream_follow_one_another(transcoder: Transcoder) -> None:
    status, text = await ask(transcoder, "POST", "/v1/echo", '{"int32_value":1}\n{"int32_value":2}xx{"int32_value":3}')
    assert status == 200
    assert [json.loads(line)["result"]["int32_value"] for line in text.splitlines()] == [1, 2]


async def test_over_a_connection_a_stream_comes_as_it_is_made_and_ends_with_its_reader(
    transcoder: Transcoder, servicer: Servicer
) -> None:
    server = HttpServer(StreamNet(), SystemClock(), "127.0.0.1:0", transcoder)
    await server.start()
    host, port = server.address.rsplit(":", 1)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/stream?int32_value=1&bool_value=true HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert await reader.readuntil(b"\n") == b"e\r\n"
        assert await reader.readuntil(b"\n") == b'{"result":{}}\n'
        assert not servicer.streams_ended.is_set()
        writer.close()
        await servicer.streams_ended.wait()
    await server.stop(1.0)


async def test_over_a_connection_one_answers_after_another(transcoder: Transcoder) -> None:
    server = HttpServer(StreamNet(), SystemClock(), "127.0.0.1:0", transcoder)
    await server.start()
    host, port = server.address.rsplit(":", 1)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b'{"int32_value":5}'
        request = b"POST /v1/whole HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        writer.write(request * 3)
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert await reader.readexactly(len(body)) == body
        writer.close()
    await server.stop(1.0)
