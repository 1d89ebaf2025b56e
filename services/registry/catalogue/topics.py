"""The indexes of what can be waited for, and those who wait."""

import asyncio
import heapq
import itertools

from services.registry.interface import Topic

FIRST_INDEX = 1
"""Consul's clients take 0 for "no index": nothing ever has it."""


class Topics:
    """An index for each topic. It only rises."""

    def __init__(self) -> None:
        self._indexes: dict[Topic, int] = {}
        self._floor = FIRST_INDEX
        self._waiting: dict[Topic, dict[asyncio.Future[None], int]] = {}

    @property
    def waiting(self) -> int:
        """Those who wait."""
        return sum(map(len, self._waiting.values()))

    def index(self, topic: Topic) -> int:
        """The revision of its latest change."""
        return max(self._indexes.get(topic, 0), self._floor)

    def raise_to(self, topic: Topic, revision: int) -> None:
        """It changed at this revision."""
        if revision > self._indexes.get(topic, 0):
            self._indexes[topic] = revision

    def raise_floor(self, revision: int) -> None:
        """All indexes are at least this."""
        self._floor = max(self._floor, revision)

    def restart(self) -> None:
        """Forgets the indexes, not those who wait: what is kept now tells them anew."""
        self._indexes.clear()

    def wake(self, topics: set[Topic] | None = None) -> None:
        """Tells those who wait for these topics, or for any, if the index is above theirs."""
        for topic in tuple(self._waiting) if topics is None else topics & self._waiting.keys():
            index = self.index(topic)
            for waiter, above in self._waiting[topic].items():
                if index > above and not waiter.done():
                    waiter.set_result(None)

    async def wait(self, topic: Topic, above: int, within_s: float) -> bool:
        """Waits until the index is above `above`; False when the time is over."""
        if self.index(topic) > above:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(topic, {})
        waiting[waiter] = above
        try:
            async with asyncio.timeout(within_s):
                await waiter
        except TimeoutError:
            return self.index(topic) > above
        finally:
            del waiting[waiter]
            if not waiting and self._waiting.get(topic) is waiting:
                del self._waiting[topic]
        return True


class Progress:
    """How far the copy has come, and those who wait until it has come further. O(log n) a wait."""

    def __init__(self) -> None:
        self.revision = 0
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    def advance(self, revision: int) -> None:
        """All changes up to here are in the copy."""
        if revision <= self.revision:
            return
        self.revision = revision
        while self._waiting and self._waiting[0][0] <= revision:
            waiter = heapq.heappop(self._waiting)[2]
            if not waiter.done():
                waiter.set_result(None)

    async def reach(self, revision: int, within_s: float) -> bool:
        """Waits until all changes up to here are in the copy; False when the time is over."""
        if self.revision >= revision:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (revision, next(self._order), waiter))
        try:
            async with asyncio.timeout(within_s):
                await waiter
        except TimeoutError:
            return self.revision >= revision
        return True
