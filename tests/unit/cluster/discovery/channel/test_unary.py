"""One unary call: where it goes, when it is sent again, what it tells, and that it is counted once."""

import asyncio
import gc
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.discovery import (
    HASH_KEY,
    HASH_KEY_METADATA,
    BalancedChannel,
    BalancedOptions,
    RingHash,
    StaticSource,
)
from cluster.discovery.channel.subchannel import SubChannel
from cluster.discovery.source import Published
from runtime import Runtime
from tests.unit.cluster.discovery.simulated import Town, play


class Stubborn:
    """Always the first one that was not tried, well or not: what no balancer would do."""

    keeps_keys = False

    def __init__(self, _: Runtime) -> None:
        self.targets: Sequence[SubChannel] = ()

    def update(self, targets: Sequence[SubChannel], usable: Sequence[SubChannel]) -> None:
        self.targets = targets

    def pick(self, key: bytes | None, tried: Collection[SubChannel], in_flight: int) -> SubChannel | None:
        return next((target for target in self.targets if target not in tried), None)


UNREACHABLE_FIRST = ["a0:1", "a1:1", "s0:80"]


def scene(work: Any, source: Any = None, options: BalancedOptions | None = None, balancer: Any = None) -> None:
    """Plays `work(channel, town, runtime)` on the client's host, and looks that nothing is counted as running then."""

    async def scenario(town: Town) -> None:
        arguments = {} if balancer is None else {"balancer": balancer}
        channel = await town.channel(source() if source is not None else None, options, **arguments)

        async def whole(runtime: Runtime) -> None:
            await work(channel, town, runtime)
            await asyncio.sleep(0.01)
            assert channel.pool.in_flight == 0
            assert all(target.in_flight == 0 for target in channel.pool.targets.values())
            assert channel.pool.waiting == 0

        await town.on_client(whole)

    play(scenario)


def test_a_call_that_was_not_executed_goes_elsewhere() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        await asyncio.sleep(1.0)
        call = channel.unary_unary("/t/attempts")(b"", metadata=(("x", "y"),))
        assert await call == b"2"
        assert channel.pool.retries == 2
        assert [target.failures for target in channel.pool.targets.values()] == [1, 1, 0]

    scene(work, lambda: StaticSource(UNREACHABLE_FIRST), balancer=Stubborn)


class First:
    """The first of those that are there, connected or not, until one of them is usable."""

    keeps_keys = False

    def __init__(self, _: Runtime) -> None:
        self.targets: Sequence[SubChannel] = ()
        self.usable: Sequence[SubChannel] = ()

    def update(self, targets: Sequence[SubChannel], usable: Sequence[SubChannel]) -> None:
        self.targets, self.usable = targets, usable

    def pick(self, key: bytes | None, tried: Collection[SubChannel], in_flight: int) -> SubChannel | None:
        return next((target for target in self.usable or (() if tried else self.targets) if target not in tried), None)


def test_a_retry_waits_for_one_that_is_being_connected() -> None:
    """The first endpoint refuses at once; the other one is still on its way, and would be lost to a call in a hurry."""

    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        assert await channel.unary_unary("/t/attempts")(b"") == b"1"
        assert channel.pool.retries == 1

    async def scenario(town: Town) -> None:
        town.world.net.slow("client", "s1", 200.0)
        channel = await town.channel(StaticSource(["s0:81", "s1:80"]), balancer=First)

        async def whole(runtime: Runtime) -> None:
            await work(channel, town, runtime)

        await town.on_client(whole)

    play(scenario)


