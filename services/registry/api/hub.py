"""Tells many watchers of changes: one group for each question, one encoding of each change for all of its watchers.

A watcher that reads more slowly than things change is not waited for: what is queued for it is thrown away, and it gets
a new snapshot when it comes for more.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from services.registry.api.encoding import Encoder, Filter
from services.registry.catalogue import MemoryCatalogue
from services.registry.interface import Change, ChangeKind, Endpoint, Topic, TopicKind
from services.registry.metrics import Counters

QUEUED_MAX = 64
"""Responses that wait for one watcher."""
QUEUED_BYTES_MAX = 4 * 1024 * 1024
GATHER_S = 0.005
"""Changes that come within this time of the last response are told together: a storm costs little, a single change is
told at once."""
FRESHNESS_S = 0.5
"""How often is looked whether kv is away."""

Place = tuple[str, str]


class Watcher:
    """One stream of changes."""

    def __init__(self, group: "Group") -> None:
        self._group = group
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._needs_snapshot = True
        self._ready = asyncio.Event()
        self._ready.set()
        self.is_ended = False

    def put(self, parts: Sequence[bytes]) -> bool:
        """Queues a change; False when the watcher was too slow, and will get all anew."""
        if self._needs_snapshot:
            return True
        self._queue.extend(parts)
        self._queued_bytes += sum(map(len, parts))
        self._ready.set()
        if len(self._queue) <= QUEUED_MAX and self._queued_bytes <= QUEUED_BYTES_MAX:
            return True
        self.restart()
        return False

    def restart(self) -> None:
        """It gets all anew."""
        self._queue.clear()
        self._queued_bytes = 0
        self._needs_snapshot = True
        self._ready.set()

    def end(self) -> None:
        """No more comes."""
        self.is_ended = True
        self._ready.set()

    async def take(self) -> Sequence[bytes]:
        """The next responses; nothing when it is ended."""
        while True:
            if self.is_ended:
                return ()
            if self._needs_snapshot:
                self._needs_snapshot = False
                return self._group.snapshot()
            if self._queue:
                part = self._queue.popleft()
                self._queued_bytes -= len(part)
                return (part,)
            self._ready.clear()
            await self._ready.wait()

    def close(self) -> None:
        """Nobody reads it any more."""
        self._group.leave(self)


class Group:
    """All watchers that asked the same."""

    def __init__(self, hub: "Hub", asked: Filter, copy: MemoryCatalogue, encoder: Encoder, counters: Counters) -> None:
        self.asked = asked
        self._hub = hub
        self._copy = copy
        self._encoder = encoder
        self._counters = counters
        self._topic = Topic(TopicKind.SERVICE, asked.service) if asked.service else Topic(TopicKind.ALL)
        self._told: dict[Place, Endpoint] = {}
        """What the watchers know, once all that is queued has reached them."""
        self._watchers: dict[Watcher, None] = {}
        self._dirty: dict[Place, None] = {}
        self._all_dirty = False
        self._index = copy.index(self._topic)
        """Up to here everything has been told."""
        self._snapshot: Sequence[bytes] | None = None
        self._flushed_s = 0.0
        self._timer: asyncio.Handle | None = None
        for endpoint in self._all():
            self._told[_place(endpoint)] = endpoint

    def join(self) -> Watcher:
        """One more, which begins with a snapshot."""
        watcher = Watcher(self)
        self._watchers[watcher] = None
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """One less; with the last the group goes."""
        self._watchers.pop(watcher, None)
        if not self._watchers:
            if self._timer is not None:
                self._timer.cancel()
            self._hub.drop(self)

    @property
    def watchers(self) -> Sequence[Watcher]:
        """All of them."""
        return tuple(self._watchers)

    def touch(self, place: Place | None) -> None:
        """Something about this place changed; None: maybe about all."""
        if place is None:
            self._all_dirty = True
        else:
            self._dirty[place] = None
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        wait_s = self._flushed_s + GATHER_S - loop.time()
        if wait_s <= 0:
            self._timer = loop.call_soon(self._flush)
        else:
            self._timer = loop.call_later(wait_s, self._flush)

    def tell_freshness(self) -> None:
        """Tells how fresh all is that was told, without a change."""
        self._send(self._encoder.delta((), (), self._index, self._copy.staleness))

    def snapshot(self) -> Sequence[bytes]:
        """All that the watchers know, encoded once until it changes."""
        staleness = self._copy.staleness
        if self._snapshot is not None and not staleness.is_stale:
            return self._snapshot
        snapshot = self._encoder.snapshot(self._told.values(), self._index, staleness)
        self._snapshot = None if staleness.is_stale else snapshot
        return snapshot

    def _all(self) -> list[Endpoint]:
        services = (self.asked.service,) if self.asked.service else self._copy.services()
        return [one for service in services for one in self._copy.endpoints(service) if self.asked.takes(one)]

    def _flush(self) -> None:
        self._timer = None
        self._flushed_s = asyncio.get_running_loop().time()
        changed, removed = self._compare_all() if self._all_dirty else self._compare(self._dirty)
        self._dirty = {}
        self._all_dirty = False
        self._index = self._copy.index(self._topic)
        if not changed and not removed:
            return
        self._snapshot = None
        for endpoint in changed:
            self._told[_place(endpoint)] = endpoint
        for place in removed:
            del self._told[place]
        self._send(self._encoder.delta(changed, removed, self._index, self._copy.staleness))

    def _send(self, parts: Sequence[bytes]) -> None:
        self._counters.deltas += 1
        self._counters.deltas_sent += len(self._watchers)
        for watcher in self._watchers:
            if not watcher.put(parts):
                self._counters.overflows += 1

    def _compare(self, places: dict[Place, None]) -> tuple[list[Endpoint], list[Place]]:
        changed: list[Endpoint] = []
        removed: list[Place] = []
        for place in places:
            endpoint = self._copy.instance(*place)
            if endpoint is not None and self.asked.takes(endpoint):
                if self._told.get(place) is not endpoint:
                    changed.append(endpoint)
            elif place in self._told:
                removed.append(place)
        return changed, removed

    def _compare_all(self) -> tuple[list[Endpoint], list[Place]]:
        now = {_place(endpoint): endpoint for endpoint in self._all()}
        changed = [endpoint for place, endpoint in now.items() if self._told.get(place) is not endpoint]
        return changed, [place for place in self._told if place not in now]


class Hub:
    """All groups. It hears of changes from the catalogue."""

    def __init__(self, copy: MemoryCatalogue, encoder: Encoder, counters: Counters) -> None:
        self._copy = copy
        self._encoder = encoder
        self._counters = counters
        self._groups: dict[Filter, Group] = {}
        self._by_service: dict[str, dict[Group, None]] = {}
        self._end_listening = copy.subscribe(self._on_changes)

    def watch(self, asked: Filter) -> Watcher:
        """A watcher; close it."""
        group = self._groups.get(asked)
        if group is None:
            group = self._groups[asked] = Group(self, asked, self._copy, self._encoder, self._counters)
            self._by_service.setdefault(asked.service, {})[group] = None
        return group.join()

    def drop(self, group: Group) -> None:
        """The group has no watchers."""
        if self._groups.get(group.asked) is group:
            del self._groups[group.asked]
            of_service = self._by_service[group.asked.service]
            del of_service[group]
            if not of_service:
                del self._by_service[group.asked.service]

    async def run(self) -> None:
        """Tells all watchers when kv is away, and when it is back: those who only listen would not know. For ever."""
        was_stale = self._copy.staleness.is_stale
        while True:
            await asyncio.sleep(FRESHNESS_S)
            if self._copy.staleness.is_stale != was_stale:
                was_stale = not was_stale
                for group in tuple(self._groups.values()):
                    group.tell_freshness()

    def stop(self) -> None:
        """Ends all watchers."""
        self._end_listening()
        for group in tuple(self._groups.values()):
            for watcher in group.watchers:
                watcher.end()

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.kind is ChangeKind.RESET:
                self._encoder.clear()
                for group in self._groups.values():
                    group.touch(None)
            elif change.kind is ChangeKind.INSTANCE:
                if self._copy.instance(change.node, change.id) is None:
                    self._encoder.forget(change.node, change.id)
                self._touch(change.service, (change.node, change.id))
            elif change.kind is ChangeKind.CHECK and change.service:
                check = self._copy.check(change.node, change.id)
                # A check that is gone had its instance written again, which is told as well.
                if check is not None:
                    self._touch(change.service, (change.node, check.definition.instance_id))
            elif change.kind in (ChangeKind.NODE, ChangeKind.CHECK):
                for instance in self._copy.instances_on(change.node):
                    self._touch(instance.service, (change.node, instance.id))

    def _touch(self, service: str, place: Place) -> None:
        for name in (service, ""):
            for group in self._by_service.get(name, ()):
                group.touch(place)


def _place(endpoint: Endpoint) -> Place:
    return endpoint.instance.node, endpoint.instance.id
