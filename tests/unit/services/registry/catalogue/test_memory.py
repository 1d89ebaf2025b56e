"""Goal: however the copy came to hold its records, it shows the same, and its indexes tell of every change.

Method: hypothesis makes histories of transactions such as the registrar writes. One copy follows them one by one; after
each step it must show what a plain model makes of the records, and what a copy that reads everything anew shows.
"""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.catalogue import (
    BeatRecord,
    CheckRecord,
    GoneRecord,
    Key,
    KeyKind,
    MemoryCatalogue,
    ProcessRecord,
    Record,
    Update,
)
from services.registry.domain import CheckDefinition, CheckKind, CheckState, Health, Instance, Node
from services.registry.interface import Change, ChangeKind, Endpoint, Staleness, Topic, TopicKind

NODES = ("n1", "n2")
IDS = ("a", "b", "c")
SERVICES = ("web", "db")
HEALTHS = tuple(Health)


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def wall_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


class Kv:
    """The records, and the transactions that the registrar does on them."""

    def __init__(self) -> None:
        self.records: dict[Key, tuple[Record, int]] = {}
        self.revision = 1

    def commit(self, *writes: tuple[Key, Record | None]) -> list[Update]:
        self.revision += 1
        updates = []
        for key, value in writes:
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = (value, self.revision)
            updates.append(Update(key, value, self.revision))
        return updates

    def all(self) -> list[Update]:
        return [
            Update(key, value, revision)
            for key, (value, revision) in sorted(self.records.items(), key=lambda item: (item[0].kind.value, item[0]))
        ]


def key_of(kind: KeyKind, name: str, id_: str = "") -> Key:
    return Key(kind, name, id_)


def step(kv: Kv, what: str, node: str, id_: str, service: str, health: Health) -> list[Update]:
    """One transaction; nothing when it makes no sense now."""
    place, node_key = key_of(KeyKind.INSTANCE, node, id_), key_of(KeyKind.NODE, node)
    held = kv.records.get(place)
    instance = held[0] if held is not None else None
    check = key_of(KeyKind.CHECK, node, f"c-{id_}")
    if what == "node":
        return kv.commit((node_key, Node(node, f"10.0.0.{len(health)}")))
    if node_key not in kv.records:
        return kv.commit((node_key, Node(node, "10.0.0.1")))
    if what == "instance":
        writes: list[tuple[Key, Record | None]] = [(place, Instance(node, id_, service, tags=(health.value,)))]
        if isinstance(instance, Instance) and instance.service != service:
            writes.append((key_of(KeyKind.GONE_SERVICE, instance.service), GoneRecord()))
        return kv.commit(*writes)
    if what == "node check":
        definition = CheckDefinition("serfHealth", "node", CheckKind.NODE)
        return kv.commit(
            (node_key, kv.records[node_key][0]),
            (key_of(KeyKind.CHECK, node, "serfHealth"), CheckRecord(definition, CheckState(health))),
        )
    if not isinstance(instance, Instance):
        return []
    if what == "check":
        definition = CheckDefinition(f"c-{id_}", "c", CheckKind.TTL, instance_id=id_, ttl_ms=1000)
        return kv.commit((place, instance), (check, CheckRecord(definition, CheckState(health))))
    if what == "flip" and check in kv.records:
        record = kv.records[check][0]
        assert isinstance(record, CheckRecord)
        return kv.commit((check, CheckRecord(record.definition, CheckState(health))))
    if what == "remove check" and check in kv.records:
        return kv.commit((check, None), (place, instance))
    if what == "remove":
        writes = [(check, None)] if check in kv.records else []
        return kv.commit(
            *writes,
            (place, None),
            (key_of(KeyKind.GONE_SERVICE, instance.service), GoneRecord()),
            (key_of(KeyKind.GONE_NODE, node), GoneRecord()),
        )
    return []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("node", "instance", "instance", "check", "node check", "flip", "flip", "remove check", "remove")
        ),
        st.sampled_from(NODES),
        st.sampled_from(IDS),
        st.sampled_from(SERVICES),
        st.sampled_from(HEALTHS),
    ),
    max_size=40,
)

TOPICS = [
    *(Topic(kind) for kind in (TopicKind.SERVICES, TopicKind.NODES, TopicKind.CHECKS, TopicKind.ALL)),
    *(Topic(TopicKind.SERVICE, service) for service in SERVICES),
    *(Topic(TopicKind.NODE, node) for node in NODES),
]


