"""Blocking queries: a read that waits until what it asks for has changed.

An answer carries the index of what was asked for; a client gives it back with its next request, which is answered when
the index is above it, or when `wait` is over, with what there is then. A client whose index is above ours (it asked
another process, which was ahead, or kv was set up anew) waits as well: after the wait it is told the lower index, and
Consul's clients begin again from 0 when an index falls.

A client that goes away cancels the request, and with it the wait.
"""

import asyncio

from runtime import Randomness
from services.registry.api.consul.refusals import Refused
from services.registry.interface import Catalogue, Topic

WAIT_S_DEFAULT = 300.0
WAIT_S_MAX = 600.0
"""Longer waits are cut, as Consul does."""
JITTER_SHARE = 16
"""A wait is prolonged by up to a 16th of itself, so that clients that began together do not end together."""
WAITERS_MAX = 4096
"""Requests that may wait at the same time at one process. Answer above it: 429."""

_NS = 1_000_000_000


class BlockingQueries:
    """Those who wait."""

    def __init__(self, catalogue: Catalogue, random: Randomness, waiters_max: int = WAITERS_MAX) -> None:
        self._catalogue = catalogue
        self._random = random
        self._waiters_max = waiters_max
        self._waiting: dict[asyncio.Timeout, None] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, topic: Topic, index: int, wait_ns: int) -> None:
        """Returns when the topic's index is above `index`, when the time is over, or when the process ends.

        Raises Refused (429) when too many wait.
        """
        if index <= 0 or self._closed or self._catalogue.index(topic) > index or wait_ns < 0:
            return
        if len(self._waiting) >= self._waiters_max:
            raise Refused(429, f"{self._waiters_max} blocking queries wait here already; ask another process")
        wait_s = min(wait_ns / _NS, WAIT_S_MAX) if wait_ns else WAIT_S_DEFAULT
        wait_s += self._random.random() * wait_s / JITTER_SHARE
        # A scope that `close` can end without ending the request.
        scope = asyncio.timeout(None)
        self._waiting[scope] = None
        try:
            async with scope:
                await self._catalogue.wait(topic, index, wait_s)
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            del self._waiting[scope]

    def close(self) -> None:
        """Lets all who wait be answered now, and nobody wait any more: the process is about to end."""
        if self._closed:
            return
        self._closed = True
        now_s = asyncio.get_running_loop().time()
        for scope in tuple(self._waiting):
            scope.reschedule(now_s)
