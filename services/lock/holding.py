"""What one session holds and waits for, and how it gets it and gives it back."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import msgspec
from grpc import StatusCode

from cluster.clients.kv import KvError
from cluster.pb.orrery.lock.v1.lock_pb2 import Acquire, Granted, Proclaim, Release
from runtime import Clock
from services.lock import checks
from services.lock.grip import Grip, Hold
from services.lock.limits import CAS_ATTEMPTS_MAX, HOLDS_PER_KEY_MAX, HOLDS_PER_SESSION_MAX
from services.lock.metrics import Counters
from services.lock.names import place_key
from services.lock.queue import Entry, granted
from services.lock.records import PlaceRecord, decode_place, encode_place
from services.lock.refusals import Refused, of_kv
from services.lock.store import LOOK_ALONE, LOOK_TOGETHER, Changed, Look, Mark, Moved, Placed, PlaceStore
from services.lock.view import Views

WATCH_AFTER_S = 0.02
"""A lock that is held for longer than this is watched, so that its loss is told at once. Most are given back sooner,
and a watch for each of them would be half of all work."""

Spawn = Callable[[Coroutine[object, object, None], str], object]


@dataclass(frozen=True, slots=True)
class Context:
    """What all sessions of a process share."""

    store: PlaceStore
    views: Views
    counters: Counters
    clock: Clock
    waiters_max: int
    """Places in one queue."""
    settle: Callable[[bytes, Mark, int], None]
    """Called with a key and a hold that may be in kv although nobody wants it: sees to it that it is removed."""


class Holding:
    """The grips of one session on one stream."""

    def __init__(
        self,
        context: Context,
        mark: Mark,
        owner: str,
        spawn: Spawn,
        tell_gone: Callable[[Grip], None],
        tell_too_long: Callable[[Grip], None],
    ) -> None:
        """`tell_gone` and `tell_too_long` are called when a grip is over that was not released."""
        self._context = context
        self._mark = mark
        self._lease = mark.lease
        self._owner = owner
        self._spawn = spawn
        self._tell_gone = tell_gone
        self._tell_too_long = tell_too_long
        self._grips: dict[bytes, Grip] = {}
        self._holds = 0

    async def acquire(self, request: Acquire) -> Granted:
        """Waits for a grant. Raises Refused."""
        started_s = self._context.clock.monotonic_s()
        wanted = checks.wanted_of(request, self._owner)
        mode = wanted.mode if wanted is not None else "campaign"
        outcomes = self._context.counters.acquires
        try:
            grip, hold, waited = await self._acquire(request, wanted)
        except Refused as refused:
            late = refused.code is StatusCode.DEADLINE_EXCEEDED
            outcomes[mode, "timed_out" if late else "refused"] += 1
            raise
        waited_s = self._context.clock.monotonic_s() - started_s
        outcomes[mode, "granted"] += 1
        self._context.counters.waited(waited_s)
        self._context.counters.handovers += waited
        self._context.counters.holders += 1
        hold.is_told = True
        return Granted(
            token=grip.create_revision,
            oldest_token=grip.oldest_token,
            key=grip.key,
            waited_ms=int(waited_s * 1000),
        )

    async def release(self, request: Release) -> None:
        """Gives a hold back, or gives up waiting. Raises Refused."""
        checks.check_release(request)
        key = place_key(request.name, self._lease, request.hold_id if request.semaphore else 0)
        grip = self._grips.get(key)
        try:
            if grip is None:
                grip = await self._find(request.name, key, request.hold_id)
            async with grip.writing:
                hold = grip.holds.get(request.hold_id)
                # One that this stream did not hear of may be written down: an earlier stream got it.
                is_known = hold is not None or (grip.record is not None and request.hold_id in grip.record.holds)
                if not is_known or grip.state == "gone":
                    raise _not_held(request)
                if request.token not in (0, grip.create_revision):
                    raise Refused(
                        StatusCode.NOT_FOUND,
                        f"token {request.token} of {request.name!r} is not good any more: it is {grip.create_revision}",
                    )
                was_there = await self._remove_hold(grip, request.hold_id)
        except KvError as error:
            self._context.settle(key, self._mark, request.hold_id)
            raise of_kv(error) from error
        if hold is not None:
            hold.fail(Refused(StatusCode.CANCELLED, "it was released while it waited"))
        if not was_there:
            raise _not_held(request)
        self._context.counters.releases += 1

    async def proclaim(self, request: Proclaim) -> None:
        """Changes what a leader says. Raises Refused."""
        checks.check_proclaim(request)
        grip = self._grips.get(place_key(request.name, self._lease))
        if grip is None or not grip.is_campaign or not grip.is_granted or grip.create_revision != request.token:
            raise Refused(
                StatusCode.FAILED_PRECONDITION, f"this session does not lead {request.name!r} with that token"
            )
        try:
            async with grip.writing:
                await self._change(grip, lambda: request.value)
        except KvError as error:
            raise of_kv(error) from error

    def lost(self, grip: Grip) -> list[Hold]:
        """Forgets a grip that is over. Those who wait are refused; those who were told of a grant are returned."""
        grip.end()
        if self._grips.get(grip.key) is grip:
            del self._grips[grip.key]
        told = []
        for hold in grip.holds.values():
            if hold.is_told:
                told.append(hold)
            else:
                hold.fail(Refused(StatusCode.ABORTED, f"the place in the queue of {grip.name!r} was removed"))
        self._holds -= len(grip.holds)
        self._context.counters.holders -= len(told)
        grip.holds.clear()
        return told

    def all_lost(self) -> list[tuple[Grip, Hold]]:
        """Forgets all grips, since the session is over; returns what the client believes to hold."""
        return [(grip, hold) for grip in tuple(self._grips.values()) for hold in self.lost(grip)]

    def detach(self) -> None:
        """The stream is gone. What is in kv stays: the client comes back elsewhere, or the lease ends."""
        for grip in self._grips.values():
            grip.let_go()
            self._context.counters.holders -= sum(hold.is_told for hold in grip.holds.values())
        self._grips.clear()

    # ---- acquiring

    async def _acquire(self, request: Acquire, wanted: PlaceRecord | None) -> tuple[Grip, Hold, bool]:
        is_semaphore = wanted is not None and wanted.mode == "semaphore"
        key = place_key(request.name, self._lease, request.hold_id if is_semaphore else 0)
        grip = self._grips.get(key)
        if grip is None:
            grip = self._grips[key] = Grip(request.name, key, self._lease, wanted, self._tell_gone)
        if not grip.fits(wanted):
            raise Refused(
                StatusCode.FAILED_PRECONDITION,
                f"this session stands in that queue already, as {grip.mode}: release that first",
            )
        self._check_room(grip, request)
        hold = grip.holds[request.hold_id] = Hold(request.hold_id, asyncio.get_running_loop().create_future())
        self._holds += 1
        try:
            async with grip.writing:
                if grip.state == "gone":
                    raise Refused(StatusCode.ABORTED, "the place was lost while it was asked for")
                await self._stand(grip, request)
            waited = not grip.is_granted
            if waited:
                await self._wait(grip, hold, request)
            if request.hold_ms_max and wanted is not None:
                await self._limit(grip, request.hold_ms_max)
            if not grip.is_granted:
                raise Refused(StatusCode.ABORTED, "the grant was lost in the moment in which it was given")
        except KvError as error:
            self._forget(grip, hold)
            self._context.settle(key, self._mark, hold.id)
            raise of_kv(error) from error
        except Refused:
            self._forget(grip, hold)
            raise
        if grip.view is None and "watch" not in grip.timers:
            loop = asyncio.get_running_loop()
            grip.timers["watch"] = loop.call_later(WATCH_AFTER_S, self._follow, grip)
        return grip, hold, waited

    def _check_room(self, grip: Grip, request: Acquire) -> None:
        known = grip.holds.get(request.hold_id)
        if known is not None:
            raise Refused(StatusCode.ALREADY_EXISTS, f"hold {request.hold_id} of {request.name!r} exists")
        if grip.is_campaign and grip.holds:
            raise Refused(StatusCode.ALREADY_EXISTS, f"this session stands for {request.name!r} already")
        if len(grip.holds) >= HOLDS_PER_KEY_MAX:
            raise Refused(StatusCode.RESOURCE_EXHAUSTED, f"more than {HOLDS_PER_KEY_MAX} holds of one lock")
        if self._holds >= HOLDS_PER_SESSION_MAX:
            raise Refused(StatusCode.RESOURCE_EXHAUSTED, f"more than {HOLDS_PER_SESSION_MAX} holds of one session")

    async def _stand(self, grip: Grip, request: Acquire) -> None:
        """Stands in the queue: takes the grant if it is there to be had, and follows the queue if not."""
        is_try = request.HasField("wait_ms_max") and request.wait_ms_max == 0
        store = self._context.store
        if grip.state == "absent":
            placed = await self._place(grip, request, is_try=is_try)
            grip.adopt(placed.pair)
            await self._add_hold(grip, request)
            grip.judge(placed.look)
            if grip.wanted is not None and _disagrees(grip.wanted, placed.look):
                await self._remove_hold(grip, request.hold_id)
                raise Refused(
                    StatusCode.FAILED_PRECONDITION,
                    f"others use {request.name!r} with another limit than {grip.wanted.limit}",
                )
            if not grip.is_granted and placed.look.count > self._context.waiters_max:
                await self._remove_hold(grip, request.hold_id)
                raise Refused(
                    StatusCode.RESOURCE_EXHAUSTED,
                    f"more than {self._context.waiters_max} hold {request.name!r} or wait for it",
                )
        else:
            await self._add_hold(grip, request)
            if is_try and not grip.is_granted:
                _, look = await store.look(request.name, grip.key, LOOK_TOGETHER)
                grip.judge(look)
        if grip.is_granted:
            return
        if is_try:
            await self._remove_hold(grip, request.hold_id)
            raise _not_in_time(request)
        self._follow(grip)

    async def _place(self, grip: Grip, request: Acquire, *, is_try: bool) -> Placed:
        """Takes a place, or finds the one that is there."""
        store, name, key = self._context.store, request.name, grip.key
        alone = grip.wanted is None or grip.wanted.mode == "exclusive"
        look_max = LOOK_ALONE if alone else LOOK_TOGETHER
        if request.held_token:
            pair, look = await store.look(name, key, LOOK_TOGETHER)
            record = decode_place(pair.value) if pair is not None else None
            if (
                pair is None
                or pair.create_revision != request.held_token
                or (record is not None and request.hold_id not in record.holds)
            ):
                raise Refused(StatusCode.ABORTED, f"the grant {request.held_token} of {name!r} is over")
            return Placed(pair, look)
        value = (
            request.campaign.value
            if grip.wanted is None
            else encode_place(msgspec.structs.replace(grip.wanted, holds=(request.hold_id,)))
        )
        if is_try and alone:
            placed = await store.enqueue_alone(name, key, self._mark, value)
            if isinstance(placed, Placed):
                return placed
            if placed.pair is None:
                raise _not_in_time(request)
        elif is_try:
            pair, look = await store.look(name, key, LOOK_TOGETHER)
            if pair is None and not _would_hold(grip, look):
                raise _not_in_time(request)
        view = self._context.views.find(name)
        if view is None or not view.is_contended:
            return await store.enqueue(name, key, self._mark, value, look_max)
        # Others wait already, so nothing is granted at once, and the view will tell when it is.
        placed = await store.enqueue(name, key, self._mark, value, 0)
        return Placed(placed.pair, Look(view.head(look_max), len(view) + 1))

    async def _add_hold(self, grip: Grip, request: Acquire) -> None:
        """Writes the hold down on a place that was there before."""
        if grip.is_campaign:
            if grip.value != request.campaign.value and not request.held_token:
                await self._change(grip, lambda: request.campaign.value)
            return
        if grip.record is not None and request.hold_id not in grip.record.holds:
            await self._change(grip, lambda: grip.value_with(grip.live_holds() | {request.hold_id}))

    async def _wait(self, grip: Grip, hold: Hold, request: Acquire) -> None:
        wait_s = request.wait_ms_max / 1000 if request.HasField("wait_ms_max") else None
        try:
            async with asyncio.timeout(wait_s):
                await hold.done
        except TimeoutError:
            async with grip.writing:
                if grip.state != "gone":
                    await self._remove_hold(grip, request.hold_id)
            raise _not_in_time(request) from None

    async def _limit(self, grip: Grip, hold_ms_max: int) -> None:
        """Has the lock taken away in time: written down, so that it holds at another process, too."""
        now_ms = int(self._context.clock.wall_s() * 1000)
        async with grip.writing:
            record = grip.record
            assert record is not None
            until_ms = record.until_ms or now_ms + hold_ms_max
            if not record.until_ms:
                await self._change(grip, lambda: encode_place(msgspec.structs.replace(record, until_ms=until_ms)))
        if "limit" not in grip.timers:
            after_s = max(0, until_ms - now_ms) / 1000
            loop = asyncio.get_running_loop()
            grip.timers["limit"] = loop.call_later(after_s, self._end_limit, grip)

    def _end_limit(self, grip: Grip) -> None:
        self._spawn(self._take_away(grip), "hold limit")

    async def _take_away(self, grip: Grip) -> None:
        async with grip.writing:
            if grip.state == "gone":
                return
            grip.let_go()
            try:
                await self._remove(grip)
            except KvError:
                for hold_id in grip.holds:
                    self._context.settle(grip.key, self._mark, hold_id)
        self._tell_too_long(grip)

    def _follow(self, grip: Grip) -> None:
        grip.timers.pop("watch", None)
        if grip.view is None:
            grip.follow(self._context.views.get(grip.name))

    # ---- changing and removing

    async def _change(self, grip: Grip, value: Callable[[], bytes]) -> None:
        """Writes a new value, made again when the key changed meanwhile. Raises Refused, KvError."""
        for _ in range(CAS_ATTEMPTS_MAX):
            wanted = value()
            changed = await self._context.store.change(grip.key, grip.lease, wanted, grip.mod_revision)
            if isinstance(changed, Changed):
                grip.mod_revision, grip.value = changed.mod_revision, wanted
                grip.record = decode_place(wanted)
                return
            self._adopt_moved(grip, changed)
            if grip.value == wanted:
                return
        raise Refused(StatusCode.ABORTED, f"{grip.name!r} changes too often")

    async def _remove_hold(self, grip: Grip, hold_id: int) -> bool:
        """Takes a hold off the place, and removes the place with the last one.

        False when the place was gone before, by somebody else's doing.
        """
        was_there = True
        if any(other != hold_id for other in grip.live_holds()):
            await self._change(grip, lambda: grip.value_with(grip.live_holds() - {hold_id}))
        else:
            grip.let_go()
            was_there = await self._remove(grip)
            if len(grip.holds) > (hold_id in grip.holds):
                grip.reset()
            else:
                grip.end()
        hold = grip.holds.get(hold_id)
        if hold is not None:
            self._context.counters.holders -= hold.is_told
            self._forget(grip, hold)
        return was_there

    async def _remove(self, grip: Grip) -> bool:
        for _ in range(CAS_ATTEMPTS_MAX):
            removed = await self._context.store.remove(grip.key, grip.mod_revision)
            if isinstance(removed, Changed):
                return True
            if removed.pair is None or removed.pair.create_revision != grip.create_revision:
                return removed.is_repeated
            grip.mod_revision = removed.pair.mod_revision
        raise Refused(StatusCode.ABORTED, f"{grip.name!r} changes too often")

    def _adopt_moved(self, grip: Grip, moved: Moved) -> None:
        if moved.pair is None or moved.pair.create_revision != grip.create_revision:
            raise Refused(StatusCode.ABORTED, f"the place in the queue of {grip.name!r} was lost")
        grip.adopt(moved.pair)

    def _forget(self, grip: Grip, hold: Hold) -> None:
        if grip.holds.pop(hold.id, None) is not None:
            self._holds -= 1
        if not grip.holds and self._grips.get(grip.key) is grip:
            grip.end()
            del self._grips[grip.key]

    async def _find(self, name: str, key: bytes, hold_id: int) -> Grip:
        """The grip of a hold that an earlier stream got. Raises Refused, KvError."""
        pair = await self._context.store.read(key)
        if pair is None:
            raise Refused(StatusCode.NOT_FOUND, f"this session does not hold {name!r}")
        record = decode_place(pair.value)
        if record is not None and hold_id not in record.holds:
            raise Refused(StatusCode.NOT_FOUND, f"this session has no hold {hold_id} of {name!r}")
        wanted = msgspec.structs.replace(record, holds=(), until_ms=0) if record is not None else None
        grip = self._grips.setdefault(key, Grip(name, key, self._lease, wanted, self._tell_gone))
        if grip.state == "absent":
            grip.adopt(pair)
        if hold_id not in grip.holds:
            grip.holds[hold_id] = Hold(hold_id, asyncio.get_running_loop().create_future())
            self._holds += 1
        return grip


def _would_hold(grip: Grip, look: Look) -> bool:
    """Whether one more place at the end would hold the lock at once."""
    wanted = grip.wanted
    if wanted is None or look.count > len(look.entries):
        return False
    mine = Entry(grip.key, 1 << 62, 0, grip.lease, wanted.mode, wanted.permits, wanted.limit)
    return any(entry is mine for entry in granted([*look.entries, mine]))


def _disagrees(wanted: PlaceRecord, look: Look) -> bool:
    """Whether the others believe that the semaphore has another limit."""
    return wanted.mode == "semaphore" and any(
        entry.mode == "semaphore" and entry.limit != wanted.limit for entry in look.entries
    )


def _not_in_time(request: Acquire) -> Refused:
    return Refused(StatusCode.DEADLINE_EXCEEDED, f"{request.name!r} was not free within {request.wait_ms_max} ms")


def _not_held(request: Release) -> Refused:
    return Refused(StatusCode.NOT_FOUND, f"this session has no hold {request.hold_id} of {request.name!r}")
