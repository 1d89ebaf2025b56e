"""Locks, semaphores and elections, as programs use them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio

from cluster.clients.lock.errors import LockRefused, LockUnavailable, NotGranted
from cluster.clients.lock.grant import Grant
from cluster.clients.lock.keeper import SessionKeeper, Terms
from cluster.clients.lock.stubs import Stubs
from cluster.clients.lock.tether import Tether
from cluster.discovery.roster import Roster
from cluster.discovery.source import Source
from cluster.pb.orrery.lock.v1.lock_pb2 import (
    Acquire,
    Campaign,
    Exclusive,
    ForcedRelease,
    ForceReleaseRequest,
    InspectRequest,
    LeaderRequest,
    Leadership,
    Place,
    Semaphore,
    Shared,
)
from cluster.rpc.engine import RpcOptions
from runtime import Clock, Net, Randomness

TTL_S = 10
LOCK_DELAY_S = 2
CALL_S_MAX = 10.0
ASK_AGAIN_S = 0.1
"""Pause after all processes were asked in vain."""
PAUSE_S = 0.2
_OPTIONS = RpcOptions(reconnect_backoff_s_max=0.5)

T = TypeVar("T")


class Locks:
    """A session with the lock service. `async with Locks(...) as locks:` opens it when first needed, and closes it.

    Everything asked of one client is asked in one session. An exclusive lock is reentrant for the task that holds it;
    other tasks of the same client wait for it here, in the order in which they came.
    """

    def __init__(
        self,
        endpoints: Sequence[str] | Source,
        *,
        clock: Clock,
        random: Randomness,
        net: Net,
        ttl_s: int = TTL_S,
        lock_delay_s: int = LOCK_DELAY_S,
        owner: str = "",
    ) -> None:
        """`endpoints` are `host:port` of all processes of the service, or a source of them, which is followed.
        Raises ValueError when there is none.

        When this process falls silent, its locks are free after `ttl_s` and `lock_delay_s`, in seconds.
        """
        if isinstance(endpoints, Sequence) and not endpoints:
            raise ValueError("the lock service has no endpoints")
        self._clock = clock
        self._roster: Roster[Stubs] = Roster(endpoints, Stubs.on, _OPTIONS, net=net, random=random)
        self._keeper = SessionKeeper(self._roster, Terms(ttl_s, lock_delay_s, owner), clock=clock, random=random)
        self._running: asyncio.Task[None] | None = None
        self._gates: dict[str, _Gate] = {}

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._keeper.run(), name="lock-session")
        self._running.add_done_callback(self._keeper.died)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._keeper.close()
        finally:
            if self._running is not None:
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)
            await self._roster.close()

    @property
    def session_id(self) -> int:
        """The session, 0 when there is none."""
        return self._keeper.session_id

    # ---- holding

    @asynccontextmanager
    async def hold(
        self,
        name: str,
        *,
        wait_s: float | None = None,
        shared: bool = False,
        hold_s_max: float = 0.0,
        cancels: bool = True,
    ) -> AsyncIterator[Grant]:
        """Holds a lock while the block runs.

        `wait_s`: how long to wait at most; 0: not at all. `shared`: together with others who share. `hold_s_max`: it
        is taken away after this time. `cancels`: whether the block is cancelled when the grant is lost.
        Raises NotGranted, LockRefused, LockUnavailable; LockLost when the grant was lost before the block ended.
        """
        request = Acquire(name=name, hold_ms_max=int(hold_s_max * 1000))
        if shared:
            request.shared.CopyFrom(Shared())
            async with self._held(request, wait_s, cancels=cancels) as grant:
                yield grant
            return
        request.exclusive.CopyFrom(Exclusive())
        started_s = self._clock.monotonic_s()
        async with self._through_gate(name, wait_s):
            left_s = None if wait_s is None else max(0.0, wait_s - (self._clock.monotonic_s() - started_s))
            async with self._held(request, left_s, cancels=cancels) as grant:
                yield grant

    @asynccontextmanager
    async def permit(
        self,
        name: str,
        limit: int,
        *,
        permits: int = 1,
        wait_s: float | None = None,
        hold_s_max: float = 0.0,
        cancels: bool = True,
    ) -> AsyncIterator[Grant]:
        """Holds permits of a semaphore of `limit` while the block runs; see `hold`. Not reentrant."""
        request = Acquire(name=name, hold_ms_max=int(hold_s_max * 1000))
        request.semaphore.CopyFrom(Semaphore(limit=limit, permits=permits))
        async with self._held(request, wait_s, cancels=cancels) as grant:
            yield grant

    @asynccontextmanager
    async def lead(
        self, name: str, value: bytes = b"", *, wait_s: float | None = None, cancels: bool = True
    ) -> AsyncIterator[Grant]:
        """Stands for election, and leads while the block runs. `value` is what observers are told; see `hold`."""
        request = Acquire(name=name, campaign=Campaign(value=value))
        async with self._held(request, wait_s, cancels=cancels) as grant:
            yield grant

    async def proclaim(self, grant: Grant, value: bytes) -> None:
        """Changes what a leader says. Raises LockRefused, LockUnavailable."""
        await self._keeper.proclaim(grant, value)

    async def acquire(
        self, name: str, *, wait_s: float | None = None, shared: bool = False, hold_s_max: float = 0.0
    ) -> Grant:
        """As `hold`, for those whose hold does not follow a block; tasks are not told apart. `release` it."""
        request = Acquire(name=name, hold_ms_max=int(hold_s_max * 1000))
        if shared:
            request.shared.CopyFrom(Shared())
        else:
            request.exclusive.CopyFrom(Exclusive())
        return await self._keeper.acquire(request, wait_s)

    async def release(self, grant: Grant) -> None:
        """Gives a grant back; one that is lost already is fine."""
        await self._keeper.release(grant)

    # ---- looking

    async def leader(self, name: str) -> Leadership | None:
        """Who leads, or None. Raises LockRefused, LockUnavailable."""
        try:
            return await self._ask(lambda stubs: stubs.elections.Leader(LeaderRequest(name=name)))
        except LockRefused as refused:
            if refused.code is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    async def observe(self, name: str) -> AsyncIterator[Leadership]:
        """Who leads now, and each change from then on; token 0: nobody. Goes on over failures. Raises LockRefused."""
        told: tuple[int, int] | None = None
        place = 0
        while True:
            await self._roster.wait()
            members = self._roster.members
            call = members[place % len(members)].stubs.elections.Observe(LeaderRequest(name=name))
            try:
                async for leadership in call:
                    if told != (leadership.token, leadership.revision):
                        told = (leadership.token, leadership.revision)
                        yield leadership
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    raise LockRefused(error.code(), error.details() or "") from error
            finally:
                call.cancel()
            place += 1
            await asyncio.sleep(PAUSE_S)

    async def inspect(self, name: str) -> list[Place]:
        """Who holds a lock and who waits for it, in order. Raises LockRefused, LockUnavailable."""
        response = await self._ask(lambda stubs: stubs.locks.Inspect(InspectRequest(name=name)))
        return list(response.queue)

    async def force_release(self, name: str, *, who: str, why: str, token: int = 0) -> list[ForcedRelease]:
        """Takes a lock from its holders. Raises LockRefused, LockUnavailable."""
        request = ForceReleaseRequest(name=name, token=token, who=who, why=why)
        response = await self._ask(lambda stubs: stubs.locks.ForceRelease(request))
        return list(response.released)

    # ---- inside

    @asynccontextmanager
    async def _held(self, request: Acquire, wait_s: float | None, *, cancels: bool) -> AsyncIterator[Grant]:
        if wait_s is not None:
            request.wait_ms_max = max(0, int(wait_s * 1000))
        grant = await self._keeper.acquire(request, wait_s)
        try:
            async with Tether(grant, cancels=cancels):
                yield grant
        finally:
            await self._keeper.release(grant)

    @asynccontextmanager
    async def _through_gate(self, name: str, wait_s: float | None) -> AsyncIterator[None]:
        """Lets one task of this client at a time ask for an exclusive lock: to the service they are all the same."""
        task = asyncio.current_task()
        gate = self._gates.setdefault(name, _Gate())
        if gate.owner is task:
            yield
            return
        gate.users += 1
        try:
            try:
                async with asyncio.timeout(wait_s if wait_s is None else max(wait_s, 0.001)):
                    await gate.lock.acquire()
            except TimeoutError:
                raise NotGranted(f"{name!r} was not free within {wait_s} s: this client holds it") from None
            gate.owner = task
            try:
                yield
            finally:
                gate.owner = None
                gate.lock.release()
        finally:
            gate.users -= 1
            if gate.users == 0:
                self._gates.pop(name, None)

    async def _ask(self, call: Callable[[Stubs], Awaitable[T]]) -> T:
        """Asks one process after another, and around again: one that was just started is found while another is gone.

        Raises LockRefused, and LockUnavailable after CALL_S_MAX.
        """
        message = "no answer in time"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALL_S_MAX):
                while True:
                    members = tuple(self._roster.members)
                    for member in members:
                        with contextlib.suppress(TimeoutError):
                            try:
                                async with asyncio.timeout(CALL_S_MAX / len(members)):
                                    return await call(member.stubs)
                            except grpc.aio.AioRpcError as error:
                                message = error.details() or error.code().name
                                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                                    raise LockRefused(error.code(), message) from error
                    await asyncio.sleep(ASK_AGAIN_S)
        raise LockUnavailable(f"no process of the lock service answered: {message}", definite=False)


class _Gate:
    """What tasks of one client pass one at a time."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.owner: asyncio.Task[object] | None = None
        self.users = 0
