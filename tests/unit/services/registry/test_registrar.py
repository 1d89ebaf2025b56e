"""Goal: whatever two processes are told in turn happens once, and is told truly, although their copies are behind.

Method: a store that several registrars share. Each copy hears of changes only when its registrar waits for them, and
any transaction may be sent twice. hypothesis draws wishes; a plain model says what must come of them.
"""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.catalogue import BeatRecord, Key, KeyKind, MemoryCatalogue, Stored, Update
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node
from services.registry.interface import (
    Beat,
    Exists,
    Invalid,
    NotFound,
    RegistryError,
    Topic,
    TopicKind,
    Unavailable,
    WrongKind,
)
from services.registry.planning import Plan
from services.registry.registrar import ATTEMPTS_MAX, CatalogueRegistrar
from services.registry.store import LeaseGone, Outcome
from tests.unit.services.registry.memory_registry import MemoryStore, memory_registry


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def wall_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


SHARED = Node("orrery", "10.0.0.1")


class Kv:
    """What all processes write to."""

    def __init__(self) -> None:
        self.records: dict[Key, Stored] = {}
        self.log: list[Update] = []
        self.revision = 1
        self.leases: set[int] = set()
        self.granted = 0
        self.sends_twice: Callable[[], bool] = lambda: False
        self.before_commit: Callable[[], None] = lambda: None

    def commit(self, plan: Plan) -> bool:
        for key, revision in plan.guards.items():
            if revision != (self.records[key].revision if key in self.records else 0):
                return False
        for node in plan.empty_nodes:
            if any(key.kind is KeyKind.INSTANCE and key.name == node for key in self.records):
                return False
        if any(write.lease and write.lease not in self.leases for write in plan.writes.values()):
            raise LeaseGone
        if plan.writes:
            self.revision += 1
        for write in plan.writes.values():
            if write.value is None:
                self.records.pop(write.key, None)
            else:
                self.records[write.key] = Stored(write.value, self.revision, write.lease)
            self.log.append(Update(write.key, write.value, self.revision, write.lease))
        return True


class LaggingStore:
    """One process's way to it."""

    def __init__(self, kv: Kv, copy: MemoryCatalogue) -> None:
        self._kv = kv
        self._copy = copy

    def _catch_up(self) -> None:
        revision = self._copy.revision
        self._copy.apply([update for update in self._kv.log if update.revision > revision], self._kv.revision)

    async def commit(self, plan: Plan) -> Outcome:
        await asyncio.sleep(0)
        self._kv.before_commit()
        done = self._kv.commit(plan)
        repeated = self._kv.sends_twice()
        if repeated:
            done = self._kv.commit(plan)
        if plan.writes or not done:
            self._catch_up()
        return Outcome(done, self._kv.revision, repeated)

    async def catch_up(self) -> None:
        self._catch_up()

    async def grant(self, ttl_s: int) -> int:
        self._kv.granted += 1
        self._kv.leases.add(self._kv.granted)
        return self._kv.granted

    async def renew(self, lease: int) -> bool:
        return lease in self._kv.leases

    def forget(self, lease: int) -> None:
        self._kv.leases.discard(lease)


def process(kv: Kv) -> tuple[MemoryCatalogue, CatalogueRegistrar]:
    clock = FakeClock()
    copy = MemoryCatalogue(clock)
    copy.reset((), 1)
    return copy, CatalogueRegistrar(copy, LaggingStore(kv, copy), clock, shared=SHARED)


def ttl(id_: str = "", ttl_ms: int = 5000, initial: Health = Health.CRITICAL) -> CheckDefinition:
    return CheckDefinition(id_, "", CheckKind.TTL, ttl_ms=ttl_ms, initial=initial)


