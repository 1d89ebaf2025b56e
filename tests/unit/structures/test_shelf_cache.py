"""The cache against what it must never do: exceed its budget, forget what it charged, lose what is in use."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from structures.shelf_cache import ADMIT_EVERY, Shelf, ShelfCache


class Thing:
    def __init__(self, name: int) -> None:
        self.used = False
        self.name = name


PLACES = 8


class CacheMachine(RuleBasedStateMachine):
    @initialize(capacity=st.integers(0, 60))
    def begin(self, capacity: int) -> None:
        self.cache: ShelfCache[Thing] = ShelfCache(capacity)
        self.shelves: list[Shelf[Thing]] = [self.cache.shelf(PLACES)]
        self.charges: dict[tuple[int, int], int] = {}
        self.names = 0

    @rule()
    def add_shelf(self) -> None:
        self.shelves.append(self.cache.shelf(PLACES))

    @rule(number=st.integers(0, 100), position=st.integers(0, PLACES - 1), charge=st.integers(1, 25))
    def read(self, number: int, position: int, charge: int) -> None:
        number %= len(self.shelves)
        shelf = self.shelves[number]
        if not shelf.things:
            return
        thing = shelf.things[position]
        if thing is None:
            self.names += 1
            thing = Thing(self.names)
            before = self.cache.charge_bytes
            self.cache.put(shelf, position, thing, charge)
            self.charges[number, position] = charge
            if before + charge <= self.cache.capacity_bytes:
                assert shelf.things[position] is thing
        else:
            thing.used = True

    @rule(number=st.integers(0, 100))
    def clear(self, number: int) -> None:
        shelf = self.shelves[number % len(self.shelves)]
        self.cache.clear(shelf)
        assert shelf.things == []

    @invariant()
    def charges_what_it_holds(self) -> None:
        total = 0
        for number, shelf in enumerate(self.shelves):
            held = [self.charges[number, place] for place, thing in enumerate(shelf.things) if thing is not None]
            assert (shelf.count, shelf.charge_bytes) == (len(held), sum(held))
            total += sum(held)
        assert self.cache.charge_bytes == total <= self.cache.capacity_bytes
        # Cleared shelves do not make the queue grow without bound.
        assert len(self.cache._queue) <= 2 * sum(shelf.count for shelf in self.shelves) + 1


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_what_is_in_use_survives_what_is_used_once() -> None:
    cache: ShelfCache[Thing] = ShelfCache(100)
    hot = cache.shelf(50)
    for position in range(50):
        cache.put(hot, position, Thing(position), 1)
    scanned = cache.shelf(10_000)
    source = random.Random(5)
    for position in range(10_000):
        cache.put(scanned, position, Thing(position), 1)
        for _ in range(2):
            thing = hot.things[source.randrange(50)]
            if thing is not None:
                thing.used = True
    assert hot.count >= 40
    assert cache.evictions > 1000


def test_one_in_three_is_taken_when_full() -> None:
    cache: ShelfCache[Thing] = ShelfCache(10)
    shelf = cache.shelf(1000)
    for position in range(10):
        cache.put(shelf, position, Thing(position), 1)
    assert shelf.count == 10
    for position in range(10, 10 + 10 * ADMIT_EVERY):
        cache.put(shelf, position, Thing(position), 1)
    assert cache.evictions == 10
