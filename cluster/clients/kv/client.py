"""Calls to kv: at the leader if it can be found, and at the next member when one does not answer.

Every member takes every call. The leader does it with one hop less, and hears first of what has changed.

Every call here may be sent more than once, so a write must be one that can be done twice: a transaction that compares
what it depends on. `KvError.definite` says whether none of the attempts can have had an effect.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio

from cluster.clients.kv.errors import KvRefused, KvUnavailable
from cluster.clients.kv.watching import Listener, Watch, Watches
from cluster.discovery.roster import Member, Roster
from cluster.discovery.source import Source
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    RangeRequest,
    RangeResponse,
    StatusRequest,
    TxnRequest,
    TxnResponse,
)
from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import KVStub, LeaseStub, MaintenanceStub, WatchStub
from cluster.rpc.engine import RpcOptions
from runtime import Clock, Net, Randomness

if TYPE_CHECKING:
    from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import (
        KVAsyncStub,
        LeaseAsyncStub,
        MaintenanceAsyncStub,
        WatchAsyncStub,
    )

T = TypeVar("T")

ATTEMPT_S_MAX = 2.0
"""How long one member may take. It may be cut off from the others and not know it yet, and hold a call for long."""
PAUSE_S_MIN = 0.05
PAUSE_S_MAX = 0.5
"""Pauses after every member has failed once, doubled each round."""
LEADER_S = 1.0
"""How often is looked who leads."""
STATUS_S_MAX = 1.0
_ELSEWHERE = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Codes after which another member, or the same a moment later, may do better."""
_OPTIONS = RpcOptions(reconnect_backoff_s_max=0.5)


@dataclass(frozen=True, slots=True)
class Stubs:
    """What a member serves."""

    kv: "KVAsyncStub"
    lease: "LeaseAsyncStub"
    watch: "WatchAsyncStub"
    maintenance: "MaintenanceAsyncStub"

    @staticmethod
    def on(channel: grpc.aio.Channel) -> "Stubs":
        """The stubs of a member."""
        return Stubs(KVStub(channel), LeaseStub(channel), WatchStub(channel), MaintenanceStub(channel))


@dataclass(frozen=True, slots=True)
class Answered:
    """A transaction's answer."""

    response: TxnResponse
    is_repeated: bool
    """An earlier attempt of the same transaction may have been done before this one."""


