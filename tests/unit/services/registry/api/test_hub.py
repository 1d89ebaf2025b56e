"""Goal: whoever applies what a watcher is told, at whatever pace, knows what the catalogue says.

Method: hypothesis draws registrations, flips, removals, and when each watcher reads. At the end all read on; then each
must know exactly what its question is answered with.
"""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.pb.orrery.registry.v1 import registry_pb2 as pb
from services.registry.api import hub as module
from services.registry.api.encoding import Encoder, Filter
from services.registry.api.hub import Hub, Watcher
from services.registry.api.messages import endpoint_message
from services.registry.catalogue import MemoryCatalogue, Update
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance
from services.registry.interface import Beat, NotFound
from services.registry.metrics import Counters
from services.registry.registrar import CatalogueRegistrar
from tests.unit.services.registry.memory_registry import memory_registry


class FakeClock:
    def wall_s(self) -> float:
        return 1000.0

    def monotonic_s(self) -> float:
        return 1000.0


class Reader:
    """Applies what it is told."""

    def __init__(self, watcher: Watcher, asked: Filter) -> None:
        self.watcher = watcher
        self.asked = asked
        self.known: dict[tuple[str, str], pb.Endpoint] = {}
        self.index = 0
        self.snapshots = 0
        self.responses = 0

    async def read(self) -> None:
        for part in await self.watcher.take():
            response = pb.WatchResponse.FromString(part)
            self.responses += 1
            if response.is_snapshot:
                self.snapshots += 1
                self.known.clear()
            for endpoint in response.changed:
                self.known[endpoint.instance.node, endpoint.instance.id] = endpoint
            for key in response.removed:
                del self.known[key.node, key.id]
            assert response.freshness.index >= self.index or not response.freshness.index
            self.index = max(self.index, response.freshness.index)

    async def read_all(self) -> None:
        while self.watcher._needs_snapshot or self.watcher._queue:
            await self.read()


class Setup:
    def __init__(self) -> None:
        self.copy: MemoryCatalogue
        self.registrar: CatalogueRegistrar
        self.copy, self.registrar, _ = memory_registry(FakeClock())
        self.counters = Counters()
        self.hub = Hub(self.copy, Encoder(), self.counters)

    def reader(self, service: str = "web", tags: tuple[str, ...] = (), *, passing_only: bool = False) -> Reader:
        asked = Filter.of(service, tags, passing_only=passing_only)
        return Reader(self.hub.watch(asked), asked)

    async def register(self, id_: str, service: str = "web", *tags: str) -> None:
        check = CheckDefinition(f"c-{id_}", "", CheckKind.TTL, ttl_ms=1000)
        await self.registrar.register(Instance("", id_, service, tags=tags), [check], take_over=True)

    async def flush(self) -> None:
        await asyncio.sleep(module.GATHER_S * 2)

    def expected(self, asked: Filter) -> dict[tuple[str, str], pb.Endpoint]:
        services = [asked.service] if asked.service else list(self.copy.services())
        return {
            (one.instance.node, one.instance.id): endpoint_message(one)
            for service in services
            for one in self.copy.endpoints(service)
            if asked.takes(one)
        }


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("register", "flip", "flip", "remove", "node", "read", "read", "turn", "reset", "join")),
        st.sampled_from(("a", "b", "c")),
        st.sampled_from(("web", "db")),
        st.integers(0, 3),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_every_watcher_comes_to_know_what_is(steps: list[tuple[str, str, str, int]]) -> None:
    async def play() -> None:
        setup = Setup()
        readers = [
            setup.reader(""),
            setup.reader("web"),
            setup.reader("web", ("t1",)),
            setup.reader("", passing_only=True),
        ]
        for what, id_, service, number in steps:
            if what == "register":
                await setup.register(id_, service, f"t{number}")
            elif what == "flip":
                await setup.registrar.beat([Beat("", f"c-{id_}", list(Health)[number % 3])])
            elif what == "remove":
                try:
                    await setup.registrar.deregister("", id_)
                except NotFound:
                    pass
            elif what == "node":
                node_check = CheckDefinition("serfHealth", "n", CheckKind.NODE)
                try:
                    await setup.registrar.add_check("", node_check, CheckState(list(Health)[number % 3]))
                except NotFound:
                    pass
            elif what == "read":
                await readers[number].read_all()
            elif what == "reset":
                stored = setup.copy.snapshot()
                updates = [Update(key, record.value, record.revision, record.lease) for key, record in stored.items()]
                setup.copy.reset(updates, setup.copy.revision)
            elif what == "join":
                readers.append(setup.reader(service, passing_only=bool(number % 2)))
            else:
                await setup.flush()
        await setup.flush()
        await setup.flush()
        for reader in readers:
            await reader.read_all()
            assert reader.known == setup.expected(reader.asked), reader.asked
            reader.watcher.close()
        assert not setup.hub._groups
        assert not setup.hub._by_service

    asyncio.run(play())


async def test_a_slow_watcher_gets_all_anew_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUED_MAX", 3)
    setup = Setup()
    await setup.register("a")
    slow, quick = setup.reader(), setup.reader()
    await slow.read_all()
    await quick.read_all()
    for number in range(20):
        await setup.registrar.beat([Beat("", "c-a", list(Health)[number % 3])])
        await setup.flush()
        await quick.read_all()
        assert len(slow.watcher._queue) <= 3
    assert quick.snapshots == 1
    await slow.read_all()
    assert slow.snapshots == 2
    assert slow.known == quick.known == setup.expected(slow.asked)
    assert setup.counters.overflows == 1


async def test_a_change_is_encoded_once_for_all_who_asked_the_same() -> None:
    setup = Setup()
    await setup.register("a")
    readers = [setup.reader() for _ in range(200)]
    for reader in readers:
        await reader.read_all()
    await setup.registrar.beat([Beat("", "c-a", Health.PASSING)])
    await setup.flush()
    assert (setup.counters.deltas, setup.counters.deltas_sent) == (1, 200)
    assert len({id(reader.watcher._queue[0]) for reader in readers}) == 1


async def test_changes_that_come_together_are_told_together() -> None:
    setup = Setup()
    reader = setup.reader()
    await reader.read_all()
    for number in range(50):
        await setup.register(f"i{number}")
    await setup.flush()
    await reader.read_all()
    assert len(reader.known) == 50
    assert reader.responses <= 4


async def test_watchers_end_with_the_process() -> None:
    setup = Setup()
    reader = setup.reader()
    await reader.read_all()
    waiting = asyncio.create_task(reader.watcher.take())
    await asyncio.sleep(0)
    setup.hub.stop()
    assert await waiting == ()
    reader.watcher.close()


async def test_old_news_is_said_to_be_old() -> None:
    setup = Setup()
    await setup.register("a")
    setup.copy._heard_s = -1000.0
    (part,) = await setup.hub.watch(Filter.of("web", (), passing_only=False)).take()
    assert pb.WatchResponse.FromString(part).freshness.stale


async def test_who_only_listens_hears_that_kv_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESHNESS_S", 0.01)
    setup = Setup()
    await setup.register("a")
    reader = setup.reader()
    await reader.read_all()
    running = asyncio.create_task(setup.hub.run())
    await asyncio.sleep(0)
    for heard_s, stale in ((-1000.0, True), (1000.0, False)):
        setup.copy._heard_s = heard_s
        (part,) = await reader.watcher.take()
        response = pb.WatchResponse.FromString(part)
        assert response.freshness.stale is stale
        assert response.freshness.index == reader.index
        assert not response.changed
        assert not response.is_snapshot
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
