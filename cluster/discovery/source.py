"""Where endpoints come from: a source tells the set that it knows, and each change of it.

A source works while somebody subscribes: it starts with the first subscription and rests after the last. What it knows
it keeps: a source whose origin is away goes on telling the last set, since old addresses are worth more than none.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from cluster.discovery.endpoint import UNKNOWN, EndpointSet

Listener = Callable[[EndpointSet], None]


class Subscription(Protocol):
    """What `subscribe` returns."""

    async def close(self) -> None:
        """Ends it; nothing is told any more. Twice is harmless."""
        ...


class Source(Protocol):
    """Tells the endpoints of one service. One source may serve many clients."""

    @property
    def current(self) -> EndpointSet:
        """The set that is known now; `UNKNOWN` before anything is."""
        ...

    def subscribe(self, listener: Listener) -> Subscription:
        """Calls `listener` with each set from now on that differs from `current`. Needs a running loop."""
        ...


async def watch(source: Source) -> AsyncIterator[EndpointSet]:
    """The present set once it is known, and then each change; a slow reader gets the latest only."""
    changed = asyncio.Event()
    subscription = source.subscribe(lambda _: changed.set())
    told: EndpointSet | None = None
    try:
        while True:
            changed.clear()
            current = source.current
            if current.is_known and current != told:
                told = current
                yield current
            else:
                await changed.wait()
    finally:
        await subscription.close()


def tell_failure(task: "asyncio.Task[None]") -> None:
    """To be called back when a task that never ends by itself has: an error in it must not stay unheard."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": f"{task.get_name()} failed", "exception": error, "task": task}
        )


class Published:
    """What sources share: a set, and those who are told of it. Subclasses start and stop what makes it."""

    def __init__(self, current: EndpointSet = UNKNOWN) -> None:
        self._current = current
        self._subscriptions: dict[_Subscription, None] = {}
        self.changes = 0
        """Sets that were told, since the start."""

    @property
    def current(self) -> EndpointSet:
        """The set that is known now."""
        return self._current

    def subscribe(self, listener: Listener) -> Subscription:
        """Calls `listener` with each set from now on that differs from `current`."""
        subscription = _Subscription(self, listener)
        self._subscriptions[subscription] = None
        if len(self._subscriptions) == 1:
            self._start()
        return subscription

    def publish(self, endpoints: EndpointSet) -> None:
        """Makes this the current set, and tells it when it differs."""
        if endpoints == self._current:
            return
        self._current = endpoints
        self.changes += 1
        for subscription in tuple(self._subscriptions):
            if subscription in self._subscriptions:
                subscription.listener(endpoints)

    async def unsubscribe(self, subscription: "_Subscription") -> None:
        """Forgets a subscription."""
        if subscription in self._subscriptions:
            del self._subscriptions[subscription]
            if not self._subscriptions:
                await self._stop()

    def _start(self) -> None:
        """Begins to follow the origin."""

    async def _stop(self) -> None:
        """Ends following; the set stays."""


class _Subscription:
    __slots__ = ("_source", "listener")

    def __init__(self, source: Published, listener: Listener) -> None:
        self._source = source
        self.listener = listener

    async def close(self) -> None:
        await self._source.unsubscribe(self)
