"""The channel: connecting, waiting, losing a connection and finding another."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
import pytest

from cluster.rpc.grpc import CallFailed, Channel, ChannelOptions, Server, ServerOptions
from cluster.rpc.http2 import Limits, frames
from runtime.real import StreamNet, SystemRandomness
from tests.unit.free_ports import free_port

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
HOST = "127.0.0.1"
READY = grpc.ChannelConnectivity.READY
QUICK = ChannelOptions(backoff_s_min=0.01, backoff_s_max=0.05, linger_s_max=0.1)


class Handlers(grpc.GenericRpcHandler):
    """`/t.T/Echo`, and `/t.T/Wait` that waits for its gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.started = asyncio.Event()

    async def echo(self, request: bytes, context: Context) -> bytes:
        return request

    async def wait(self, request: bytes, context: Context) -> bytes:
        self.started.set()
        await self.gate.wait()
        return request

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        behavior: Any = {"/t.T/Echo": self.echo, "/t.T/Wait": self.wait}.get(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(behavior) if behavior else None


async def serve(port: int = 0, limits: Limits | None = None) -> tuple[Server, int, Handlers]:
    server = Server(StreamNet(), ServerOptions(limits=limits or Limits(), linger_s_max=0.1))
    handlers = Handlers()
    server.add_generic_rpc_handlers([handlers])
    return server, await server.listen(HOST, port), handlers


def channel_to(*ports: int, options: ChannelOptions = QUICK) -> Channel:
    target = ",".join(f"{HOST}:{port}" for port in ports)
    return Channel(target, StreamNet(), SystemRandomness(), options)


async def failure(call: Any) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await call
    return caught.value


async def test_nobody_there_fails_at_once_and_for_certain() -> None:
    async with channel_to(free_port()) as channel:
        error = await failure(channel.unary_unary("/t.T/Echo")(b""))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert error.definite
        assert "failed to connect" in (error.details() or "")


@pytest.mark.parametrize("host", ["kv..1", "a" * 64, "\x00", "\udc80"])
async def test_a_host_that_no_resolver_takes_fails_at_once(host: str) -> None:
    async with Channel(f"{host}:1", StreamNet(), SystemRandomness(), QUICK) as channel, asyncio.timeout(10):
        for _ in range(2):
            error = await failure(channel.unary_unary("/t.T/Echo")(b""))
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert error.definite


async def test_waiting_for_a_server_that_comes_later() -> None:
    port = free_port()
    async with channel_to(port) as channel, asyncio.timeout(10):
        call = channel.unary_unary("/t.T/Echo")(b"x", wait_for_ready=True)
        while channel.get_state() is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            await channel.wait_for_state_change(channel.get_state())
        server, _, _ = await serve(port)
        assert await call == b"x"
        await server.stop(None)


async def test_a_deadline_strikes_while_waiting() -> None:
    async with channel_to(free_port()) as channel, asyncio.timeout(5):
        error = await failure(channel.unary_unary("/t.T/Echo")(b"", wait_for_ready=True, timeout=0.05))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert error.definite


async def test_a_restarted_server_is_found_again() -> None:
    server, port, _ = await serve()
    async with channel_to(port) as channel, asyncio.timeout(10):
        assert await channel.unary_unary("/t.T/Echo")(b"1") == b"1"
        await server.stop(None)
        again, _, _ = await serve(port)
        assert await channel.unary_unary("/t.T/Echo")(b"2", wait_for_ready=True) == b"2"
        await again.stop(None)


async def test_a_server_that_leaves_as_soon_as_it_came_is_not_waited_for() -> None:
    """Settings and GOAWAY in one segment: the connection is over in the moment in which it is ready."""

    async def greet_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.settings_frame({}) + frames.goaway_frame(0, 0, b"leaving"))
        writer.close()

    listener = await asyncio.start_server(greet_and_leave, HOST, 0)
    port = int(listener.sockets[0].getsockname()[1])
    async with asyncio.timeout(5), channel_to(port) as channel:
        assert (await failure(channel.unary_unary("/t.T/Echo")(b""))).code() is grpc.StatusCode.UNAVAILABLE
        patient = channel.unary_unary("/t.T/Echo")(b"at last", wait_for_ready=True)
        listener.close()
        await listener.wait_closed()
        server, _, _ = await serve(port)
        assert await patient == b"at last"
    await server.stop(None)


async def test_the_next_address_is_tried() -> None:
    server, port, _ = await serve()
    async with channel_to(free_port(), port) as channel, asyncio.timeout(10):
        assert await channel.unary_unary("/t.T/Echo")(b"x") == b"x"
    await server.stop(None)


async def test_a_call_in_flight_on_a_lost_connection_may_have_had_an_effect() -> None:
    server, port, handlers = await serve()
    async with channel_to(port) as channel, asyncio.timeout(10):
        call = channel.unary_unary("/t.T/Wait")(b"")
        await handlers.started.wait()
        for connection in list(server._serving.connections):
            connection.abort()
        error = await failure(call)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert not error.definite
    await server.stop(None)


