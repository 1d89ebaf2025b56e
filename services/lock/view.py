"""The queue of one lock as this process sees it, and who of its own sessions stands where in it.

One watch of kv serves all sessions of this process that wait for a lock or hold it. A departure is told once to each
process, however many wait there, and wakes those whose turn it is and nobody else: each waiter watches its predecessor
here, in memory. The rejected alternative, a watch of kv on its predecessor for each waiter, costs one watch and one
read more for each handover (docs/decisions/0016-lock-service.md).

What a view says is true of an earlier moment. That is safe: see `services.lock.queue`.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from cluster.clients.kv import KvClient, KvError, Watch, prefix_end
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import RangeRequest, RangeResponse
from cluster.pb.etcd.mvccpb.kv_pb2 import Event
from services.lock.limits import QUEUE_MAX
from services.lock.metrics import Counters
from services.lock.names import queue_prefix
from services.lock.queue import Entry, LockQueue
from services.lock.records import entry_of

LINGER_S = 1.0
"""How long a view outlives the last who needs it: who comes back soon finds it open."""
REREAD_PAUSE_S = 0.2

_log = logging.getLogger(__name__)


class Claim(Protocol):
    """A place of one of this process's sessions."""

    key: bytes
    create_revision: int

    def on_granted(self, oldest: Entry) -> None:
        """The place holds the lock; `oldest` is the first of those who do. Told once."""
        ...

    def on_gone(self) -> None:
        """The key is gone, and nobody here removed it. Nothing is told any more."""
        ...


class Observer(Protocol):
    """Whoever wants to know who is at the head."""

    def on_head(self, head: Entry | None, value: bytes) -> None:
        """The head changed, or its value did; `value` is its raw value."""
        ...


