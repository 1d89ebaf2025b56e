"""A cache bounded in bytes, whose owners look things up by position in a list: a hit is one list access and one mark.

Theory of operation: who owns numbered things (a table its blocks) has a shelf, a list with a place for each; a thing
that is not in memory leaves None there. All shelves share one budget, and one queue of what is on them in the order in
which it came. When the budget is exceeded, the oldest goes, unless it was used since it was last looked at: then its
mark is cleared, and it queues again. That is CLOCK (Corbató, 1968), as a queue: near to LRU in what it keeps, but a hit
moves nothing. Once the budget is used up, only every third thing that comes is taken at all: what is in demand comes
again soon, and what comes once no longer displaces it. Measured against LRU (`python -m bench.structures`): a hit costs
a quarter, a miss two thirds; under Zipf's law 79% hits instead of 77%, with scans going through 63% instead of 58%,
with a hot set that moves the same.

A hit is O(1) and makes no call; `put` is amortized O(1): each turn in the queue is paid for by a put or by a hit.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar

ADMIT_EVERY = 3
"""Of those that come when the budget is used up, one in so many is taken. With 4, a moving hot set hits less than in
LRU; with 2, scans displace more."""


class Markable(Protocol):
    """What can be on a shelf."""

    used: bool
    """Set by whoever uses it; cleared by the cache."""


ThingT = TypeVar("ThingT", bound=Markable)


class Shelf(Generic[ThingT]):
    """The places of one owner."""

    __slots__ = ("charge_bytes", "count", "things")

    def __init__(self, places: int) -> None:
        self.things: list[ThingT | None] = [None] * places
        """By position. Owners read this; only the cache writes it."""
        self.charge_bytes = 0
        """What is charged for all things on it."""
        self.count = 0
        """How many things are on it."""


class ShelfCache(Generic[ThingT]):
    """The budget that shelves share."""

    __slots__ = ("_queue", "_stale", "_waiting", "capacity_bytes", "charge_bytes", "evictions")

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.charge_bytes = 0
        """What is charged for all things in the cache."""
        self.evictions = 0
        """How many things had to go so far."""
        self._queue: deque[tuple[Shelf[ThingT], int, int]] = deque()
        self._waiting = 0
        self._stale = 0
        """Entries of the queue whose shelves were cleared."""

    def shelf(self, places: int) -> Shelf[ThingT]:
        """A new shelf with so many places, all empty."""
        return Shelf(places)

    def put(self, shelf: Shelf[ThingT], position: int, thing: ThingT, charge_bytes: int) -> None:
        """Puts a thing into an empty place, unless it is not taken; others go until the budget holds."""
        assert shelf.things[position] is None, "the place is taken"
        if self.charge_bytes + charge_bytes > self.capacity_bytes:
            self._waiting += 1
            if self._waiting < ADMIT_EVERY or charge_bytes > self.capacity_bytes:
                return
            self._waiting = 0
        shelf.things[position] = thing
        shelf.charge_bytes += charge_bytes
        shelf.count += 1
        self.charge_bytes += charge_bytes
        queue = self._queue
        queue.append((shelf, position, charge_bytes))
        while self.charge_bytes > self.capacity_bytes:
            entry = queue.popleft()
            shelf, position, charge_bytes = entry
            oldest = shelf.things[position] if shelf.things else None
            if oldest is None:
                self._stale -= 1
            elif oldest.used:
                oldest.used = False
                queue.append(entry)
            else:
                shelf.things[position] = None
                shelf.charge_bytes -= charge_bytes
                shelf.count -= 1
                self.charge_bytes -= charge_bytes
                self.evictions += 1

    def clear(self, shelf: Shelf[ThingT]) -> None:
        """Takes everything off a shelf, for good: it has no places any more. Clearing twice is harmless."""
        self.charge_bytes -= shelf.charge_bytes
        self._stale += shelf.count
        shelf.things = []
        shelf.charge_bytes = shelf.count = 0
        if self._stale * 2 > len(self._queue):
            # Amortized O(1): at least half of what is looked at goes.
            self._queue = deque(entry for entry in self._queue if entry[0].things)
            self._stale = 0