async def test_calls_wait_for_a_free_stream() -> None:
    server, port, handlers = await serve(limits=Limits(streams_max=2))
    async with channel_to(port) as channel, asyncio.timeout(10):
        await channel.channel_ready()
        calls = [channel.unary_unary("/t.T/Wait")(b"%d" % number) for number in range(10)]
        await handlers.started.wait()
        assert server.calls == 2
        handlers.gate.set()
        assert [await call for call in calls] == [b"%d" % number for number in range(10)]
    await server.stop(None)


async def test_too_many_waiting_calls_are_refused() -> None:
    async with channel_to(free_port(), options=ChannelOptions(calls_waiting_max=3)) as channel:
        calls = [channel.unary_unary("/t.T/Echo")(b"", wait_for_ready=True, timeout=0.1) for _ in range(4)]
        assert (await failure(calls[3])).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in calls[:3]:
            assert (await failure(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED


class Refusing(StreamNet):
    """Nobody listens, and each attempt fails in the very turn in which `struck` cancels it."""

    strike: Callable[[], object]

    async def connect(self, *arguments: Any, **keywords: Any) -> Any:
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused.set_exception(ConnectionRefusedError("nobody"))
        asyncio.get_running_loop().call_soon(self.strike)
        await asyncio.sleep(0)
        await refused


async def test_closing_is_not_lost_on_an_attempt_that_fails_just_then() -> None:
    """Fails with `asyncio.wait_for` around the attempt, on Python 3.11: the channel then connects for ever."""
    net = Refusing()
    closing: list[asyncio.Task[None]] = []
    async with asyncio.timeout(5):
        channel = Channel(f"{HOST}:1", net, SystemRandomness(), QUICK)
        net.strike = lambda: closing.append(asyncio.create_task(channel.close()))
        channel.get_state(try_to_connect=True)
        while not closing:
            await asyncio.sleep(0)
        await asyncio.gather(*closing)
        assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_states() -> None:
    server, port, _ = await serve()
    channel = channel_to(port)
    assert channel.get_state() is grpc.ChannelConnectivity.IDLE
    async with asyncio.timeout(5):
        await channel.channel_ready()
        assert channel.get_state() is READY
        await server.stop(None)
        while channel.get_state() is READY:
            await channel.wait_for_state_change(READY)
    await channel.close()
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    error = await failure_of_cancel(channel.unary_unary("/t.T/Echo")(b""))
    assert error is grpc.StatusCode.CANCELLED
    with pytest.raises(grpc.aio.UsageError):
        await channel.channel_ready()


async def failure_of_cancel(call: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = await call.code()
    return code


async def test_close_cancels_and_a_grace_lets_end() -> None:
    server, port, handlers = await serve()
    async with asyncio.timeout(10):
        channel = channel_to(port)
        call = channel.unary_unary("/t.T/Wait")(b"x")
        await handlers.started.wait()
        closing = asyncio.create_task(channel.close(5))
        await asyncio.sleep(0)
        handlers.gate.set()
        await closing
        assert await call == b"x"
        handlers.gate.clear()
        handlers.started.clear()
        channel = channel_to(port)
        call = channel.unary_unary("/t.T/Wait")(b"x")
        await handlers.started.wait()
        await channel.close()
        assert await call.code() is grpc.StatusCode.CANCELLED
    await server.stop(None)


async def test_leaving_is_told_as_a_loss_and_a_grace_lets_end() -> None:
    server, port, handlers = await serve()
    channel = channel_to(port)
    running = channel.unary_unary("/t.T/Wait")(b"x")
    await handlers.started.wait()
    leaving = asyncio.create_task(channel.leave(10, "not wanted"))
    await asyncio.sleep(0)
    handlers.gate.set()
    assert await running == b"x"
    await leaving
    handlers.gate.clear()
    for grace in (None, 0.02, 10):
        channel = channel_to(port)
        handlers.started.clear()
        running = channel.unary_unary("/t.T/Wait")(b"x")
        await handlers.started.wait()
        leaving = asyncio.create_task(channel.leave(grace, "not wanted"))
        if grace == 10:
            await asyncio.sleep(0.02)
            leaving.cancel()
        error = await failure(running)
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "not wanted")
        assert not error.definite
        await asyncio.gather(leaving, return_exceptions=True)
        assert (await failure(channel.unary_unary("/t.T/Echo")(b"x"))).definite
    waits = channel_to(free_port())
    waiting = waits.unary_unary("/t.T/Echo")(b"x", wait_for_ready=True)
    await waits.leave(None, "not wanted")
    error = await failure(waiting)
    assert (error.code(), error.definite) == (grpc.StatusCode.UNAVAILABLE, True)
    await server.stop(None)


async def test_cancelling_the_awaiter_cancels_the_call() -> None:
    server, port, handlers = await serve()
    async with channel_to(port) as channel, asyncio.timeout(5):
        call = channel.unary_unary("/t.T/Wait")(b"x")

        async def wait() -> object:
            return await call

        task = asyncio.create_task(wait())
        await handlers.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled()
        while server.calls:
            await asyncio.sleep(0.01)
    await server.stop(None)


@pytest.mark.parametrize("key", ["Upper", "a b", "grpc-status", "content-type", ""])
async def test_metadata_that_cannot_be_sent(key: str) -> None:
    server, port, _ = await serve()
    async with channel_to(port) as channel:
        error = await failure(channel.unary_unary("/t.T/Echo")(b"", metadata=((key, "x"),)))
        assert "metadata was invalid" in (error.details() or "")
    await server.stop(None)


class Scripted(asyncio.Protocol):
    """A server that answers each connection's first request with given bytes."""

    def __init__(self, answer: Callable[[int], bytes]) -> None:
        self.answer = answer
        self.seen = b""
        self.answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are none of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(frames.settings_frame({}))

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if b"/t.T/Echo" in self.seen and not self.answered:
            self.answered = True
            self.transport.write(self.answer(1))


async def scripted(answers: list[bytes]) -> tuple[asyncio.Server, int]:
    """Connections get the answers in turn, the last one for ever."""

    def make() -> Scripted:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return Scripted(lambda stream_id: answer)

    listener = await asyncio.get_running_loop().create_server(make, HOST, 0)
    return listener, int(listener.sockets[0].getsockname()[1])


MESSAGE = (
    frames.headers_frames(1, b"\x88\x5f\x10application/grpc", 0, 16_384)
    + frames.frame_header(6, 0, 0, 1) + b"\0\0\0\0\1x"
)  # fmt: skip
OK = (
    MESSAGE
    + frames.headers_frames(1, b"\x00\x0bgrpc-status\x010", 1, 16_384)
)  # fmt: skip


async def test_what_no_server_touched_is_sent_anew() -> None:
    listener, port = await scripted([frames.goaway_frame(0, 0, b"bye"), OK])
    async with channel_to(port) as channel, asyncio.timeout(5):
        assert await channel.unary_unary("/t.T/Echo")(b"") == b"x"
    listener.close()


async def test_a_refusal_for_ever_ends_as_unavailable_and_certain() -> None:
    listener, port = await scripted([frames.goaway_frame(0, 0, b"bye")])
    async with channel_to(port) as channel, asyncio.timeout(5):
        error = await failure(channel.unary_unary("/t.T/Echo")(b""))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert error.definite
    listener.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (frames.reset_frame(1, 8), grpc.StatusCode.CANCELLED),
        (frames.reset_frame(1, 2), grpc.StatusCode.INTERNAL),
        (frames.reset_frame(1, 11), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (frames.headers_frames(1, b"\x48\x03503", 1, 16_384), grpc.StatusCode.UNAVAILABLE),
        (frames.headers_frames(1, b"\x48\x03404", 0, 16_384), grpc.StatusCode.UNIMPLEMENTED),
        (frames.headers_frames(1, b"\x88\x5f\x09text/html", 0, 16_384), grpc.StatusCode.UNKNOWN),
        (frames.headers_frames(1, b"\x88", 1, 16_384), grpc.StatusCode.UNKNOWN),
        (frames.frame_header(4, 7, 0, 0) + b"\0\0\0\0", grpc.StatusCode.INTERNAL),
        (MESSAGE + frames.headers_frames(1, b"\x00\x0bgrpc-status\x0277", 1, 16_384), grpc.StatusCode.UNKNOWN),
    ],
)  # fmt: skip
async def test_answers_that_are_not_a_response(answer: bytes, code: grpc.StatusCode) -> None:
    listener, port = await scripted([answer])
    async with channel_to(port) as channel, asyncio.timeout(5):
        error = await failure(channel.unary_unary("/t.T/Echo")(b""))
        assert error.code() is code
        assert not error.definite
    listener.close()


async def test_a_server_that_stops_answering_is_given_up() -> None:
    listener, port = await scripted([b""])
    options = ChannelOptions(keepalive_s=0.05, keepalive_timeout_s=0.05)
    async with channel_to(port, options=options) as channel, asyncio.timeout(5):
        error = await failure(channel.unary_unary("/t.T/Echo")(b""))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert not error.definite
    listener.close()


@pytest.mark.parametrize("target", ["", "x:99999", "unix:///tmp/x", "dns:///", "[::1"])
async def test_targets_that_are_none(target: str) -> None:
    with pytest.raises(ValueError, match=r"not a|not served"):
        Channel(target, StreamNet(), SystemRandomness())