def model_endpoints(kv: Kv, service: str) -> list[tuple[str, str, Health, str]]:
    """Node, id, health and address of a service's instances, from the records alone."""
    found = []
    for key, (value, _) in kv.records.items():
        if not isinstance(value, Instance) or value.service != service:
            continue
        worst = 0
        for other, (record, _) in kv.records.items():
            if not isinstance(record, CheckRecord) or other.name != key.name:
                continue
            if record.definition.instance_id in ("", value.id):
                worst = max(worst, record.state.health.badness)
        node = kv.records[Key(KeyKind.NODE, key.name)][0]
        assert isinstance(node, Node)
        found.append((key.name, key.id, HEALTHS[worst], node.address))
    return sorted(found)


def shown(catalogue: MemoryCatalogue) -> object:
    return (
        {name: set(tags) for name, tags in catalogue.services().items()},
        {service: list(catalogue.endpoints(service)) for service in SERVICES},
        list(catalogue.nodes()),
        list(catalogue.checks()),
        {topic: catalogue.index(topic) for topic in TOPICS},
    )


def brief(endpoint: Endpoint) -> tuple[str, str, Health, str]:
    return (endpoint.instance.node, endpoint.instance.id, endpoint.health, endpoint.address)


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_following_and_reading_anew_show_the_same_as_the_model(
    steps: list[tuple[str, str, str, str, Health]],
) -> None:
    kv = Kv()
    clock = FakeClock()
    following = MemoryCatalogue(clock)
    following.reset((), 1)
    before = {topic: following.index(topic) for topic in TOPICS}
    for one in steps:
        earlier = shown(following)
        updates = step(kv, *one)
        if not updates:
            continue
        following.apply(updates, kv.revision)
        anew = MemoryCatalogue(clock)
        anew.reset(kv.all(), kv.revision)
        assert shown(following) == shown(anew)
        for service in SERVICES:
            assert list(map(brief, following.endpoints(service))) == model_endpoints(kv, service)
        after = {topic: following.index(topic) for topic in TOPICS}
        assert all(after[topic] >= before[topic] for topic in TOPICS)
        if shown(following) != earlier:
            assert after[Topic(TopicKind.ALL)] == kv.revision
        before = after


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_a_topic_shows_changes_only_with_its_index(steps: list[tuple[str, str, str, str, Health]]) -> None:
    kv = Kv()
    catalogue = MemoryCatalogue(FakeClock())
    catalogue.reset((), 1)
    seen: dict[Topic, dict[int, object]] = {}
    for one in steps:
        catalogue.apply(step(kv, *one), kv.revision)
        views: dict[Topic, object] = {
            Topic(TopicKind.SERVICES): {name: set(tags) for name, tags in catalogue.services().items()},
            Topic(TopicKind.NODES): [(view.node, view.checks) for view in catalogue.nodes()],
            Topic(TopicKind.CHECKS): list(catalogue.checks()),
        }
        for service in SERVICES:
            views[Topic(TopicKind.SERVICE, service)] = list(catalogue.endpoints(service))
        for node in NODES:
            views[Topic(TopicKind.NODE, node)] = catalogue.node(node)
        for topic, view in views.items():
            assert seen.setdefault(topic, {}).setdefault(catalogue.index(topic), view) == view


def filled() -> tuple[Kv, MemoryCatalogue, FakeClock]:
    kv, clock = Kv(), FakeClock()
    catalogue = MemoryCatalogue(clock)
    catalogue.reset(
        kv.commit(
            (Key(KeyKind.NODE, "n1"), Node("n1", "10.0.0.1")),
            (Key(KeyKind.INSTANCE, "n1", "a"), Instance("n1", "a", "web", port=80)),
            (Key(KeyKind.INSTANCE, "n1", "b"), Instance("n1", "b", "db", port=81)),
        ),
        kv.revision,
    )
    return kv, catalogue, clock


def test_what_was_returned_is_kept_until_something_in_it_changes() -> None:
    kv, catalogue, _ = filled()
    web, db = catalogue.endpoints("web"), catalogue.endpoints("db")
    catalogue.apply(step(kv, "check", "n1", "b", "db", Health.WARNING), kv.revision)
    assert catalogue.endpoints("web") is web
    assert catalogue.endpoints("db") is not db
    assert db[0].health is Health.PASSING


async def test_a_wait_ends_with_a_change_of_its_topic_and_with_no_other() -> None:
    kv, catalogue, _ = filled()
    web, db = Topic(TopicKind.SERVICE, "web"), Topic(TopicKind.SERVICE, "db")
    waits = [asyncio.create_task(catalogue.wait(topic, catalogue.index(topic), 30)) for topic in (web, db)]
    await asyncio.sleep(0)
    assert catalogue.topics.waiting == 2
    catalogue.apply(step(kv, "check", "n1", "b", "db", Health.WARNING), kv.revision)
    assert await waits[1]
    assert not waits[0].done()
    waits[0].cancel()
    await asyncio.gather(waits[0], return_exceptions=True)
    assert catalogue.topics.waiting == 0
    assert not await catalogue.wait(web, catalogue.index(web), 0.01)
    assert await catalogue.wait(web, 0, 0)


