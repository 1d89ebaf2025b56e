"""The server's connection under bytes that are HTTP/2 but not gRPC: nothing escapes, nothing is left behind."""

import asyncio
from typing import Any, TypeAlias

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.rpc.grpc.server.connection import PING_STRIKES_MAX, ServerConnection, ServerOptions, Serving
from cluster.rpc.grpc.server.method import Method
from cluster.rpc.http2 import encode_headers, frames

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


async def echo(request: bytes, context: Context) -> bytes:
    return request


async def chat(requests: Any, context: Context) -> Any:
    async for request in requests:
        yield request


METHODS = {
    "/t/unary": Method("/t/unary", grpc.unary_unary_rpc_method_handler(echo)),
    "/t/chat": Method("/t/chat", grpc.stream_stream_rpc_method_handler(chat)),
}

field = st.sampled_from(
    [
        (b"content-type", b"application/grpc"),
        (b"content-type", b"application/grpc+proto"),
        (b"content-type", b"text/html"),
        (b"te", b"trailers"),
        (b"grpc-timeout", b"1n"),
        (b"grpc-timeout", b"soon"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-encoding", b"lz4"),
        (b"a-bin", b"!!!"),
        (b"a-bin", b"AAA"),
        (b"content-length", b"5"),
        (b"x", b"\xff"),
    ]
)
path = st.sampled_from([b"/t/unary", b"/t/chat", b"/t/none", b"*", b"/"])
body = st.one_of(
    st.sampled_from(
        [b"", b"\0\0\0\0\0", b"\0\0\0\0\1x", b"\1\0\0\0\1x", b"\0\0\0", b"\2\0\0\0\0", b"\0\xff\xff\xff\xff"]
    ),
    st.binary(max_size=30),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            path,
            st.sampled_from([b"POST", b"GET"]),
            st.lists(field, max_size=5),
            st.lists(body, max_size=4),
            st.sampled_from(["end", "reset", "trailers", "open"]),
        ),
        max_size=6,
    )
)
def test_no_request_escapes(requests: list[tuple[bytes, bytes, list[tuple[bytes, bytes]], list[bytes], str]]) -> None:
    async def play() -> None:
        serving = Serving(
            find=lambda path, metadata: METHODS.get(path),
            interceptors=(),
            observers=(),
            options=ServerOptions(keepalive_s=0),
            connections={},
        )
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
        connection = ServerConnection(asyncio.get_running_loop(), serving)
        connection.connection_made(Transport())
        connection.data_received(frames.PREFACE + frames.settings_frame({}))
        number = 1
        for path, method, fields, bodies, end in requests:
            head = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"), *fields]
            data = frames.headers_frames(number, encode_headers(head), 0, 16_384)
            for index, each in enumerate(bodies):
                ends = end == "end" and index == len(bodies) - 1
                data += frames.frame_header(len(each), 0, int(ends), number) + each
            if end == "reset":
                data += frames.reset_frame(number, 8)
            elif end == "trailers":
                data += frames.headers_frames(number, encode_headers([(b"t", b"x")]), 1, 16_384)
            connection.data_received(data)
            number += 2
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        for _ in range(20):
            await asyncio.sleep(0)
        serving.workers.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not failures
        assert serving.calls == 0
        assert not connection.http2.streams
        assert connection.http2.unconsumed >= 0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(play())


@pytest.mark.parametrize("written", [1_000])
async def test_a_full_transport_holds_replies_back(written: int) -> None:
    serving = Serving(
        find=lambda path, metadata: METHODS.get(path),
        interceptors=(),
        observers=(),
        options=ServerOptions(keepalive_s=0),
        connections={},
    )
    connection = ServerConnection(asyncio.get_running_loop(), serving)
    transport = Transport()
    connection.connection_made(transport)
    connection.data_received(frames.PREFACE + frames.settings_frame({}))
    connection.pause_writing()
    transport.written = b""
    head = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/t/unary"), (b":authority", b"x")]
    head += [(b"content-type", b"application/grpc")]
    for number in range(1, 2 * written, 2):
        block = frames.headers_frames(number, encode_headers(head), 0, 16_384)
        connection.data_received(block + frames.frame_header(6, 0, 1, number) + b"\0\0\0\0\1x")
    for _ in range(50):
        await asyncio.sleep(0)
    assert transport.written == b""
    assert len(connection.http2.streams) == written
    connection.resume_writing()
    assert transport.written.count(b"grpc-status") == written
    assert not connection.http2.streams
    connection.connection_lost(None)
    serving.workers.close()
    await asyncio.sleep(0)


async def pinged(interval_s_min: float, pings: int, *, serves: bool = False) -> Transport:
    """A connection whose client pings in one breath, with or without an answered call between any two."""
    serving = Serving(
        find=lambda path, metadata: METHODS.get(path),
        interceptors=(),
        observers=(),
        options=ServerOptions(keepalive_s=0, ping_interval_s_min=interval_s_min),
        connections={},
    )
    connection = ServerConnection(asyncio.get_running_loop(), serving)
    transport = Transport()
    connection.connection_made(transport)
    connection.data_received(frames.PREFACE + frames.settings_frame({}))
    head = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/t/unary"), (b":authority", b"x")]
    head += [(b"content-type", b"application/grpc")]
    for number in range(pings):
        connection.data_received(frames.ping_frame(b"12345678", acknowledge=False))
        if serves:
            block = frames.headers_frames(2 * number + 1, encode_headers(head), 0, 16_384)
            connection.data_received(block + frames.frame_header(6, 0, 1, 2 * number + 1) + b"\0\0\0\0\1x")
            for _ in range(5):
                await asyncio.sleep(0)
    connection.connection_lost(None)
    serving.workers.close()
    await asyncio.sleep(0)
    return transport


async def test_a_client_that_pings_without_need_is_told_to_go() -> None:
    assert b"too_many_pings" not in (await pinged(5.0, 1 + PING_STRIKES_MAX)).written
    assert b"too_many_pings" in (await pinged(5.0, 2 + PING_STRIKES_MAX)).written


async def test_pings_that_measure_traffic_are_welcome_and_no_interval_means_none() -> None:
    assert b"too_many_pings" not in (await pinged(5.0, 50, serves=True)).written
    assert b"too_many_pings" not in (await pinged(0.0, 50)).written
