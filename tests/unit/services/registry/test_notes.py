from services.registry import notes as module
from services.registry.catalogue import KeyKind
from services.registry.domain import Instance
from services.registry.interface import Topic, TopicKind
from services.registry.notes import NoteCollector
from tests.unit.services.registry.memory_registry import memory_registry
from tests.unit.services.registry.test_registrar import FakeClock


async def test_notes_go_and_no_index_falls() -> None:
    copy, registrar, store = memory_registry(FakeClock())
    for number in range(2 * module.REMOVED_AT_ONCE):
        await registrar.register(Instance("", f"i{number}", f"s{number}"), [])
        await registrar.deregister("", f"i{number}")
    await registrar.register(Instance("", "kept", "kept"), [])
    topics = [Topic(kind) for kind in (TopicKind.SERVICES, TopicKind.NODES, TopicKind.CHECKS, TopicKind.ALL)]
    topics += [Topic(TopicKind.SERVICE, name) for name in ("s0", "s7", "kept", "never")]
    before = {topic: copy.index(topic) for topic in topics}
    collector = NoteCollector(copy, store, "registry-1")
    assert await collector.collect() == 2 * module.REMOVED_AT_ONCE + 1
    assert copy.count(KeyKind.GONE_SERVICE) == copy.count(KeyKind.GONE_NODE) == 0
    assert all(copy.index(topic) >= before[topic] for topic in topics)
    assert [endpoint.instance.id for endpoint in copy.endpoints("kept")] == ["kept"]
    # What is removed from now on is noted again.
    await registrar.deregister("", "kept")
    assert copy.index(Topic(TopicKind.SERVICE, "kept")) == copy.revision


async def test_a_note_that_is_written_meanwhile_stays() -> None:
    copy, registrar, store = memory_registry(FakeClock())
    await registrar.register(Instance("", "a", "web"), [])
    await registrar.deregister("", "a")
    commit = store.commit
    commits = 0

    async def interfering(plan: object) -> object:
        nonlocal commits
        commits += 1
        if commits == 2:
            await registrar.register(Instance("", "b", "web"), [])
            await registrar.deregister("", "b")
        return await commit(plan)  # type: ignore[arg-type]

    store.commit = interfering  # type: ignore[method-assign, assignment]
    assert await NoteCollector(copy, store, "registry-1").collect() == 0
    assert copy.count(KeyKind.GONE_SERVICE) == 1
    assert copy.index(Topic(TopicKind.SERVICE, "web")) == copy.revision
