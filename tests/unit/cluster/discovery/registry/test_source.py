"""Following the registry, in the simulator: processes that cut the stream, lag, lie, say it again, or are away.

Goal: what is known never gets worse because the registry does. Method: fake processes whose streams a test scripts.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest

from cluster.discovery import EndpointSet, RegistrySource, Source, watch
from cluster.discovery.registry.source import DOUBT_S_MAX, FIRST_S_MAX, PAUSE_S_MAX, RECHECK_S
from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from cluster.rpc import create_server, listen
from runtime import Runtime
from runtime.sim import SwarmOptions, World, run
from tests.unit.cluster.discovery.registry.responses import response, told


def known(source: Source) -> tuple[str, ...]:
    return source.current.addresses


Script = Callable[[], AsyncIterator[pb.WatchResponse]]


async def silence() -> AsyncIterator[pb.WatchResponse]:
    await asyncio.Event().wait()
    yield pb.WatchResponse()


class Fake(grpc.GenericRpcHandler):
    """Plays what it is told to play to each new stream."""

    def __init__(self) -> None:
        self.script: Script = silence
        self.streams = 0
        self.open = 0
        self.requests: list[pb.WatchRequest] = []

    async def watch(self, request: pb.WatchRequest, context: Any) -> AsyncIterator[pb.WatchResponse]:
        self.streams += 1
        self.open += 1
        self.requests.append(request)
        try:
            async for told in self.script():
                yield told
        finally:
            self.open -= 1

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        assert handler_call_details.method == "/orrery.registry.v1.Registry/Watch"
        return grpc.unary_stream_rpc_method_handler(
            self.watch,
            request_deserializer=pb.WatchRequest.FromString,
            response_serializer=pb.WatchResponse.SerializeToString,
        )


def says(*responses: pb.WatchResponse, stays: bool = True) -> Script:
    async def script() -> AsyncIterator[pb.WatchResponse]:
        for each in responses:
            yield each
            await asyncio.sleep(0.1)
        if stays:
            await asyncio.Event().wait()

    return script


class Place:
    def __init__(self, world: World, processes: int) -> None:
        self.world = world
        self.fakes = [Fake() for _ in range(processes)]
        self.source: RegistrySource | None = None
        self.heard: list[tuple[str, ...]] = []

    def boot(self, number: int) -> None:
        async def serve(runtime: Runtime) -> None:
            server = create_server(net=runtime.net)
            server.add_generic_rpc_handlers([self.fakes[number]])
            await listen(server, "0.0.0.0:7")
            await server.start()
            await server.wait_for_termination()

        self.world.host(f"r{number}").boot(serve)

    async def start(
        self,
        work: "Callable[[Place, RegistrySource], Awaitable[None]]",
        told: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        for number in range(len(self.fakes)):
            self.boot(number)

        async def client(runtime: Runtime) -> None:
            source = RegistrySource(
                told or [f"r{number}:7" for number in range(len(self.fakes))],
                "x",
                net=runtime.net,
                random=runtime.random,
                clock=runtime.clock,
                tags=["blue"],
            )
            subscription = source.subscribe(lambda endpoints: self.heard.append(endpoints.addresses))
            await work(self, source)
            await subscription.close()
            await asyncio.sleep(1.0)
            assert all(fake.open == 0 for fake in self.fakes)
            assert not any("discovery" in task.get_name() for task in asyncio.all_tasks())

        await self.world.host("client").boot(client)


def play(
    work: "Callable[[Place, RegistrySource], Awaitable[None]]",
    processes: int = 2,
    told: Callable[[], Sequence[str]] | None = None,
) -> None:
    async def scenario(world: World) -> None:
        await Place(world, processes).start(work, told)

    for seed in (1, 2):
        run(seed, scenario, options=SwarmOptions())


ALL = response(told(1), told(2), told(3), snapshot=True, index=10)
THREE = ("h1:80", "h2:80", "h3:80")


def all_say(place: Place, script: Script) -> None:
    for fake in place.fakes:
        fake.script = script


def test_a_snapshot_and_its_changes() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        all_say(place, says(ALL, response(told(4), index=11), response(removed=(1,), index=12)))
        assert not source.current.is_known
        await asyncio.sleep(2.0)
        assert place.heard == [THREE, (*THREE, "h4:80"), ("h2:80", "h3:80", "h4:80")]
        assert source.is_followed
        assert source.failures == 0
        request = next(request for fake in place.fakes for request in fake.requests)
        assert (request.service, list(request.tags), request.passing_only) == ("x", ["blue"], False)

    play(work)


def test_the_set_survives_all_processes_and_the_stream_comes_back() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        all_say(place, says(ALL))
        await asyncio.sleep(1.0)
        for number in (0, 1):
            place.world.loop.call_soon(
                place.world.host(f"r{number}").kill, context=place.world.loop.world.context.copy()
            )
        await asyncio.sleep(60.0)
        assert known(source) == THREE
        assert not source.is_followed
        assert source.failures > 5
        all_say(place, says(response(told(1), snapshot=True, index=20)))
        place.world.loop.call_soon(place.boot, 1, context=place.world.loop.world.context.copy())
        await asyncio.sleep(2 * PAUSE_S_MAX + FIRST_S_MAX)
        assert place.heard == [THREE, ("h1:80",)]

    play(work)


def test_streams_that_are_cut_again_and_again() -> None:
    """Everything is said again each time: nobody is told anything twice, and the registry is not stormed."""

    async def work(place: Place, source: RegistrySource) -> None:
        all_say(place, says(ALL, stays=False))
        await asyncio.sleep(60.0)
        assert place.heard == [THREE]
        assert 12 < sum(fake.streams for fake in place.fakes) < 40

    play(work)


def test_a_process_that_says_nothing_is_left() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        place.fakes[0].script = says(ALL)
        await asyncio.sleep(FIRST_S_MAX + 1.0)
        assert known(source) == THREE

    play(work)


def test_half_a_snapshot_is_no_set() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        all_say(place, says(response(told(1), snapshot=True)))
        await asyncio.sleep(FIRST_S_MAX * 3)
        assert not source.current.is_known
        assert source.failures >= 2

    play(work)


def test_a_process_that_lags_is_not_believed_until_it_catches_up() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        place.fakes[0].script = place.fakes[1].script = says(ALL)
        await asyncio.sleep(1.0)
        old = response(told(1), snapshot=True, index=4)
        all_say(place, says(old, response(told(2), index=7), response(told(3), told(5), index=11)))
        await reset(place)
        await asyncio.sleep(3.0)
        assert place.heard == [THREE, (*THREE, "h5:80")]
        assert source.doubted >= 2

    play(work)


async def reset(place: Place) -> None:
    """Breaks the streams that are open."""
    for number in range(len(place.fakes)):
        place.world.loop.call_soon(
            place.world.net.reset, "client", f"r{number}", context=place.world.loop.world.context.copy()
        )
    await asyncio.sleep(0.01)


def test_a_registry_that_began_anew_is_believed_after_a_while() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        all_say(place, says(ALL))
        await asyncio.sleep(1.0)
        all_say(place, says(response(told(9), snapshot=True, index=2)))
        await reset(place)
        await asyncio.sleep(DOUBT_S_MAX - 2.0)
        assert known(source) == THREE
        await asyncio.sleep(2 * (RECHECK_S + PAUSE_S_MAX))
        assert known(source) == ("h9:80",)

    play(work)


@pytest.mark.parametrize("stale", [False, True])
def test_nobody_where_somebody_was(stale: bool) -> None:
    """Believed after a while of a registry that is whole, and never of one that is cut off from its store."""

    async def work(place: Place, source: RegistrySource) -> None:
        all_say(place, says(ALL, response(removed=(1, 2, 3), index=11, stale=stale)))
        await asyncio.sleep(DOUBT_S_MAX - 1.0)
        assert known(source) == THREE
        all_say(place, says(response(snapshot=True, index=11, stale=stale)))
        await asyncio.sleep(10 * DOUBT_S_MAX)
        assert known(source) == (THREE if stale else ())
        assert source.current.is_known

    play(work)


def test_nobody_at_first_is_believed_and_from_the_cut_off_it_is_not() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        all_say(place, says(response(snapshot=True, index=1, stale=True)))
        await asyncio.sleep(10.0)
        assert not source.current.is_known
        all_say(place, says(response(snapshot=True, index=1)))
        await asyncio.sleep(4 * RECHECK_S)
        assert source.current == EndpointSet.of([])

    play(work)


def test_one_that_is_cut_off_is_left_for_one_that_is_not() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        place.fakes[0].script = says(response(told(1), snapshot=True, index=10, stale=True))
        place.fakes[1].script = says(response(told(1), told(2), snapshot=True, index=12))
        await asyncio.sleep(2 * RECHECK_S + 2.0)
        assert known(source) == ("h1:80", "h2:80")
        streams = place.fakes[1].streams
        await asyncio.sleep(60.0)
        assert place.fakes[1].streams == streams

    play(work)


def test_changes_before_a_snapshot_end_the_stream() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        place.fakes[0].script = says(response(told(7), index=99))
        place.fakes[1].script = says(ALL)
        await asyncio.sleep(3.0)
        assert place.heard == [THREE]

    play(work)


def test_a_process_whose_streams_fail_is_left() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        async def refuse() -> AsyncIterator[pb.WatchResponse]:
            if place.fakes:
                raise ValueError("broken")
            yield ALL

        place.fakes[0].script = refuse
        place.fakes[1].script = says(ALL)
        await asyncio.sleep(3.0)
        assert known(source) == THREE

    play(work)


def test_watching() -> None:
    async def work(place: Place, source: RegistrySource) -> None:
        numbers = itertools.count(11)

        async def busy() -> AsyncIterator[pb.WatchResponse]:
            yield ALL
            while True:
                await asyncio.sleep(0.1)
                number = next(numbers)
                yield response(told(number), index=number)

        all_say(place, busy)
        sets = watch(source)
        assert (await anext(sets)).addresses == THREE
        await asyncio.sleep(1.05)
        # Ten changes later: the latest only.
        assert len(await anext(sets)) == 13
        assert len(await anext(sets)) == 14
        await sets.aclose()  # type: ignore[attr-defined]  # an async generator

    play(work)


def test_an_error_in_following_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[str, Any]] = []

    async def work(place: Place, source: RegistrySource) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
        all_say(place, says(ALL))
        await asyncio.sleep(1.0)
        await reset(place)
        await asyncio.sleep(1.0)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(RegistrySource, "_adopt", broken)
    play(work)
    assert [str(context["exception"]) for context in heard[:1]] == ["a mistake of ours"]


def test_processes_that_get_known_and_what_is_no_address_among_them() -> None:
    addresses: list[str] = []

    async def work(place: Place, source: RegistrySource) -> None:
        addresses.clear()
        all_say(place, says(ALL))
        await asyncio.sleep(10.0)
        assert not source.current.is_known
        assert source.failures == 0
        addresses.extend(["no address", "r0:7,r1:7", "r1:7", "r1:7"])
        await asyncio.sleep(1.0)
        assert known(source) == THREE
        assert place.fakes[1].streams == 1
        addresses[:] = ["r0:7"]
        await reset(place)
        await asyncio.sleep(1.0)
        assert place.fakes[0].streams == 1

    play(work, told=lambda: addresses)


def test_addresses_are_checked() -> None:
    for addresses in ([], ["nowhere"]):
        with pytest.raises(ValueError):
            RegistrySource(addresses, "x", net=None, random=None, clock=None)  # type: ignore[arg-type]
