"""Streaming kinds over a balanced channel: started straight, and started before any endpoint is ready."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.discovery import HASH_KEY_METADATA, BalancedChannel, RingHash, StaticSource
from runtime import Runtime
from tests.unit.cluster.discovery.simulated import Town, play


async def letters() -> AsyncIterator[bytes]:
    for letter in (b"a", b"b", b"c"):
        yield letter


async def all_kinds(channel: BalancedChannel) -> Counter[bytes]:
    who: Counter[bytes] = Counter()
    heard = [name async for name in channel.unary_stream("/t/tell")(b"3")]
    assert len(heard) == 3
    who[heard[0]] += 1
    joined = await channel.stream_unary("/t/join")(letters())
    assert joined.endswith(b":abc")
    who[joined[:2]] += 1
    call = channel.stream_unary("/t/join")()
    for letter in (b"x", b"y"):
        await call.write(letter)
    await call.done_writing()
    assert (await call).endswith(b":xy")
    echoed = [answer async for answer in channel.stream_stream("/t/chat")(letters())]
    assert [answer[3:] for answer in echoed] == [b"a", b"b", b"c"]
    who[echoed[0][:2]] += 1
    chat = channel.stream_stream("/t/chat")(timeout=30.0)
    await chat.write(b"1")
    assert (await chat.read()).endswith(b":1")
    await chat.done_writing()
    assert await chat.read() is grpc.aio.EOF
    assert await chat.code() is grpc.StatusCode.OK
    assert 0 < chat.time_remaining() < 30.0
    return who


def test_all_kinds_straight_and_before_anything_is_connected() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel()

        async def work(_: Runtime) -> None:
            # Each of these begins before a connection is there.
            firsts = [asyncio.ensure_future(all_kinds(channel)) for _ in range(3)]
            who = Counter[bytes]()
            for first in firsts:
                who += await first
            for _round in range(3):
                who += await all_kinds(channel)
            assert set(who) == {b"s0", b"s1", b"s2"}
            await asyncio.sleep(0.01)
            assert channel.pool.in_flight == 0

        await town.on_client(work)

    play(scenario)


def test_a_stream_is_in_flight_until_it_ends() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel()

        async def work(_: Runtime) -> None:
            await channel.channel_ready()
            calls: list[Any] = [channel.unary_stream("/t/tell")(b"1000") for _ in range(6)]
            for call in calls:
                await call.read()
            assert channel.pool.in_flight == 6
            for call in calls[:4]:
                call.cancel()
            await asyncio.sleep(0.01)
            assert channel.pool.in_flight == 2
            assert channel.pool.outliers.ejected == 0

        await town.on_client(work)

    play(scenario)


def test_a_stream_that_finds_nobody_fails_as_a_call_does() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel(StaticSource(["nowhere:1"]))

        async def work(runtime: Runtime) -> None:
            call = channel.unary_stream("/t/tell")(b"3")
            with pytest.raises(grpc.aio.AioRpcError, match="can be reached"):
                await call.read()
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
            channel.unary_stream("/t/tell")(b"3")  # Nobody reads it: that is no error that goes unheard.
            began_s = runtime.clock.monotonic_s()
            late = channel.stream_stream("/t/chat")(letters(), timeout=2.0, wait_for_ready=True)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await late.read()
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert runtime.clock.monotonic_s() - began_s == pytest.approx(2.0, abs=0.01)
            given_up = channel.unary_stream("/t/tell")(b"3", wait_for_ready=True)
            given_up.cancel()
            await asyncio.sleep(0.01)
            assert given_up.cancelled()
            assert channel.pool.waiting == 0

        await town.on_client(work)

    play(scenario)


def test_streams_that_fail_speak_against_their_endpoint() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel()

        async def work(_: Runtime) -> None:
            await channel.channel_ready()
            for _attempt in range(40):
                with pytest.raises(grpc.aio.AioRpcError):
                    await channel.unary_stream("/t/tell")(b"not a number").read()
                await asyncio.sleep(0.01)
            # All three answer alike, and only one of three may be out.
            assert channel.pool.outliers.ejected == 1
            assert channel.pool.outliers.spared > 0

        await town.on_client(work)

    play(scenario)


def test_keys() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel(balancer=lambda runtime: RingHash(runtime.random))

        async def work(_: Runtime) -> None:
            tell: Any = channel.unary_stream("/t/tell")
            homes: dict[str, bytes] = {}
            for number in range(60):
                key = f"key-{number % 20}"
                name = await tell(b"1", metadata=((HASH_KEY_METADATA, key),)).read()
                assert homes.setdefault(key, name) == name
            assert len(set(homes.values())) == 3

        await town.on_client(work)

    play(scenario)
