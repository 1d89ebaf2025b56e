"""Keeps one session alive over streams that come and go, and knows what it holds.

A stream that breaks is replaced by one to the next endpoint, on which everything that matters is said again: what is
held (by its token), what is waited for (with the time that is left), what is to be released. All of it may be said
twice. When no stream renewed the session for its TTL, counted from the sending of the last renewal that was answered,
the session is over as far as this side can know; the service waits longer than that.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.clients.lock.errors import LockRefused, LockUnavailable, NotGranted
from cluster.clients.lock.grant import Grant
from cluster.clients.lock.stubs import Stubs
from cluster.discovery.roster import Roster
from cluster.pb.orrery.lock.v1.lock_pb2 import (
    Acquire,
    Close,
    Granted,
    KeepAlive,
    Open,
    Proclaim,
    Refused,
    Release,
    SessionRequest,
    SessionResponse,
)
from runtime import Clock, Randomness

if TYPE_CHECKING:
    from cluster.pb.orrery.lock.v1.lock_pb2_grpc import LocksAsyncStub

RENEWALS_PER_TTL = 3
ANSWER_S_MAX = 5.0
"""How long a process may take to open a session, or to answer a renewal, before another one is tried."""
PAUSE_S_MIN = 0.05
PAUSE_S_MAX = 1.0
"""Between two attempts to get a stream, doubled each time."""
AGAIN_S = 0.3
"""Before something is said again that a process could not do for want of kv."""
TIME_STEP_S = 0.01
"""The finest that the end of a session is timed."""
CLOSE_S_MAX = 2.0

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
_AGAIN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED})
"""Codes after which the same may be said again a moment later."""
_FATAL = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED})
"""Codes after which opening a session elsewhere brings the same."""

Stream = "grpc.aio.StreamStreamCall[SessionRequest, SessionResponse]"

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Wish:
    """A hold: waited for until `grant` is there, held from then on."""

    request: Acquire
    deadline_s: float | None
    done: "asyncio.Future[Grant]"
    grant: Grant | None = None


@dataclass(eq=False, slots=True)
class Parting:
    """A release that was not answered yet."""

    request: Release
    done: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Terms:
    """How sessions are opened."""

    ttl_s: int
    lock_delay_s: int
    owner: str


class SessionKeeper:
    """One session after another, as long as it lives. `run` must run."""

    def __init__(self, roster: Roster[Stubs], terms: Terms, *, clock: Clock, random: Randomness) -> None:
        self._roster = roster
        self._terms = terms
        self._clock = clock
        self._random = random
        self._numbers = itertools.count(1)
        self._hold_ids = itertools.count(1)
        self._wishes: dict[int, Wish] = {}
        self._partings: dict[int, Parting] = {}
        self._asked: dict[int, Callable[[SessionResponse], None]] = {}
        """What to do with the answers to requests of the present stream."""
        self._outgoing: deque[SessionRequest] = deque()
        self._changed = asyncio.Event()
        self._is_streaming = False
        self._is_closed = False
        self._fatal: BaseException | None = None
        self.session_id = 0
        """0: none."""
        self._ttl_s = float(terms.ttl_s)
        self._valid_until_s = 0.0

    @property
    def is_live(self) -> bool:
        """Whether the session was renewed in time, by this side's clock."""
        return self.session_id != 0 and self._clock.monotonic_s() < self._valid_until_s

    # ---- what is asked

    async def acquire(self, request: Acquire, wait_s: float | None) -> Grant:
        """Waits for a grant. Raises NotGranted, LockRefused, LockUnavailable. Cancelled, it does not wait any more."""
        deadline_s = None if wait_s is None else self._clock.monotonic_s() + wait_s
        try:
            async with asyncio.timeout(None if wait_s is None else wait_s + ANSWER_S_MAX):
                await self._until_parted(request.name)
        except TimeoutError:
            message = f"the release of {request.name!r} before was not answered in time"
            raise LockUnavailable(message, definite=True) from None
        while True:
            request.hold_id = next(self._hold_ids)
            wish = Wish(request, deadline_s, asyncio.get_running_loop().create_future())
            self._wishes[request.hold_id] = wish
            self._say_wish(wish)
            try:
                return await self._granted(wish)
            except LockUnavailable:
                # The service could not reach kv. A hold with another id: the old one may be removed at any time.
                if deadline_s is not None and self._clock.monotonic_s() + AGAIN_S >= deadline_s:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def _until_parted(self, name: str) -> None:
        """Waits for releases of the same lock that are under way: a new hold would join the grant that is given back.

        Found by `orrery sim run --scenario lock --seed 14`.
        """
        for parting in tuple(self._partings.values()):
            if parting.request.name == name and not parting.request.semaphore:
                await asyncio.shield(parting.done)

    async def _granted(self, wish: Wish) -> Grant:
        try:
            if wish.deadline_s is None:
                return await wish.done
            # The service keeps the time; this one is for when it cannot be reached.
            left_s = wish.deadline_s - self._clock.monotonic_s() + ANSWER_S_MAX
            async with asyncio.timeout(left_s):
                return await wish.done
        except TimeoutError:
            self._part(wish)
            raise LockUnavailable(f"no answer about {wish.request.name!r} in time", definite=False) from None
        except asyncio.CancelledError:
            self._part(wish)
            raise
        finally:
            if wish.grant is None:
                self._wishes.pop(wish.request.hold_id, None)

    async def release(self, grant: Grant) -> None:
        """Gives a grant back. Returns when it is, or when the session is over, which takes its TTL at the most."""
        wish = self._wishes.get(grant.hold_id)
        if wish is not None:
            # Shielded: whoever cancels the wait wants the lock to be free all the same.
            await asyncio.shield(self._part(wish).done)

    async def proclaim(self, grant: Grant, value: bytes) -> None:
        """Changes what a leader says. Raises LockRefused, LockUnavailable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def take(response: SessionResponse) -> None:
            if done.done():
                return
            if response.HasField("refused"):
                done.set_exception(_error_of(response.refused))
            else:
                done.set_result(None)

        if not self._is_streaming:
            raise LockUnavailable("there is no stream just now", definite=True)
        self._say(SessionRequest(proclaim=Proclaim(name=grant.name, token=grant.token, value=value)), take)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                await done
        except TimeoutError:
            raise LockUnavailable("no answer in time", definite=False) from None

    async def close(self) -> None:
        """Ends the session; everything it holds is free then."""
        self._is_closed = True
        if self._is_streaming:
            done = asyncio.Event()
            self._say(SessionRequest(close=Close()), lambda response: done.set())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S_MAX):
                    await done.wait()
        self._session_over("the client was closed")
        for wish in tuple(self._wishes.values()):
            _fail(wish.done, LockUnavailable("the client was closed", definite=False))

    # ---- streams

    async def run(self) -> None:
        """Has a stream whenever one is wanted, for ever."""
        pause_s = PAUSE_S_MIN
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_time(), name="lock-session-time")
            while not self._is_closed:
                while not self._wishes and not self._partings and not self.session_id:
                    self._changed.clear()
                    await self._changed.wait()
                member = await self._roster.wait()
                try:
                    await self._stream(member.stubs.locks)
                    pause_s = PAUSE_S_MIN
                except TimeoutError:
                    _log.debug("a process of the lock service does not answer")
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.NOT_FOUND:
                        self._session_over(error.details() or "the service does not know it any more")
                        continue
                    if error.code() in _FATAL:
                        self._give_up(LockRefused(error.code(), error.details() or ""))
                        continue
                self._roster.leave(member)
                await asyncio.sleep(pause_s * (0.5 + self._random.random()))
                pause_s = min(PAUSE_S_MAX, pause_s * 2)

    def died(self, task: "asyncio.Task[None]") -> None:
        """`run` has ended. By an error of its own, that is told to whoever waits: they would wait for ever."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._session_over(f"the client failed: {error!r}")
        for wish in tuple(self._wishes.values()):
            _fail(wish.done, error)
        self._fatal = error

    async def _stream(self, stub: "LocksAsyncStub") -> None:
        """One stream until it ends. Raises AioRpcError, and TimeoutError when nothing is heard for too long."""
        call = stub.Session()
        tasks: list[asyncio.Task[None]] = []
        wanted = self.session_id
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                asked_s = self._clock.monotonic_s()
                await call.write(SessionRequest(open=self._open()))
                first = await call.read()
            if not isinstance(first, SessionResponse) or not first.HasField("opened"):
                return
            if self.session_id != wanted:
                # It was declared over while it was asked for: what it holds was told to be lost, and stays so.
                # Found by `orrery sim run --scenario lock --seed 49`.
                return
            self.session_id = first.opened.session_id
            self._ttl_s = float(first.opened.ttl_s)
            self._valid_until_s = asked_s + self._ttl_s
            self._begin()
            tasks.append(asyncio.create_task(self._write(call), name="lock-session-writer"))
            tasks.append(asyncio.create_task(self._renew(), name="lock-session-renewer"))
            silence_s = min(ANSWER_S_MAX, self._ttl_s / 3) + self._ttl_s / RENEWALS_PER_TTL
            while self.session_id:
                async with asyncio.timeout(silence_s):
                    response = await call.read()
                if not isinstance(response, SessionResponse) or response.HasField("draining"):
                    return
                self._take(response)
        finally:
            self._is_streaming = False
            self._asked.clear()
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self) -> Open:
        if self.session_id:
            return Open(session_id=self.session_id)
        terms = self._terms
        return Open(ttl_s=terms.ttl_s, lock_delay_s=terms.lock_delay_s, owner=terms.owner)

    def _begin(self) -> None:
        """Says everything again on a new stream."""
        self._outgoing.clear()
        self._asked.clear()
        self._is_streaming = True
        for parting in tuple(self._partings.values()):
            self._say_parting(parting)
        for wish in tuple(self._wishes.values()):
            self._say_wish(wish)

    async def _write(self, call: "grpc.aio.StreamStreamCall[SessionRequest, SessionResponse]") -> None:
        while True:
            while self._outgoing:
                await call.write(self._outgoing.popleft())
            self._changed.clear()
            await self._changed.wait()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._ttl_s / RENEWALS_PER_TTL)
            asked_s = self._clock.monotonic_s()

            def renewed(response: SessionResponse, asked_s: float = asked_s) -> None:
                if response.HasField("kept_alive"):
                    self._valid_until_s = max(self._valid_until_s, asked_s + self._ttl_s)

            self._say(SessionRequest(keep_alive=KeepAlive()), renewed)

    async def _watch_time(self) -> None:
        """Ends the session on this side when it was not renewed in time."""
        while True:
            left_s = self._valid_until_s - self._clock.monotonic_s()
            if self.session_id and left_s <= 0:
                self._session_over("it was not renewed in time")
            # Never less than a little: a rest of a nanosecond on the one clock may be none on the loop's.
            await asyncio.sleep(max(left_s, TIME_STEP_S) if self.session_id else self._ttl_s / 10)

    # ---- saying and hearing

    def _say(self, request: SessionRequest, take: Callable[[SessionResponse], None]) -> None:
        request.id = next(self._numbers)
        self._asked[request.id] = take
        self._outgoing.append(request)
        self._changed.set()

    def _say_wish(self, wish: Wish) -> None:
        if self._fatal is not None:
            _fail(wish.done, self._fatal)
            return
        if not self._is_streaming:
            self._changed.set()
            return
        request = wish.request
        if wish.grant is not None:
            request.held_token = wish.grant.token
        if wish.deadline_s is not None and wish.grant is None:
            request.wait_ms_max = max(0, int((wish.deadline_s - self._clock.monotonic_s()) * 1000))
        self._say(SessionRequest(acquire=request), lambda response: self._heard_of_wish(wish, response))

    def _heard_of_wish(self, wish: Wish, response: SessionResponse) -> None:
        if self._wishes.get(wish.request.hold_id) is not wish:
            return  # Given up; a release is on its way.
        if response.HasField("granted"):
            self._heard_grant(wish, response.granted)
        elif wish.grant is None:
            _fail(wish.done, _error_of(response.refused))
        elif _BY_NUMBER.get(response.refused.code) is grpc.StatusCode.UNAVAILABLE:
            # It is held as far as anybody knows, only nobody watches it.
            asyncio.get_running_loop().call_later(AGAIN_S, self._say_again, wish)
        else:
            self._lost(wish, response.refused.message)

    def _heard_grant(self, wish: Wish, granted: Granted) -> None:
        if wish.grant is not None:
            return
        request = wish.request
        wish.grant = Grant(
            request.name,
            granted.token,
            granted.oldest_token,
            granted.key,
            request.hold_id,
            lambda: self.is_live,
        )
        if wish.done.done():
            self._part(wish)
        else:
            wish.done.set_result(wish.grant)

    def _say_again(self, wish: Wish) -> None:
        if self._wishes.get(wish.request.hold_id) is wish and self._is_streaming:
            self._say_wish(wish)

    def _part(self, wish: Wish) -> Parting:
        """Releases a hold, or gives it up."""
        request = wish.request
        self._wishes.pop(request.hold_id, None)
        release = Release(name=request.name, hold_id=request.hold_id, semaphore=request.HasField("semaphore"))
        parting = Parting(release, asyncio.get_running_loop().create_future())
        if not self.session_id:
            # Nothing was said of it, or the session is over and everything with it.
            parting.done.set_result(None)
            return parting
        self._partings[request.hold_id] = parting
        self._say_parting(parting)
        return parting

    def _say_parting(self, parting: Parting) -> None:
        if self._is_streaming:
            self._say(
                SessionRequest(release=parting.request), lambda response: self._heard_of_parting(parting, response)
            )

    def _heard_of_parting(self, parting: Parting, response: SessionResponse) -> None:
        if response.HasField("refused") and _BY_NUMBER.get(response.refused.code) in _AGAIN:
            asyncio.get_running_loop().call_later(AGAIN_S, self._say_parting_again, parting)
        else:
            # Refused for another reason, it was not held any more.
            self._parted(parting)

    def _say_parting_again(self, parting: Parting) -> None:
        if self._partings.get(parting.request.hold_id) is parting:
            self._say_parting(parting)

    def _parted(self, parting: Parting) -> None:
        self._partings.pop(parting.request.hold_id, None)
        if not parting.done.done():
            parting.done.set_result(None)

    def _take(self, response: SessionResponse) -> None:
        take = self._asked.pop(response.id, None)
        if take is not None:
            take(response)
        elif response.HasField("lost"):
            lost = response.lost
            wish = self._wishes.get(lost.hold_id)
            if wish is not None and wish.grant is not None and wish.grant.token == lost.token:
                self._lost(wish, lost.detail)
        elif response.HasField("session_lost"):
            self._session_over(response.session_lost.detail)

    def _lost(self, wish: Wish, why: str) -> None:
        """The grant is not to be trusted any more. It is released all the same: kv may have the place still."""
        self._part(wish)
        if wish.grant is not None:
            wish.grant.lose(why)

    def _session_over(self, why: str) -> None:
        """All grants are lost; those who wait do so in the next session."""
        self.session_id = 0
        self._is_streaming = False
        for parting in tuple(self._partings.values()):
            self._parted(parting)
        for hold_id, wish in tuple(self._wishes.items()):
            if wish.grant is not None:
                del self._wishes[hold_id]
                wish.grant.lose(f"the session is over: {why}")

    def _give_up(self, refused: LockRefused) -> None:
        """Sessions cannot be opened as they are asked for."""
        self._fatal = refused
        for wish in tuple(self._wishes.values()):
            _fail(wish.done, refused)
            self._wishes.pop(wish.request.hold_id, None)
        self.session_id = 0


def _fail(done: "asyncio.Future[Grant]", error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
        # Nobody may be waiting any more, and that is no error.
        done.exception()


def _error_of(refused: Refused) -> Exception:
    code = _BY_NUMBER.get(refused.code, grpc.StatusCode.UNKNOWN)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return NotGranted(refused.message)
    if code in _AGAIN:
        return LockUnavailable(refused.message, definite=refused.definite)
    return LockRefused(code, refused.message)