class LockView:
    """The live queue of one lock."""

    def __init__(self, name: str, kv: KvClient, counters: Counters, on_idle: Callable[["LockView"], None]) -> None:
        self.name = name
        self._prefix = queue_prefix(name)
        self._kv = kv
        self._counters = counters
        self._on_idle = on_idle
        self._queue = LockQueue()
        self._values: dict[bytes, bytes] = {}
        """Raw values, kept only while somebody observes."""
        self._claims: dict[bytes, Claim] = {}
        self._waiting: set[bytes] = set()
        self._observers: dict[Observer, None] = {}
        self._told: tuple[Entry | None, bytes] | None = None
        self._revision = 0
        """All changes up to here are in the queue; 0: it was not read yet."""
        self._watch: Watch | None = None
        self._reader: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def head(self, count: int) -> list[Entry]:
        """The first of the queue, as far as this process has heard."""
        return list(itertools.islice(self._queue, count))

    @property
    def is_contended(self) -> bool:
        """Whether places are known to wait, as far as this process has heard."""
        return self._watch is not None and len(self._queue) > 1

    @property
    def waiting(self) -> int:
        """Claims that are not granted."""
        return len(self._waiting)

    def join(self, claim: Claim, *, is_granted: bool) -> None:
        """Tells a claim from now on what becomes of it."""
        self._claims[claim.key] = claim
        if not is_granted:
            self._waiting.add(claim.key)
        self._wanted()
        if self._revision >= claim.create_revision:
            self._check(claim)
            self._advance()

    def leave(self, claim: Claim) -> None:
        """The claim is given up, or about to be removed: nothing is told any more."""
        if self._claims.get(claim.key) is claim:
            del self._claims[claim.key]
            self._waiting.discard(claim.key)
            self._unwanted()

    def observe(self, observer: Observer) -> None:
        """Tells of the head, at once if it is known, and whenever it changes."""
        if not self._observers:
            # Values were not kept so far.
            self._restart()
        self._observers[observer] = None
        self._wanted()

    def stop_observing(self, observer: Observer) -> None:
        """Ends that."""
        self._observers.pop(observer, None)
        self._unwanted()

    def close(self) -> None:
        """Ends the watch."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._reader is not None:
            self._reader.cancel()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # ---- from kv

    def on_events(self, events: Sequence[Event], revision: int) -> None:
        """Changes of the queue."""
        removed = False
        self._counters.watch_events += len(events)
        for event in events:
            pair = event.kv
            if event.type == Event.DELETE:
                removed = True
                self._queue.remove(pair.key)
                self._values.pop(pair.key, None)
                claim = self._claims.get(pair.key)
                if claim is not None and claim.create_revision < pair.mod_revision:
                    self._drop(claim)
            else:
                self._queue.put(entry_of(pair))
                if self._observers:
                    self._values[pair.key] = pair.value
        self._revision = max(self._revision, revision)
        if removed or self._waiting:
            self._advance()
        self._tell_observers()

    def on_gap(self) -> None:
        """The watch broke: the queue is read anew."""
        self._watch = None
        self._restart()

    # ---- inside

    def _wanted(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._watch is None and self._reader is None:
            self._reader = asyncio.create_task(self._read(), name=f"view of {self.name}")

    def _unwanted(self) -> None:
        if not self._claims and not self._observers and self._idle_timer is None:
            self._idle_timer = asyncio.get_running_loop().call_later(LINGER_S, self._on_idle, self)

    def _restart(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._reader is None and (self._claims or self._observers):
            self._reader = asyncio.create_task(self._read(), name=f"view of {self.name}")

    async def _read(self) -> None:
        """Reads the queue, and watches it from there on."""
        request = RangeRequest(
            key=self._prefix,
            range_end=prefix_end(self._prefix),
            sort_target=RangeRequest.CREATE,
            sort_order=RangeRequest.ASCEND,
            limit=QUEUE_MAX,
        )
        response = await self._ask(request)
        self._reader = None
        if response.more:
            # Those beyond would be unknown, and a later read may see what this one left out.
            _log.error("a queue is too long to be followed", extra={"lock": self.name, "limit": QUEUE_MAX})
        self._queue = LockQueue(entry_of(pair) for pair in response.kvs)
        self._values = {pair.key: pair.value for pair in response.kvs} if self._observers else {}
        self._revision = response.header.revision
        self._watch = self._kv.watch(self._prefix, prefix_end(self._prefix), self._revision + 1, self)
        for claim in tuple(self._claims.values()):
            if claim.create_revision <= self._revision:
                self._check(claim)
        self._advance()
        self._tell_observers()

    async def _ask(self, request: RangeRequest) -> RangeResponse:
        while True:
            try:
                return await self._kv.range(request)
            except KvError as error:
                _log.warning("a queue cannot be read", extra={"lock": self.name, "reason": error.message})
                await asyncio.sleep(REREAD_PAUSE_S)

    def _check(self, claim: Claim) -> None:
        """Drops a claim whose key is not there any more."""
        entry = self._queue.get(claim.key)
        if entry is None or entry.create_revision != claim.create_revision:
            self._drop(claim)

    def _drop(self, claim: Claim) -> None:
        del self._claims[claim.key]
        self._waiting.discard(claim.key)
        self._unwanted()
        claim.on_gone()

    def _advance(self) -> None:
        """Grants to those of ours whose turn it is."""
        if not self._waiting:
            return
        oldest: Entry | None = None
        for entry in self._queue.granted():
            oldest = oldest or entry
            if entry.key in self._waiting and self._claims[entry.key].create_revision == entry.create_revision:
                self._waiting.discard(entry.key)
                self._claims[entry.key].on_granted(oldest)

    def _tell_observers(self) -> None:
        if not self._observers:
            return
        head = next(iter(self._queue), None)
        now = (head, self._values.get(head.key, b"") if head is not None else b"")
        if now != self._told:
            self._told = now
            for observer in tuple(self._observers):
                observer.on_head(*now)


class Views:
    """All views of this process."""

    def __init__(self, kv: KvClient, counters: Counters) -> None:
        self._kv = kv
        self._counters = counters
        self._views: dict[str, LockView] = {}

    def __len__(self) -> int:
        return len(self._views)

    @property
    def waiting(self) -> int:
        """Places of this process's sessions that wait."""
        return sum(view.waiting for view in self._views.values())

    def get(self, name: str) -> LockView:
        """The view of a lock, made when there is none."""
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = LockView(name, self._kv, self._counters, self._close)
        return view

    def find(self, name: str) -> LockView | None:
        """The view of a lock, if there is one."""
        return self._views.get(name)

    def close(self) -> None:
        """Closes all."""
        for view in tuple(self._views.values()):
            self._close(view)

    def _close(self, view: LockView) -> None:
        if self._views.get(view.name) is view:
            del self._views[view.name]
        view.close()