def test_attempts_have_a_limit() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        await asyncio.sleep(1.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t/who")(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert getattr(caught.value, "definite", False)
        assert channel.pool.retries == 1

    scene(work, lambda: StaticSource(UNREACHABLE_FIRST), BalancedOptions(attempts_max=2), Stubborn)


def test_an_empty_budget_allows_no_retry() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        await asyncio.sleep(1.0)
        who: Any = channel.unary_unary("/t/who")
        outcomes = Counter[bool]()
        for _ in range(10):
            try:
                await who(b"")
                outcomes[True] += 1
            except grpc.aio.AioRpcError:
                outcomes[False] += 1
        # Two retries for each call that succeeds, and four tokens in all.
        assert outcomes == {True: 2, False: 8}
        assert channel.pool.budget.exhausted == 8

    options = BalancedOptions(retry_ratio=0.0, retry_reserve=4.0)
    scene(work, lambda: StaticSource(UNREACHABLE_FIRST), options, Stubborn)


def test_what_may_have_been_executed_is_not_sent_again() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        call = channel.unary_unary("/t/slow")(b"5")
        await asyncio.sleep(0.5)
        for name in town.servers:
            if town.seen[name]:
                town.world.loop.call_soon(town.world.host(name).kill, context=town.world.loop.world.context.copy())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not getattr(caught.value, "definite", True)
        assert sum(town.seen.values()) == 1
        assert channel.pool.retries == 0

    scene(work)


def test_an_answer_that_is_an_error_is_an_answer() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        for _ in range(30):
            with pytest.raises(grpc.aio.AioRpcError, match="not here"):
                await channel.unary_unary("/t/missing")(b"")
        assert channel.pool.outliers.ejected == 0
        assert channel.pool.retries == 0

    scene(work)


def test_a_deadline_covers_the_wait_and_all_attempts() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        began_s = runtime.clock.monotonic_s()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t/who")(b"", timeout=3.0, wait_for_ready=True)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert runtime.clock.monotonic_s() - began_s == pytest.approx(3.0, abs=0.01)

    scene(work, lambda: StaticSource(["nowhere:1"]))


def test_waiting_for_an_endpoint_that_comes() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        town.world.loop.call_later(5.0, source.replace, ["s0:80"])
        await asyncio.sleep(1.0)
        call = channel.unary_unary("/t/who")(b"", wait_for_ready=True, timeout=30.0)
        assert channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE
        assert await call == b"s0"
        assert await call.code() is grpc.StatusCode.OK

    source = StaticSource(["nowhere:1"])
    scene(work, lambda: source)


class Late(Published):
    """Knows nothing until it is told."""


def test_calls_wait_for_the_first_set_and_no_longer_than_that_may_take() -> None:
    async def scenario(town: Town) -> None:
        source = Late()
        channel = await town.channel(source, BalancedOptions(name="town", resolve_s_max=2.0))

        async def work(runtime: Runtime) -> None:
            began_s = runtime.clock.monotonic_s()
            who: Any = channel.unary_unary("/t/who")
            with pytest.raises(grpc.aio.AioRpcError, match="nothing is known of the endpoints of town") as caught:
                await who(b"")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert runtime.clock.monotonic_s() - began_s == pytest.approx(2.0, abs=0.05)
            source.publish(StaticSource(["s1:80"]).current)
            assert await who(b"") == b"s1"

        await town.on_client(work)

    play(scenario)


def test_too_many_that_wait_are_refused() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        who: Any = channel.unary_unary("/t/who")
        waiting = [who(b"", wait_for_ready=True, timeout=1.0) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await who(b"", wait_for_ready=True, timeout=1.0)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in waiting:
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    scene(work, lambda: StaticSource(["nowhere:1"]), BalancedOptions(waiting_max=3))


def test_keys_by_metadata_and_by_context() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        await asyncio.sleep(0.1)
        who: Any = channel.unary_unary("/t/who")
        homes: dict[bytes, bytes] = {}
        for round_ in range(3):
            for number in range(20):
                key = b"key-%d" % number
                if round_ == 1:
                    token = HASH_KEY.set(key)
                    answer = await who(b"")
                    HASH_KEY.reset(token)
                else:
                    answer = await who(b"", metadata=((HASH_KEY_METADATA, key.decode()),))
                assert homes.setdefault(key, answer) == answer
        assert set(homes.values()) == {b"s0", b"s1", b"s2"}
        assert len({await who(b"") for _ in range(40)}) == 3

    scene(work, balancer=lambda runtime: RingHash(runtime.random))


def test_what_a_call_tells() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        who: Any = channel.unary_unary("/t/who")
        for _ in range(2):  # First while it must wait for a connection, then straight.
            call = who(b"", timeout=9.0)
            assert not call.done()
            assert 8.9 < call.time_remaining() <= 9.0
            called: list[Any] = []
            call.add_done_callback(called.append)
            answer = await call
            assert await call == answer
            await asyncio.sleep(0)
            assert called == [call]
            call.add_done_callback(called.append)
            assert called == [call, call]
            assert call.done()
            assert not call.cancelled()
            assert await call.code() is grpc.StatusCode.OK
            assert await call.details() == ""
            assert await call.debug_error_string() == "OK: "
            assert isinstance(await call.initial_metadata(), grpc.aio.Metadata)
            assert isinstance(await call.trailing_metadata(), grpc.aio.Metadata)
            assert not call.cancel()
        straight = who(b"")
        await straight.wait_for_connection()
        assert await straight.code() is grpc.StatusCode.OK
        assert len(await asyncio.gather(*(wait(straight) for _ in range(3)))) == 3
        bad = channel.unary_unary("/t/missing")(b"")
        assert await bad.code() is grpc.StatusCode.NOT_FOUND
        assert await bad.details() == "not here"
        with pytest.raises(grpc.aio.AioRpcError, match="not here"):
            await bad
        with pytest.raises(grpc.aio.AioRpcError, match="not here"):
            await bad

    scene(work)


async def wait(call: Any) -> Any:
    return await call


def test_several_may_await_one_call() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        await channel.channel_ready()
        call = channel.unary_unary("/t/slow")(b"0.1")
        assert len(set(await asyncio.gather(*(wait(call) for _ in range(4))))) == 1
        assert sum(town.seen.values()) == 1

    scene(work)


def test_cancelling() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        for is_ready in (False, True):
            if is_ready:
                await channel.channel_ready()
            slow: Any = channel.unary_unary("/t/slow")
            call = slow(b"9")
            assert call.cancel()
            assert not call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert call.cancelled()
            assert await call.code() is grpc.StatusCode.CANCELLED
            waiting = asyncio.ensure_future(wait(slow(b"9")))
            await asyncio.sleep(0.1)
            assert channel.pool.in_flight == 1
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert channel.pool.in_flight == 0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await slow(b"9")
        assert channel.pool.outliers.ejected == 0

    scene(work)


def test_a_call_that_nobody_awaits_is_sent_and_not_counted_for_ever() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        who: Any = channel.unary_unary("/t/who")
        who(b"")
        await channel.channel_ready()
        await asyncio.sleep(0.1)
        who(b"")
        await asyncio.sleep(0.1)
        gc.collect()
        assert sum(town.seen.values()) == 2

    scene(work)


def test_a_request_that_cannot_be_sent_fails_here() -> None:
    async def work(channel: BalancedChannel, town: Town, runtime: Runtime) -> None:
        await channel.channel_ready()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t/who")(b"x" * (17 << 20))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/t/who")(b"", metadata=(("grpc-reserved", "x"),))
        assert channel.pool.retries == 0

    scene(work)
