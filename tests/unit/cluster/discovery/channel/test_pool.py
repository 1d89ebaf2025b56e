"""Balanced channels over servers that die and come back, in the simulator.

Goal: after an endpoint dies only the calls that were at it fail, or as many as it takes to find out; and it gets its
calls again when it is back. Method: steady traffic of workers, faults from the scenario, counts by phase.
"""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from cluster.discovery import BalancedOptions, Endpoint, EndpointHealth, LeastRequest, OutlierOptions, StaticSource
from cluster.discovery.eligibility import Reach
from cluster.rpc import RpcOptions
from runtime import Runtime
from runtime.sim import SwarmOptions
from tests.unit.cluster.discovery.simulated import Town, Traffic, play

SEEDS = range(1, 3)
WORKERS = 4
PATIENT = BalancedOptions(rpc=RpcOptions(reconnect_backoff_s_max=0.5))


def test_calls_go_around() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel()
        async with Traffic(town, channel, WORKERS) as traffic:
            answers, failures = await traffic.during(3.0)
        assert failures == 0
        assert set(answers) == {"s0", "s1", "s2"}
        assert max(answers.values()) - min(answers.values()) <= 2 * WORKERS
        assert channel.pool.in_flight == 0

    play(scenario)


@pytest.mark.parametrize("policy", ["round_robin", "least_request"])
def test_a_killed_endpoint_costs_the_calls_that_were_at_it(policy: str) -> None:
    async def scenario(town: Town) -> None:
        channel = await (
            town.channel()
            if policy == "round_robin"
            else town.channel(balancer=lambda runtime: LeastRequest(runtime.random))
        )
        async with Traffic(town, channel, WORKERS) as traffic:
            await traffic.during(1.0)
            at_it = channel.pool.targets["s1:80"].in_flight
            town.world.host("s1").kill()
            answers, failures = await traffic.during(2.0)
            assert failures <= at_it
            assert answers["s0"] + answers["s2"] > 100
            answers, failures = await traffic.during(8.0)
            assert failures == 0
            town.boot("s1")
            # Backoff of connections, and an ejection that may have happened.
            await asyncio.sleep(6.0)
            answers, failures = await traffic.during(2.0)
            assert failures == 0
            assert answers["s1"] > answers["s0"] / 2
        assert channel.pool.in_flight == 0

    play(scenario, seeds=SEEDS)


@pytest.mark.parametrize("refuses", [0.0, 1.0])
def test_a_host_without_power_costs_as_many_calls_as_it_takes_to_find_out(refuses: float) -> None:
    """Nothing answers, not even a reset: calls time out until the endpoint is ejected, and then at each return."""

    async def scenario(town: Town) -> None:
        channel = await town.channel()
        async with Traffic(town, channel, WORKERS) as traffic:
            await traffic.during(1.0)
            town.world.host("s1").crash()
            _, failures = await traffic.during(4.0)
            assert failures <= OutlierOptions().consecutive_failures + WORKERS
            _, failures = await traffic.during(26.0)
            # It comes back from ejection, and is connected as far as anybody knows until keepalive says otherwise.
            assert failures <= 2 * WORKERS
            answers, failures = await traffic.during(10.0)
            assert failures == 0
            assert answers["s1"] == 0
            town.boot("s1")
            await asyncio.sleep(25.0)
            answers, failures = await traffic.during(2.0)
            assert failures == 0
            assert answers["s1"] > answers["s0"] / 2

    play(scenario, options=SwarmOptions(refuse_probability=refuses))


def test_restarts_one_after_another_cost_nothing() -> None:
    """Servers that say goodbye: what they had not begun goes elsewhere."""

    async def scenario(town: Town) -> None:
        channel = await town.channel(options=PATIENT)
        async with Traffic(town, channel, 8) as traffic:
            await traffic.during(0.5)
            for name in town.servers:
                town.stopping[name].set()
                await asyncio.sleep(1.5)
                town.boot(name)
                await asyncio.sleep(1.5)
            answers, _ = await traffic.during(2.0)
        assert traffic.failures == []
        assert set(answers) == {"s0", "s1", "s2"}

    play(scenario, seeds=SEEDS)


