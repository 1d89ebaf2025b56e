"""The decisions of a queue, against a model that is written from the rules and not from the code."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.lock.queue import Entry, LockQueue, Mode, granted, waits_for


def place(number: int, mode: Mode, permits: int = 1, limit: int = 1) -> Entry:
    return Entry(b"%d" % number, number, number, number, mode, permits, limit)


@st.composite
def queues(draw: st.DrawFn) -> list[Entry]:
    entries = []
    for number in range(1, draw(st.integers(0, 12)) + 1):
        mode: Mode = draw(st.sampled_from(["exclusive", "shared", "semaphore"]))
        limit = draw(st.integers(1, 4))
        entries.append(place(number, mode, draw(st.integers(1, limit)), limit))
    return entries


def keys(entries: object) -> list[bytes]:
    return [entry.key for entry in entries]  # type: ignore[attr-defined]


def test_one_exclusive_place_holds() -> None:
    assert keys(granted([place(1, "exclusive"), place(2, "exclusive"), place(3, "shared")])) == [b"1"]


def test_shared_places_hold_together_until_another_kind_stands_between() -> None:
    queue = [place(1, "shared"), place(2, "shared"), place(3, "exclusive"), place(4, "shared")]
    assert keys(granted(queue)) == [b"1", b"2"]
    assert [waits_for(queue, key) for key in (b"1", b"3", b"4")] == [None, b"2", b"3"]


def test_permits_are_counted_in_order_and_nobody_overtakes() -> None:
    queue = [place(1, "semaphore", 2, 3), place(2, "semaphore", 2, 3), place(3, "semaphore", 1, 3)]
    assert keys(granted(queue)) == [b"1"]  # the third would fit, but stands behind the second
    assert waits_for(queue, b"2") == b"1"
    assert keys(granted(queue[1:])) == [b"2", b"3"]


def test_the_least_limit_counts() -> None:
    queue = [place(1, "semaphore", 1, 2), place(2, "semaphore", 1, 9), place(3, "semaphore", 1, 9)]
    assert keys(granted(queue)) == [b"1", b"2"]


@given(queues())
def test_holders_are_compatible_and_a_first_part(entries: list[Entry]) -> None:
    holders = list(granted(entries))
    assert holders == entries[: len(holders)]
    assert bool(holders) == bool(entries)
    modes = {holder.mode for holder in holders}
    assert len(modes) <= 1
    if modes == {"exclusive"}:
        assert len(holders) == 1
    if modes == {"semaphore"} and len(holders) > 1:
        assert sum(holder.permits for holder in holders) <= min(holder.limit for holder in holders)
    if len(holders) < len(entries):
        # Whoever is next could not hold as well.
        following = entries[len(holders)]
        fits = following.mode == "shared" and modes == {"shared"}
        if following.mode == "semaphore" and modes == {"semaphore"}:
            everybody = [*holders, following]
            fits = sum(each.permits for each in everybody) <= min(each.limit for each in everybody)
        assert not fits


@given(queues(), st.data())
def test_a_place_only_moves_forward(entries: list[Entry], data: st.DataObject) -> None:
    """The rule on which stale views rest: what holds goes on to hold, whoever else leaves or comes."""
    if not entries:
        return
    before = set(keys(granted(entries)))
    leaver = data.draw(st.sampled_from(entries))
    after = set(keys(granted([entry for entry in entries if entry is not leaver] + [place(99, "exclusive")])))
    assert before - {leaver.key} <= after


@given(queues())
def test_who_waits_waits_for_one_before_it_and_waiting_ends_at_a_holder(entries: list[Entry]) -> None:
    holders = set(keys(granted(entries)))
    order = keys(entries)
    for entry in entries:
        key = entry.key
        while (next_key := waits_for(entries, key)) is not None:
            assert order.index(next_key) < order.index(key)
            key = next_key
        assert key in holders


@given(queues())
def test_nothing_is_granted_before_what_it_waits_for_is_gone(entries: list[Entry]) -> None:
    for entry in entries:
        awaited = waits_for(entries, entry.key)
        if awaited is None or entry.mode == "semaphore":
            continue
        rest = [each for each in entries if each.key in (awaited, entry.key) or each is entry]
        assert entry.key not in keys(granted(rest))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.sampled_from(["exclusive", "shared", "semaphore"]))))
def test_tokens_of_grants_strictly_increase(steps: list[tuple[bool, int, Mode]]) -> None:
    """Plays a queue over time: each place is granted in the order of the create revisions, once."""
    queue = LockQueue()
    given_tokens: list[int] = []
    held: set[int] = set()
    for revision, (comes, which, mode) in enumerate(steps, 1):
        if comes:
            queue.put(Entry(b"%d" % revision, revision, revision, revision, mode, 1, 2))
        elif len(queue):
            queue.remove(list(queue)[which % len(queue)].key)
        now = [entry.create_revision for entry in queue.granted()]
        given_tokens += [token for token in now if token not in held]
        held = set(now)
    assert given_tokens == sorted(set(given_tokens))


def test_a_key_that_is_created_again_stands_at_the_end() -> None:
    queue = LockQueue([place(1, "exclusive"), place(2, "exclusive")])
    queue.put(Entry(b"1", 7, 7, 1, "exclusive"))
    assert keys(queue) == [b"2", b"1"]
    queue.put(Entry(b"2", 2, 8, 2, "exclusive", owner="changed"))
    assert keys(queue) == [b"2", b"1"]
    entry = queue.get(b"2")
    assert entry is not None
    assert entry.owner == "changed"