WISHES = st.lists(
    st.tuples(
        st.sampled_from(("register", "register", "deregister", "beat")),
        st.sampled_from((0, 1)),
        st.sampled_from(("a", "b")),
        st.sampled_from(("web", "db")),
        st.integers(0, 2),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(WISHES, st.lists(st.booleans(), max_size=60))
def test_two_processes_do_what_they_are_told_once(
    wishes: list[tuple[str, int, str, str, int]], twice: list[bool]
) -> None:
    draws, sent_twice = iter(twice), 0
    kv = Kv()

    def sends_twice() -> bool:
        nonlocal sent_twice
        drawn = next(draws, False)
        sent_twice += drawn
        return drawn

    kv.sends_twice = sends_twice
    processes = [process(kv), process(kv)]
    model: dict[str, tuple[str, int]] = {}

    async def play() -> None:
        for what, where, id_, service, checks in wishes:
            copy, registrar = processes[where]
            held = model.get(id_)
            if what == "register":
                wish = registrar.register(Instance("", id_, service), [ttl(f"{id_}-{n}") for n in range(checks)])
                if held is not None and held[0] != service:
                    with pytest.raises(Exists):
                        await wish
                    continue
                index = await wish
                model[id_] = (service, checks)
                assert copy.index(Topic(TopicKind.SERVICE, service)) >= index
                endpoint = copy.instance("orrery", id_)
                assert endpoint is not None
                assert endpoint.instance.service == service
                assert len(endpoint.checks) == checks
            elif what == "deregister":
                if held is None:
                    before = sent_twice
                    try:
                        await registrar.deregister("", id_)
                    except NotFound:
                        pass
                    else:
                        # It may have been its own doing, as far as it can know.
                        assert sent_twice > before
                else:
                    await registrar.deregister("", id_)
                    del model[id_]
                assert copy.instance("orrery", id_) is None
            else:
                (result,) = await registrar.beat([Beat("", f"{id_}-0", Health.PASSING)])
                assert isinstance(result, NotFound) == (held is None or held[1] == 0), result

    asyncio.run(play())
    kept = {
        key.id: (
            stored.value.service,
            sum(other.kind is KeyKind.CHECK and other.id[0] == key.id for other in kv.records),
        )
        for key, stored in kv.records.items()
        if isinstance(stored.value, Instance)
    }
    assert kept == model
    beats = {key.id for key in kv.records if key.kind is KeyKind.BEAT}
    assert beats <= {key.id for key in kv.records if key.kind is KeyKind.CHECK}


async def test_a_wish_that_seems_fulfilled_is_looked_up() -> None:
    """The copy says that it is there, but it was taken away elsewhere."""
    kv = Kv()
    (_, first), (copy, second) = process(kv), process(kv)
    await first.register(Instance("", "a", "web"), [])
    await second.register(Instance("", "b", "web"), [])
    await first.deregister("", "a")
    assert copy.instance("orrery", "a") is not None
    await second.register(Instance("", "a", "web"), [])
    assert Key(KeyKind.INSTANCE, "orrery", "a") in kv.records


async def test_others_who_keep_changing_the_same_are_not_fought_for_ever() -> None:
    kv = Kv()
    _, registrar = process(kv)
    await registrar.register(Instance("", "a", "web"), [])
    attempts = 0

    def interfere() -> None:
        nonlocal attempts
        attempts += 1
        key = Key(KeyKind.INSTANCE, "orrery", "a")
        kv.revision += 1
        kv.records[key] = Stored(Instance("orrery", "a", "web", port=attempts), kv.revision)
        kv.log.append(Update(key, kv.records[key].value, kv.revision))

    kv.before_commit = interfere
    with pytest.raises(Unavailable) as refused:
        await registrar.register(Instance("", "a", "web", port=9000), [])
    assert refused.value.definite
    assert attempts == ATTEMPTS_MAX


@pytest.fixture
def registry() -> tuple[MemoryCatalogue, CatalogueRegistrar, MemoryStore]:
    return memory_registry(FakeClock())


Registry = tuple[MemoryCatalogue, CatalogueRegistrar, MemoryStore]


def said(copy: MemoryCatalogue, check_id: str) -> CheckState:
    check = copy.check("orrery", check_id)
    assert check is not None
    return check.state


async def test_a_check_that_stays_keeps_what_it_said(registry: Registry) -> None:
    copy, registrar, _ = registry
    await registrar.register(Instance("", "", "web"), [ttl("c"), ttl("d")])
    await registrar.beat([Beat("", "c", Health.WARNING), Beat("", "d", Health.PASSING)])
    await registrar.register(Instance("", "", "web", port=81), [ttl("c"), ttl("d", 9000)])
    assert said(copy, "c").health is Health.WARNING
    assert said(copy, "d").health is Health.PASSING
    await registrar.register(Instance("", "", "web"), [ttl("c")])
    assert copy.check("orrery", "d") is None
    await registrar.register(Instance("", "", "web"), [ttl("e")], keep_other_checks=True)
    assert {check.definition.id for check in copy.endpoints("web")[0].checks} == {"c", "e"}


async def test_a_check_of_another_kind_begins_anew(registry: Registry) -> None:
    copy, registrar, store = registry
    await registrar.register(Instance("", "", "web"), [ttl("c", initial=Health.PASSING)])
    assert copy.is_beating("orrery", "c")
    await registrar.register(
        Instance("", "", "web"),
        [CheckDefinition("c", "", CheckKind.TCP, target="10.0.0.1:80", interval_ms=1000)],
    )
    assert said(copy, "c").health is Health.CRITICAL
    assert not copy.is_beating("orrery", "c")
    assert not store.leases


async def test_an_id_is_taken_over_when_that_is_meant(registry: Registry) -> None:
    copy, registrar, _ = registry
    await registrar.register(Instance("", "a", "web"), [ttl("c")])
    await registrar.register(Instance("", "b", "db"), [ttl("d")])
    with pytest.raises(Exists, match="check id"):
        await registrar.register(Instance("", "b", "db"), [ttl("c")])
    before = copy.index(Topic(TopicKind.SERVICE, "web"))
    await registrar.register(Instance("", "b", "db"), [ttl("c")], take_over=True)
    assert copy.index(Topic(TopicKind.SERVICE, "web")) > before
    assert not copy.endpoints("web")[0].checks
    await registrar.register(Instance("", "a", "db"), [], take_over=True)
    assert not copy.endpoints("web")
    assert [endpoint.instance.id for endpoint in copy.endpoints("db")] == ["a", "b"]


async def test_the_time_of_a_check_runs_with_beats_and_ends(registry: Registry) -> None:
    copy, registrar, store = registry
    await registrar.register(Instance("", "", "web"), [ttl("c", 2500)])
    assert not copy.is_beating("orrery", "c")
    assert await registrar.beat([Beat("", "c", Health.PASSING)]) == [None]
    assert copy.is_beating("orrery", "c")
    assert list(store.leases.values()) == [3]
    commits = store.commits
    assert await registrar.beat([Beat("orrery", "c", Health.PASSING)] * 3) == [None] * 3
    assert (store.commits, store.renewals) == (commits, 3)
    store.expire("orrery", "c")
    assert await registrar.beat([Beat("", "c", Health.PASSING)]) == [None]
    assert copy.is_beating("orrery", "c")
    # Another TTL needs another lease.
    await registrar.register(Instance("", "", "web"), [ttl("c", 9000)])
    await registrar.beat([Beat("", "c", Health.PASSING)])
    held = copy.stored(Key(KeyKind.BEAT, "orrery", "c"))
    assert held is not None
    assert held.value == BeatRecord(9)
    assert list(store.leases.values()) == [9]
    await registrar.deregister("", "web")
    assert not store.leases


async def test_a_lease_that_ended_unheard_is_made_again(registry: Registry) -> None:
    copy, registrar, store = registry
    await registrar.register(Instance("", "", "web"), [ttl("c")])
    await registrar.beat([Beat("", "c", Health.PASSING)])
    store.leases.clear()
    assert await registrar.beat([Beat("", "c", Health.PASSING)]) == [None]
    held = copy.stored(Key(KeyKind.BEAT, "orrery", "c"))
    assert held is not None
    assert held.lease in store.leases


async def test_beats_are_answered_each_and_when_kv_is_away(registry: Registry) -> None:
    _, registrar, store = registry
    await registrar.register(
        Instance("", "", "web"),
        [ttl("c"), CheckDefinition("t", "", CheckKind.TCP, target="10.0.0.1:80", interval_ms=1000)],
    )
    results = await registrar.beat(
        [
            Beat("", "c", Health.PASSING),
            Beat("", "t", Health.PASSING),
            Beat("", "x", Health.PASSING),
            Beat("", "\n", Health.PASSING),
        ]
    )
    assert [type(result) for result in results] == [type(None), WrongKind, NotFound, Invalid]
    store.away = True
    results = await registrar.beat([Beat("", "c", Health.PASSING), Beat("", "c", Health.WARNING)])
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    with pytest.raises(Invalid):
        await registrar.beat([Beat("", "c", Health.PASSING)] * 4097)


async def test_a_node_goes_with_all_that_is_on_it(registry: Registry) -> None:
    copy, registrar, store = registry
    node = Node("n1", "10.0.0.9")
    for number in range(100):
        await registrar.register(
            Instance("n1", f"i{number}", "web"), [ttl(f"c{number}", initial=Health.PASSING)], node=node
        )
    await registrar.add_check("n1", CheckDefinition("serfHealth", "n", CheckKind.NODE), CheckState(Health.PASSING))
    assert len(copy.endpoints("web")) == 100
    await registrar.deregister_node("n1")
    assert copy.node("n1") is None
    assert not copy.endpoints("web")
    assert not copy.checks()
    assert not store.leases
    with pytest.raises(NotFound):
        await registrar.deregister_node("n1")


async def test_states_are_written_by_comparison(registry: Registry) -> None:
    copy, registrar, _ = registry
    await registrar.register(Instance("", "", "web"), [ttl("c")])
    check = copy.check("orrery", "c")
    assert check is not None
    assert await registrar.set_state(check, CheckState(Health.PASSING, "x" * 5000 + "\x1b"))
    assert not await registrar.set_state(check, CheckState(Health.WARNING))
    assert said(copy, "c").health is Health.PASSING
    assert len(said(copy, "c").output) == 4096


async def test_checks_need_their_owner(registry: Registry) -> None:
    copy, registrar, _ = registry
    definition = CheckDefinition("m", "m", CheckKind.MAINTENANCE, instance_id="web")
    with pytest.raises(NotFound):
        await registrar.add_check("", definition)
    await registrar.register(Instance("", "", "web"), [])
    index = await registrar.add_check("", definition, CheckState(Health.CRITICAL, "why"))
    assert said(copy, "m").changed_at_ms == 1_000_000
    assert await registrar.add_check("", definition, CheckState(Health.CRITICAL, "why")) == index
    await registrar.remove_check("", "m")
    with pytest.raises(NotFound):
        await registrar.remove_check("", "m")
    with pytest.raises(NotFound):
        await registrar.add_check("nowhere", CheckDefinition("m", "m", CheckKind.MAINTENANCE))
    assert await registrar.add_check("", CheckDefinition("n", "n", CheckKind.MAINTENANCE), CheckState(Health.CRITICAL))


async def test_an_unknown_node_needs_an_address(registry: Registry) -> None:
    copy, registrar, _ = registry
    with pytest.raises(Invalid, match=r"^node: "):
        await registrar.register(Instance("n1", "", "web"), [])
    with pytest.raises(Invalid, match=r"^node: "):
        await registrar.register(Instance("n1", "", "web"), [], node=Node("n2", "10.0.0.2"))
    await registrar.register(Instance("n1", "", "web"), [], node=Node("n1", "10.0.0.2"))
    await registrar.register(Instance("n1", "", "web"), [])
    await registrar.register_node(Node("n1", "10.0.0.3"))
    assert copy.endpoints("web")[0].address == "10.0.0.3"


async def test_kv_away_is_told(registry: Registry) -> None:
    _, registrar, store = registry
    store.away = True
    wishes: Sequence[Callable[[], object]] = (
        lambda: registrar.register(Instance("", "", "web"), []),
        lambda: registrar.deregister("", "web"),
        lambda: registrar.deregister_node("orrery"),
        lambda: registrar.remove_check("", "c"),
    )
    for wish in wishes:
        with pytest.raises(RegistryError) as refused:
            await wish()  # type: ignore[misc]
        assert isinstance(refused.value, Unavailable)
