"""The lessor: grants leases, renews them at the leader, and has them ended when their time is over.

Renewing does not go through the log. The leader does it alone, after it has proved that it still leads: by a read
barrier, which costs a round of heartbeats that all renewals under way share. What makes this safe across a change of
leader is the epoch: a new leader first commits that it keeps the time from now on; only then does it renew, and from
then on nobody believes what an earlier leader says has expired. A renewal that an earlier leader acknowledged came
before that, and the new leader starts with a grace.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from typing import NamedTuple, Protocol, TypeVar

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import LeaseCheckpoint as CheckpointItem
from cluster.pb.orrery.kv.v1.command_pb2 import LeaseCheckpoint, LeaseExpire, LessorEpoch
from cluster.replica.interface import Leadership, ReplicaError, Replicated
from runtime import Clock
from services.kv import commands
from services.kv.lease.timekeeper import Timekeeper
from services.kv.mvcc.leases import Lease, LeaseTable
from services.kv.mvcc.store import Change
from services.kv.refusals import NO_LEADER, TIMED_OUT, Refused
from services.kv.state_machine import Result

TICK_S = 0.5
"""How often ends and checkpoints are looked for; a lease may live this much longer than its TTL."""
STALL_S = 1.0
"""A tick that comes this much late means that the process stood still."""
RETRY_S = 0.05
"""Pause before asking for the leader again."""

AnswerT = TypeVar("AnswerT")

_log = logging.getLogger(__name__)


class NotTimekeeper(Exception):
    """This member does not keep the time of leases, or could not prove that it does. Ask the leader."""


class TimeLeft(NamedTuple):
    """What is left of a lease."""

    ttl_s: int
    """-1: there is no such lease."""
    granted_ttl_s: int = 0
    keys: tuple[bytes, ...] = ()


class LeaderLink(Protocol):
    """Reaches the lessor of another member. Both calls raise NotTimekeeper when that did not work out."""

    async def renew(self, member_id: int, lease_id: int) -> int:
        """As `Lessor.renew_here`, at that member."""
        ...

    async def time_left(self, member_id: int, lease_id: int, *, keys: bool) -> TimeLeft:
        """As `Lessor.time_left_here`, at that member."""
        ...


class LessorTimes(NamedTuple):
    """Settings of a lessor."""

    request_timeout_s: float
    grace_s: float
    """Added to every lease when the leader changes: the election timeout."""
    ttl_min_s: int


def ttl_min_s(election_timeout_s: float) -> int:
    """etcd's shortest TTL: one and a half election timeouts, so that a lease outlives a change of leader."""
    return ceil(1.5 * election_timeout_s)