async def test_a_reading_anew_wakes_those_whose_index_is_passed() -> None:
    kv, catalogue, _ = filled()
    topic = Topic(TopicKind.SERVICE, "web")
    waiting = asyncio.create_task(catalogue.wait(topic, catalogue.index(topic), 30))
    await asyncio.sleep(0)
    step(kv, "remove", "n1", "a", "web", Health.PASSING)
    catalogue.reset(kv.all(), kv.revision)
    assert await waiting
    assert catalogue.index(topic) == kv.revision
    assert catalogue.endpoints("web") == ()


def test_listeners_hear_of_changes_once_they_are_in_the_copy() -> None:
    kv, catalogue, _ = filled()
    heard: list[Change] = []

    def listen(changes: object) -> None:
        assert isinstance(changes, list)
        assert len(catalogue.endpoints("web")) == 0
        heard.extend(changes)

    end = catalogue.subscribe(listen)
    catalogue.apply(step(kv, "remove", "n1", "a", "web", Health.PASSING), kv.revision)
    assert heard == [Change(ChangeKind.INSTANCE, "n1", "a", "web", kv.revision)]
    end()
    catalogue.apply(step(kv, "remove", "n1", "b", "db", Health.PASSING), kv.revision)
    assert len(heard) == 1


def test_changes_that_are_in_the_copy_already_are_left_out() -> None:
    kv, catalogue, _ = filled()
    old = step(kv, "instance", "n1", "a", "web", Health.WARNING)
    step(kv, "remove", "n1", "a", "web", Health.WARNING)
    catalogue.reset(kv.all(), kv.revision)
    catalogue.apply(old, kv.revision)
    assert catalogue.instance("n1", "a") is None


def test_a_beat_and_a_process_are_told_and_raise_no_index() -> None:
    kv, catalogue, _ = filled()
    catalogue.apply(step(kv, "check", "n1", "a", "web", Health.PASSING), kv.revision)
    index = catalogue.index(Topic(TopicKind.ALL))
    heard: list[Change] = []
    catalogue.subscribe(heard.extend)
    beat, process = Key(KeyKind.BEAT, "n1", "c-a"), Key(KeyKind.PROCESS, "registry-1")
    catalogue.apply([Update(beat, BeatRecord(10), 50, 7), Update(process, ProcessRecord(), 51, 8)], 51)
    assert catalogue.is_beating("n1", "c-a")
    assert catalogue.processes() == ["registry-1"]
    catalogue.apply([Update(beat, BeatRecord(20), 52, 9), Update(beat, None, 53), Update(process, None, 54)], 54)
    assert not catalogue.is_beating("n1", "c-a")
    assert catalogue.processes() == []
    assert [(change.kind, change.service) for change in heard] == [
        (ChangeKind.BEAT, "web"),
        (ChangeKind.PROCESS, ""),
        (ChangeKind.BEAT, "web"),
        (ChangeKind.PROCESS, ""),
    ]
    assert catalogue.index(Topic(TopicKind.ALL)) == index


def test_the_floor_raises_every_index() -> None:
    _, catalogue, _ = filled()
    catalogue.apply([Update(Key(KeyKind.GONE_FLOOR, ""), GoneRecord(), 90)], 90)
    assert all(catalogue.index(topic) == 90 for topic in TOPICS)
    assert catalogue.index(Topic(TopicKind.SERVICE, "never seen")) == 90


def test_a_silent_kv_makes_the_copy_stale() -> None:
    _, catalogue, clock = filled()
    assert catalogue.staleness == Staleness(False, 0)
    clock.now_s += 10
    assert catalogue.staleness == Staleness(True, 10_000)
    catalogue.heard()
    assert catalogue.staleness == Staleness(False, 0)


async def test_reaching_a_revision() -> None:
    kv, catalogue, _ = filled()
    ahead = asyncio.create_task(catalogue.progress.reach(kv.revision + 1, 30))
    far = asyncio.create_task(catalogue.progress.reach(kv.revision + 2, 0.01))
    await asyncio.sleep(0)
    catalogue.apply((), kv.revision + 1)
    assert await ahead
    assert not await far


def test_unknown_things_are_none() -> None:
    _, catalogue, _ = filled()
    assert catalogue.instance("n1", "nobody") is None
    assert catalogue.node("n9") is None
    assert catalogue.check("n1", "nothing") is None
    assert catalogue.endpoints("nothing") == ()
    assert catalogue.index(Topic(TopicKind.SERVICE, "nothing")) == 1
