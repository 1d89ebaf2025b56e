"""The heap of deadlines against a dict, and its memory."""

from hypothesis import given
from hypothesis import strategies as st

from structures.deadline_heap import REBUILD_AT_ENTRIES, DeadlineHeap

STEP = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 8), st.integers(0, 20)),
    st.tuples(st.just("remove"), st.integers(0, 8), st.just(0)),
    st.tuples(st.just("pop"), st.integers(1, 4), st.integers(0, 20)),
)


@given(st.lists(STEP, max_size=200))
def test_against_a_dict(steps: list[tuple[str, int, int]]) -> None:
    heap: DeadlineHeap[int] = DeadlineHeap()
    model: dict[int, float] = {}
    for action, key, time in steps:
        if action == "set":
            heap.set(key, time)
            model[key] = time
        elif action == "remove":
            heap.remove(key)
            model.pop(key, None)
        else:
            due = sorted((deadline, name) for name, deadline in model.items() if deadline <= time)[:key]
            assert heap.pop_due(time, key) == [name for _, name in due]
            for _, name in due:
                del model[name]
        assert len(heap) == len(model)
        assert heap.next_deadline() == (min(model.values()) if model else None)
        assert all(heap.get(name) == deadline for name, deadline in model.items())


def test_renewing_for_ever_does_not_grow() -> None:
    heap: DeadlineHeap[int] = DeadlineHeap()
    for time in range(10_000):
        heap.set(1, time)
    assert len(heap._heap) <= REBUILD_AT_ENTRIES + 1
    assert heap.pop_due(20_000, 10) == [1]
