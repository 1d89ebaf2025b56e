"""A trace goes through a process unchanged: from the call that is served to the calls that are made meanwhile."""

from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.rpc.grpc import Channel, Server
from cluster.rpc.trace_context import CURRENT_TRACE, STATE_BYTES_MAX, TraceContext, read_trace_context
from runtime.real import StreamNet, SystemRandomness

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_what_the_specification_shows() -> None:
    context = read_trace_context(f"00-{TRACE}-{PARENT}-01", "rojo=00f067aa0ba902b7")
    assert context == TraceContext(TRACE, PARENT, 1, "rojo=00f067aa0ba902b7")
    assert context.sampled
    assert context.metadata() == (
        ("traceparent", f"00-{TRACE}-{PARENT}-01"),
        ("tracestate", "rojo=00f067aa0ba902b7"),
    )


@pytest.mark.parametrize(
    "broken",
    [
        "",
        f"00-{TRACE}-{PARENT}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_a_broken_one_is_none(broken: str) -> None:
    assert read_trace_context(broken) is None


def test_a_later_version_is_read_by_what_is_known_of_it() -> None:
    context = read_trace_context(f"cc-{TRACE}-{PARENT}-01-what-comes")
    assert context is not None
    assert context.metadata() == (("traceparent", f"00-{TRACE}-{PARENT}-01"),)


def test_a_long_state_is_dropped_and_the_trace_kept() -> None:
    context = read_trace_context(f"00-{TRACE}-{PARENT}-00", "a" * (STATE_BYTES_MAX + 1))
    assert context == TraceContext(TRACE, PARENT)


@given(st.text(max_size=80), st.text(max_size=10))
def test_any_text_is_read_or_refused(traceparent: str, tracestate: str) -> None:
    read_trace_context(traceparent, tracestate)


async def test_a_trace_goes_on_to_the_calls_made_meanwhile_and_to_no_others() -> None:
    """Three calls one after another on the same worker: with a trace, without, with one that the servicer sets."""
    net, random = StreamNet(), SystemRandomness()
    seen: list[dict[str, str | bytes]] = []

    async def inner(request: bytes, context: Any) -> bytes:
        seen.append({key: value for key, value in context.invocation_metadata() if key.startswith("trace")})
        return request

    back, front = Server(net), Server(net)
    back.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("t.T", {"Inner": grpc.unary_unary_rpc_method_handler(inner)})]
    )
    onwards = Channel(f"127.0.0.1:{await back.listen('127.0.0.1', 0)}", net, random)

    async def outer(request: bytes, context: Any) -> object:
        named = [("traceparent", "mine")] if request == b"named" else None
        return await onwards.unary_unary("/t.T/Inner")(request, metadata=named)

    front.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("t.T", {"Outer": grpc.unary_unary_rpc_method_handler(outer)})]
    )
    channel = Channel(f"127.0.0.1:{await front.listen('127.0.0.1', 0)}", net, random)
    call = channel.unary_unary("/t.T/Outer")
    traced = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "a=1"), ("tracestate", "b=2")]
    await call(b"", metadata=traced)
    await call(b"")
    await call(b"named", metadata=traced)
    assert seen == [
        {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1,b=2"},
        {},
        {"traceparent": "mine"},
    ]
    assert CURRENT_TRACE.get() is None
    for closing in (channel, onwards):
        await closing.close()
    for server in (front, back):
        await server.stop(None)