def test_an_endpoint_that_fails_every_call_is_out_until_it_is_well() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel()
        town.failing.add("s2")
        async with Traffic(town, channel, WORKERS) as traffic:
            answers, failures = await traffic.during(4.0)
            assert failures <= 5 + WORKERS
            assert channel.pool.outliers.ejected == 1
            _, failures = await traffic.during(20.0)
            assert 1 <= failures <= 3 * WORKERS
            town.failing.clear()
            await asyncio.sleep(40.0)
            answers, failures = await traffic.during(2.0)
            assert failures == 0
            assert answers["s2"] > answers["s0"] / 2

    play(scenario)


def test_without_ejection_a_third_of_the_calls_goes_on_failing() -> None:
    """The safeguard taken away: what the test above would see."""

    async def scenario(town: Town) -> None:
        channel = await town.channel(options=BalancedOptions(outliers=OutlierOptions(consecutive_failures=0)))
        town.failing.add("s2")
        async with Traffic(town, channel, WORKERS) as traffic:
            answers, failures = await traffic.during(4.0)
        assert failures == pytest.approx(sum(answers.values()) / 2, rel=0.2)

    play(scenario)


def test_with_most_of_them_failing_all_are_asked() -> None:
    """The share that may be out is kept: of three of four that fail, two are out, and one goes on getting its calls."""

    async def scenario(town: Town) -> None:
        channel = await town.channel()
        town.failing.update({"s0", "s1", "s2"})
        async with Traffic(town, channel, WORKERS) as traffic:
            await traffic.during(3.0)
            answers, failures = await traffic.during(1.0)
        assert channel.pool.outliers.ejected == 2
        assert channel.pool.outliers.spared > 0
        assert failures > 0
        assert set(answers) == {"s3"}

    play(scenario, servers=4)


def test_health_of_the_source_and_panic() -> None:
    async def scenario(town: Town) -> None:
        def told(*ill: str) -> list[Endpoint]:
            return [
                Endpoint(f"{name}:80", health=EndpointHealth.UNHEALTHY if name in ill else EndpointHealth.HEALTHY)
                for name in town.servers
            ]

        source = StaticSource(told())
        channel = await town.channel(source)
        async with Traffic(town, channel, WORKERS) as traffic:
            await traffic.during(1.0)
            await town.on_client(replace(source, told("s0")))
            await asyncio.sleep(0.1)
            answers, _ = await traffic.during(1.0)
            assert set(answers) == {"s1", "s2"}
            await town.on_client(replace(source, told("s0", "s1")))
            await asyncio.sleep(0.1)
            answers, _ = await traffic.during(1.0)
            assert set(answers) == {"s0", "s1", "s2"}
            assert channel.pool.choice.is_panicking
        assert traffic.failures == []

    play(scenario)


def replace(source: StaticSource, endpoints: Any) -> Any:
    async def work(_: Runtime) -> None:
        source.replace(endpoints)

    return work


def test_endpoints_that_come_and_go() -> None:
    async def scenario(town: Town) -> None:
        source = StaticSource(town.addresses("s0", "s1"))
        channel = await town.channel(source, BalancedOptions(drain_s=2.0))
        kept = channel.pool.targets["s1:80"]
        slow: Any = channel.unary_unary("/t/slow")

        async def ask(seconds: bytes) -> bytes:
            answer: bytes = await slow(seconds)
            return answer

        async with Traffic(town, channel, WORKERS) as traffic:
            await traffic.during(0.5)
            running = [town.world.host("client").spawn(ask(b"1.0"), name="slow") for _ in range(4)]
            await asyncio.sleep(0.1)
            await town.on_client(replace(source, town.addresses("s1", "s2")))
            await asyncio.sleep(0.1)
            answers, failures = await traffic.during(3.0)
            assert set(answers) == {"s1", "s2"}
            assert failures == 0
            # What ran at the one that left came to its end.
            assert {await task for task in running} == {b"s0", b"s1"}
            assert channel.pool.targets["s1:80"] is kept
            await town.on_client(replace(source, town.addresses("s0", "s1")))
            await asyncio.sleep(0.1)
            answers, failures = await traffic.during(1.0)
            assert set(answers) == {"s0", "s1"}
            assert failures == 0
        assert channel.pool.resolves == 3

    play(scenario)