class KvClient:
    """A client of all members. Close it; `run` must run while watches are wanted."""

    def __init__(
        self,
        addresses: Sequence[str] | Source,
        *,
        net: Net,
        random: Randomness,
        clock: Clock,
        within_s: float = 7.0,
    ) -> None:
        """`addresses` are `host:port` of client ports, or a source of them, which is followed.

        `within_s` is how long a call may take, all attempts together. Raises ValueError when there is no address.
        """
        if isinstance(addresses, Sequence) and not addresses:
            raise ValueError("kv has no addresses")
        self._clock = clock
        self._within_s = within_s
        self._roster: Roster[Stubs] = Roster(addresses, Stubs.on, _OPTIONS, net=net, random=random)
        self._watches = Watches(self._watch_stub, self._leave_current)
        self.failures = 0
        """Attempts that failed, since the start."""
        self.is_reached = False
        """Whether the latest attempt got an answer."""

    async def run(self) -> None:
        """Keeps the watches alive, and looks for the leader, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.run(), name="kv-watches")
            group.create_task(self._follow_leader(), name="kv-leader")

    async def close(self) -> None:
        """Closes all connections."""
        await self._roster.close()

    def watch(self, key: bytes, range_end: bytes, start_revision: int, listener: Listener) -> Watch:
        """Tells `listener` of every change in the range from a revision on, until the watch is cancelled."""
        return self._watches.add(key, range_end, start_revision, listener)

    async def range(self, request: RangeRequest, *, within_s: float | None = None) -> RangeResponse:
        """Reads. Raises KvError."""

        async def attempt(member: Stubs, timeout_s: float) -> RangeResponse:
            return await member.kv.Range(request, timeout=timeout_s)

        return (await self._call(attempt, within_s))[0]

    async def txn(self, request: TxnRequest) -> Answered:
        """Does a transaction, which must be one that can be done twice. Raises KvError."""

        async def attempt(member: Stubs, timeout_s: float) -> TxnResponse:
            return await member.kv.Txn(request, timeout=timeout_s)

        return Answered(*await self._call(attempt))

    async def grant(self, ttl_s: int) -> LeaseGrantResponse:
        """Makes a lease. One that was made unknown to us ends by itself. Raises KvError."""

        async def attempt(member: Stubs, timeout_s: float) -> LeaseGrantResponse:
            return await member.lease.LeaseGrant(LeaseGrantRequest(TTL=ttl_s), timeout=timeout_s)

        return (await self._call(attempt))[0]

    async def renew(self, lease: int) -> int:
        """Renews a lease; returns its TTL in seconds, 0 when there is none. Raises KvError."""

        async def attempt(member: Stubs, timeout_s: float) -> int:
            call = member.lease.LeaseKeepAlive(iter((LeaseKeepAliveRequest(ID=lease),)), timeout=timeout_s)
            try:
                async for response in call:
                    return response.TTL
            finally:
                call.cancel()
            raise KvUnavailable(grpc.StatusCode.UNAVAILABLE, "the stream ended without an answer", definite=False)

        return (await self._call(attempt))[0]

    async def time_to_live(self, lease: int) -> LeaseTimeToLiveResponse:
        """What a lease has left; TTL -1 when there is none. Raises KvError."""

        async def attempt(member: Stubs, timeout_s: float) -> LeaseTimeToLiveResponse:
            return await member.lease.LeaseTimeToLive(LeaseTimeToLiveRequest(ID=lease), timeout=timeout_s)

        return (await self._call(attempt))[0]

    async def revoke(self, lease: int) -> None:
        """Ends a lease; one that is gone already is fine. Raises KvError."""

        async def attempt(member: Stubs, timeout_s: float) -> None:
            await member.lease.LeaseRevoke(LeaseRevokeRequest(ID=lease), timeout=timeout_s)

        try:
            await self._call(attempt)
        except KvRefused as refused:
            if refused.code is not grpc.StatusCode.NOT_FOUND:
                raise

    async def _call(
        self, attempt: Callable[[Stubs, float], Awaitable[T]], within_s: float | None = None
    ) -> tuple[T, bool]:
        """The answer, and whether an attempt before it may have had an effect. Raises KvError."""
        deadline_s = self._clock.monotonic_s() + (self._within_s if within_s is None else within_s)
        definite = True
        failures = 0
        while True:
            left_s = max(0.0, deadline_s - self._clock.monotonic_s())
            current = await self._some_member(left_s)
            try:
                answer = await attempt(current.stubs, min(left_s, ATTEMPT_S_MAX))
            except grpc.aio.AioRpcError as error:
                code, message = error.code(), error.details() or error.code().name
                definite &= bool(getattr(error, "definite", False))
                if code not in _ELSEWHERE:
                    self.is_reached = True
                    raise KvRefused(code, message, definite=definite or failures == 0) from error
            except KvUnavailable as error:
                code, message, definite = error.code, error.message, False
            else:
                self.is_reached = True
                return answer, not definite
            self.failures += 1
            self.is_reached = False
            failures += 1
            self._roster.leave(current)
            pause_s = 0.0
            members = len(self._roster)
            if failures % members == 0:
                pause_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** (failures // members - 1))
            if self._clock.monotonic_s() + pause_s >= deadline_s:
                raise KvUnavailable(code, f"kv gave no answer in time: {message}", definite=definite)
            await asyncio.sleep(pause_s)

    async def _some_member(self, within_s: float) -> Member[Stubs]:
        """The member to ask. Raises KvUnavailable when none gets known in time."""
        member = self._roster.current
        if member is not None:
            return member
        try:
            async with asyncio.timeout(within_s):
                return await self._roster.wait()
        except TimeoutError:
            message = "no member of kv is known"
            raise KvUnavailable(grpc.StatusCode.UNAVAILABLE, message, definite=True) from None

    def _watch_stub(self) -> "WatchAsyncStub | None":
        member = self._roster.current
        return member.stubs.watch if member is not None else None

    async def _follow_leader(self) -> None:
        """Goes to the leader, whenever it is known and another member than the present one."""
        places: dict[int, Member[Stubs]] = {}
        while True:
            leader = await self._leader(await self._roster.wait(), places)
            if leader and places.get(leader) not in self._roster.members:
                for member in tuple(self._roster.members):
                    await self._leader(member, places)
            if leader in places:
                self._roster.turn_to(places[leader])
            await asyncio.sleep(LEADER_S)

    async def _leader(self, member: Member[Stubs], places: dict[int, Member[Stubs]]) -> int:
        """The id of the leader as one member knows it, 0 when that is not known; remembers who stands at that place."""
        try:
            status = await member.stubs.maintenance.Status(StatusRequest(), timeout=STATUS_S_MAX)
        except grpc.aio.AioRpcError:
            return 0
        places[status.header.member_id] = member
        return status.leader

    def _leave_current(self) -> None:
        self._roster.leave(self._roster.current)