class Lessor:
    """The leases of this member's replica, and an `Observer` of its state machine."""

    def __init__(
        self,
        replica: Replicated[Result],
        leases: Callable[[], LeaseTable],
        clock: Clock,
        times: LessorTimes,
        link: LeaderLink,
    ) -> None:
        self._replica = replica
        self._leases = leases
        self._clock = clock
        self._times = times
        self._link = link
        self._timekeeper = Timekeeper()
        self._epoch_wanted = 0
        """The term in which this member leads and has not taken over yet; 0: none."""
        self._wake = asyncio.Event()
        self._ended: dict[int, list[asyncio.Future[None]]] = {}
        """Those who wait for a lease that is over to be gone."""
        replica.on_leadership(self._leadership_changed)

    @property
    def is_timekeeper(self) -> bool:
        """Whether this member keeps the time."""
        return self._timekeeper.is_running

    # ---- for the API heads

    async def renew(self, lease_id: int) -> int:
        """Renews a lease wherever its time is kept.

        Its TTL in seconds, 0 when there is no such lease. Raises Refused.
        """

        async def attempt(leader: Leadership) -> int:
            if leader.is_self:
                return await self.renew_here(lease_id)
            return await self._link.renew(leader.leader, lease_id)

        return await self._at_leader(attempt)

    async def renew_all(self, lease_ids: Sequence[int]) -> Sequence[int]:
        """As `renew`, for many: if this member keeps the time, one proof that it leads serves all. Raises Refused."""
        if len(lease_ids) > 1 and self._replica.leadership.is_self:
            try:
                epoch = await self._prove_leadership()
            except NotTimekeeper:
                pass
            else:
                # All at the moment of the proof: after a wait it would prove nothing any more.
                ttls = [self._renew_plainly(lease_id, epoch) for lease_id in lease_ids]
                return [ttl or await self.renew(lease_id) for ttl, lease_id in zip(ttls, lease_ids, strict=True)]
        return await asyncio.gather(*map(self.renew, lease_ids))

    def _renew_plainly(self, lease_id: int, epoch: int) -> int:
        """Renews a lease that lives, has no checkpoint, and whose time is kept here; 0 when it is not as simple."""
        lease = self._leases().get(lease_id)
        now_s = self._clock.monotonic_s()
        if (
            lease is None
            or lease.remaining_ttl_s
            or not self._keeps_time(epoch)
            or self._timekeeper.is_over(lease_id, now_s)
        ):
            return 0
        self._timekeeper.renew(lease, now_s)
        return lease.ttl_s

    async def time_left(self, lease_id: int, *, keys: bool) -> TimeLeft:
        """What a lease has left, as its timekeeper says. Raises Refused."""

        async def attempt(leader: Leadership) -> TimeLeft:
            if leader.is_self:
                return await self.time_left_here(lease_id, keys=keys)
            return await self._link.time_left(leader.leader, lease_id, keys=keys)

        return await self._at_leader(attempt)

    async def renew_here(self, lease_id: int) -> int:
        """Renews a lease if this member keeps the time. Raises NotTimekeeper."""
        epoch = await self._prove_leadership()
        lease = self._leases().get(lease_id)
        if lease is not None and self._timekeeper.is_over(lease_id, self._clock.monotonic_s()):
            # Whether it is too late is decided by the log: it may be ended already, or never be if we lose the lead.
            await self._until_ended(lease_id)
            lease = self._leases().get(lease_id)
        if lease is None:
            return 0
        if lease.remaining_ttl_s:
            # A new leader would grant what the checkpoint says, and that is less than what we promise now.
            await self._propose_checkpoints(epoch, [(lease_id, 0)])
        if not self._keeps_time(epoch):
            raise NotTimekeeper
        now_s = self._clock.monotonic_s()
        if self._timekeeper.is_over(lease_id, now_s) or self._leases().get(lease_id) is not lease:
            raise NotTimekeeper
        self._timekeeper.renew(lease, now_s)
        return lease.ttl_s

    async def time_left_here(self, lease_id: int, *, keys: bool) -> TimeLeft:
        """What a lease has left, if this member keeps the time. Raises NotTimekeeper."""
        epoch = await self._prove_leadership()
        lease = self._leases().get(lease_id)
        if not self._keeps_time(epoch):
            raise NotTimekeeper
        if lease is None:
            return TimeLeft(-1)
        remaining_s = self._timekeeper.remaining_s(lease_id, self._clock.monotonic_s())
        return TimeLeft(int(remaining_s or 0), lease.ttl_s, tuple(sorted(lease.keys)) if keys else ())

    # ---- the task

    async def run(self) -> None:
        """Takes over when this member becomes leader, and ends leases whose time is over. Runs until cancelled."""
        last_s = self._clock.monotonic_s()
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            now_s = self._clock.monotonic_s()
            if now_s - last_s > TICK_S + STALL_S:
                stalled_s = now_s - last_s - TICK_S
                _log.warning("the process stood still; leases get the time back", extra={"stalled_s": stalled_s})
                self._timekeeper.forgive(stalled_s)
            try:
                await self._turn(now_s)
            except (ReplicaError, NotTimekeeper) as error:
                # Nothing is lost: what is over is proposed again, here or by the next leader.
                _log.info("leases must wait", extra={"reason": str(error)})
            # Waiting for a proposal is no standstill of the process.
            last_s = self._clock.monotonic_s()

    async def _turn(self, now_s: float) -> None:
        epoch = self._epoch_wanted
        if epoch:
            message = LessorEpoch(epoch=epoch)
            await self._replica.propose(
                commands.encode(commands.LESSOR_EPOCH, message), timeout_s=self._times.request_timeout_s
            )
            if self._epoch_wanted == epoch:
                self._epoch_wanted = 0
        if not self._timekeeper.is_running:
            return
        epoch = self._leases().epoch
        over = self._timekeeper.pop_over(now_s)
        if over:
            message_over = LeaseExpire(epoch=epoch, ids=over)
            await self._replica.propose(
                commands.encode(commands.LEASE_EXPIRE, message_over), timeout_s=self._times.request_timeout_s
            )
        checkpoints = self._timekeeper.pop_checkpoints(now_s)
        if checkpoints:
            await self._propose_checkpoints(epoch, checkpoints)

    # ---- what the state machine tells

    def changed(self, changes: Sequence[Change]) -> None:
        """Not of interest here."""

    def lease_granted(self, lease: Lease) -> None:
        """Its time begins when it is applied here."""
        self._timekeeper.granted(lease, self._clock.monotonic_s())

    def lease_ended(self, lease_id: int) -> None:
        """Forgets it, and tells those who wait for that."""
        self._timekeeper.ended(lease_id)
        for waiter in self._ended.pop(lease_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def lessor_epoch_began(self, epoch: int) -> None:
        """From here on the leader of that term keeps the time: maybe we."""
        leadership = self._replica.leadership
        if leadership.is_self and leadership.term == epoch:
            self._timekeeper.start(self._leases(), self._clock.monotonic_s(), self._times.grace_s)
        else:
            self._stop()

    def restored(self) -> None:
        """A snapshot is only ever given to one that does not lead."""
        self._stop()

    # ---- inside

    def _leadership_changed(self, leadership: Leadership) -> None:
        if leadership.is_self:
            if self._leases().epoch != leadership.term:
                self._stop()
                self._epoch_wanted = leadership.term
            elif not self._timekeeper.is_running:
                self._timekeeper.start(self._leases(), self._clock.monotonic_s(), self._times.grace_s)
        else:
            self._epoch_wanted = 0
            self._stop()
        self._wake.set()

    def _stop(self) -> None:
        self._timekeeper.stop()
        waiting, self._ended = self._ended, {}
        for waiters in waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _keeps_time(self, epoch: int) -> bool:
        leadership = self._replica.leadership
        return (
            self._timekeeper.is_running
            and leadership.is_self
            and leadership.term == epoch
            and self._leases().epoch == epoch
        )

    async def _prove_leadership(self) -> int:
        """The epoch in which this member keeps the time, as of now. Raises NotTimekeeper."""
        epoch = self._replica.leadership.term
        if self._keeps_time(epoch):
            try:
                await self._replica.read_barrier(timeout_s=self._times.request_timeout_s)
            except ReplicaError as error:
                raise NotTimekeeper from error
            if self._keeps_time(epoch):
                return epoch
        raise NotTimekeeper

    async def _until_ended(self, lease_id: int) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._ended.setdefault(lease_id, []).append(waiter)
        self._wake.set()
        try:
            async with asyncio.timeout(self._times.request_timeout_s):
                await waiter
        except TimeoutError:
            raise NotTimekeeper from None

    async def _propose_checkpoints(self, epoch: int, checkpoints: list[tuple[int, int]]) -> None:
        message = LeaseCheckpoint(
            epoch=epoch,
            checkpoints=[CheckpointItem(ID=lease_id, remaining_TTL=left_s) for lease_id, left_s in checkpoints],
        )
        try:
            await self._replica.propose(
                commands.encode(commands.LEASE_CHECKPOINT, message), timeout_s=self._times.request_timeout_s
            )
        except ReplicaError as error:
            raise NotTimekeeper from error

    async def _at_leader(self, attempt: Callable[[Leadership], Awaitable[AnswerT]]) -> AnswerT:
        """Tries until a leader answers. Raises Refused when that takes too long."""
        try:
            async with asyncio.timeout(self._times.request_timeout_s):
                while True:
                    leadership = self._replica.leadership
                    if leadership.leader:
                        try:
                            return await attempt(leadership)
                        except NotTimekeeper:
                            pass
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            raise Refused(TIMED_OUT if self._replica.leadership.leader else NO_LEADER) from None