def test_a_stream_at_one_that_left_ends_as_a_loss_and_not_as_a_cancellation() -> None:
    async def scenario(town: Town) -> None:
        source = StaticSource(town.addresses("s0"))
        channel = await town.channel(source, BalancedOptions(drain_s=1.0))

        async def listen(_: Runtime) -> tuple[int, grpc.StatusCode]:
            heard = 0
            try:
                async for _name in channel.unary_stream("/t/tell")(b"100000"):
                    heard += 1
            except grpc.aio.AioRpcError as error:
                return heard, error.code()
            raise AssertionError

        listening = asyncio.ensure_future(town.on_client(listen))
        await asyncio.sleep(0.5)
        await town.on_client(replace(source, town.addresses("s1")))
        heard, code = await listening
        assert code is grpc.StatusCode.UNAVAILABLE
        assert 100 < heard < 160

    play(scenario)


def test_a_set_that_becomes_empty_and_full_again() -> None:
    async def scenario(town: Town) -> None:
        source = StaticSource(town.addresses())
        channel = await town.channel(source)
        async with Traffic(town, channel, 1) as traffic:
            await traffic.during(0.5)
            await town.on_client(replace(source, []))
            _, failures = await traffic.during(0.5)
            assert failures > 5
            await town.on_client(replace(source, town.addresses()))
            await asyncio.sleep(0.05)
            _, failures = await traffic.during(0.5)
            assert failures == 0

    play(scenario)


def test_the_same_seed_gives_the_same_run() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel(balancer=lambda runtime: LeastRequest(runtime.random))
        async with Traffic(town, channel, WORKERS) as traffic:
            await traffic.during(0.3)
            town.world.host("s1").kill()
            await traffic.during(1.0)
            town.boot("s1")
            await traffic.during(1.0)

    hashes = [[outcome.trace_hash for outcome in play(scenario, seeds=(5, 6))] for _ in range(2)]
    assert hashes[0] == hashes[1]
    assert hashes[0][0] != hashes[0][1]


def test_states_and_closing() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel()

        async def work(_: Runtime) -> None:
            assert channel.get_state() is grpc.ChannelConnectivity.CONNECTING
            await channel.channel_ready()
            assert channel.get_state() is grpc.ChannelConnectivity.READY
            call = channel.unary_unary("/t/slow")(b"0.2")
            await asyncio.sleep(0.05)
            await channel.close(1.0)
            assert await call in (b"s0", b"s1", b"s2")
            assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
            await channel.close()
            with pytest.raises(grpc.aio.UsageError):
                await channel.channel_ready()
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/t/who")(b"")
            assert len([task for task in asyncio.all_tasks() if "endpoint/" in task.get_name()]) == 0

        await town.on_client(work)

    play(scenario)


def test_nobody_there_at_all() -> None:
    async def scenario(town: Town) -> None:
        channel = await town.channel(StaticSource(["nowhere:1", "s0:81"]))

        async def work(_: Runtime) -> None:
            with pytest.raises(grpc.aio.AioRpcError, match="none of the 2 endpoints") as caught:
                await channel.unary_unary("/t/who")(b"")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert getattr(caught.value, "definite", False)
            assert channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE
            assert {target.reach for target in channel.pool.targets.values()} == {Reach.FAILED}

        await town.on_client(work)

    play(scenario)
