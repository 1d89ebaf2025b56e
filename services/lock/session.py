"""One session on one stream: requests in, answers out.

The session itself is a lease in kv, which lives for the session's TTL and, behind that, its lock-delay: what the
session holds stays in kv for the whole of it, and the session is over after the first part. That gives the lock-delay
without a timer of ours, by kv's clock, to clients of etcd's recipes, too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass

from grpc import StatusCode

from cluster.clients.kv import KvClient, KvError, prefix_end
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import Compare, PutRequest, RangeRequest, RequestOp, TxnRequest
from cluster.pb.orrery.lock.v1.lock_pb2 import (
    LOSS_REASON_FORCED,
    LOSS_REASON_HELD_TOO_LONG,
    LOSS_REASON_KEY_REMOVED,
    LOSS_REASON_SESSION_EXPIRED,
    Draining,
    KeptAlive,
    LossReason,
    Lost,
    Open,
    Opened,
    Proclaimed,
    Released,
    SessionLost,
    SessionRequest,
    SessionResponse,
)
from cluster.pb.orrery.lock.v1.lock_pb2 import Refused as RefusedAnswer
from runtime.tasks import TaskScope
from services.lock import checks
from services.lock.grip import Grip
from services.lock.holding import Context, Holding
from services.lock.limits import CAS_ATTEMPTS_MAX, HOLDS_PER_SESSION_MAX
from services.lock.names import AUDIT, session_key
from services.lock.outbox import Outbox
from services.lock.records import SessionRecord, decode_audit, decode_session, encode_session
from services.lock.refusals import Refused, SessionGone, Superseded, invalid, of_kv
from services.lock.store import Mark

TIME_STEP_S = 0.01
"""The finest that a session's end is timed."""
AUDIT_LOOK_MAX = 64
"""Newest records of forced releases among which the reason of a loss is looked for."""
EXPLAIN_S_MAX = 0.5
"""How long the reason of a loss may be looked for before the loss is told without it."""

_REASONS: dict["LossReason.ValueType", str] = {
    LOSS_REASON_SESSION_EXPIRED: "session_expired",
    LOSS_REASON_FORCED: "forced",
    LOSS_REASON_HELD_TOO_LONG: "held_too_long",
    LOSS_REASON_KEY_REMOVED: "key_removed",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """A session as kv knows it."""

    mark: Mark
    record: SessionRecord
    is_resumed: bool


async def open_session(kv: KvClient, request: Open) -> Terms:
    """Makes a session, or finds one and renews it. Raises Refused."""
    checks.check_open(request)
    try:
        return await (_resume(kv, request.session_id) if request.session_id else _make(kv, request))
    except KvError as error:
        raise of_kv(error) from error


async def _make(kv: KvClient, request: Open) -> Terms:
    lease = await kv.grant(request.ttl_s + request.lock_delay_s)
    # kv may have made it longer, so that it outlives a change of its leader.
    record = SessionRecord(lease.TTL - request.lock_delay_s, request.lock_delay_s, request.owner)
    key = session_key(lease.ID)
    revision = await _write(kv, key, lease.ID, encode_session(record), 0)
    if revision is None:
        raise Refused(StatusCode.ABORTED, "the session's record was written by somebody else")
    return Terms(Mark(lease.ID, key, revision), record, is_resumed=False)


async def _resume(kv: KvClient, lease: int) -> Terms:
    key = session_key(lease)
    for _ in range(CAS_ATTEMPTS_MAX):
        found = await kv.range(RangeRequest(key=key))
        record = decode_session(found.kvs[0].value) if found.kvs else None
        if record is None:
            raise SessionGone("there is no such session")
        left_s = (await kv.time_to_live(lease)).TTL
        if left_s < record.lock_delay_s:
            raise SessionGone("the session is over; its locks are in their lock-delay")
        if await kv.renew(lease) <= 0:
            raise SessionGone("the session is over")
        # From now on, nothing that an earlier stream began can come about.
        revision = await _write(kv, key, lease, found.kvs[0].value, found.kvs[0].mod_revision)
        if revision is not None:
            return Terms(Mark(lease, key, revision), record, is_resumed=True)
    raise Refused(StatusCode.ABORTED, "too many streams go on with this session")


async def _write(kv: KvClient, key: bytes, lease: int, value: bytes, mod_revision: int) -> int | None:
    """Writes a session's record if it is as it was; its new revision, or None if it is not."""
    unchanged = Compare(key=key, target=Compare.MOD, result=Compare.EQUAL, mod_revision=mod_revision)
    put = PutRequest(key=key, value=value, lease=lease)
    answer = await kv.txn(
        TxnRequest(
            compare=[unchanged],
            success=[RequestOp(request_put=put)],
            failure=[RequestOp(request_range=RangeRequest(key=key))],
        )
    )
    if answer.response.succeeded:
        return answer.response.header.revision
    pairs = answer.response.responses[0].response_range.kvs
    # A lease that was just made is known to nobody else: what is there is our own, written by an earlier attempt.
    return pairs[0].mod_revision if pairs and mod_revision == 0 else None


class Session:
    """A session whose stream is here."""

    def __init__(self, kv: KvClient, context: Context, terms: Terms) -> None:
        self.terms = terms
        self.outbox = Outbox()
        self._kv = kv
        self._context = context
        self._scope: TaskScope | None = None
        self._holding = Holding(context, terms.mark, terms.record.owner, self._spawn, self._on_gone, self._on_too_long)
        self._open_ids: set[int] = set()
        self._renewed_s = context.clock.monotonic_s()
        self._is_over = False

    async def run(self, requests: AsyncIterator[SessionRequest]) -> None:
        """Serves until the client ends the stream, or the session is over. Raises Refused for what ends the stream."""
        opened = Opened(
            session_id=self.terms.mark.lease,
            ttl_s=self.terms.record.ttl_s,
            lock_delay_s=self.terms.record.lock_delay_s,
            resumed=self.terms.is_resumed,
        )
        self.outbox.put(SessionResponse(opened=opened))
        self._context.counters.sessions += 1
        try:
            async with TaskScope("session") as scope:
                self._scope = scope
                scope.spawn(self._watch_time(), name="time")
                async for request in requests:
                    await self.outbox.room()
                    if self._is_over:
                        break
                    self._take(request)
                scope.cancel()
        finally:
            self._scope = None
            self._holding.detach()
            self.outbox.close()
            self._context.counters.sessions -= 1

    def drain(self) -> None:
        """Asks the client to go on elsewhere."""
        self.outbox.put(SessionResponse(draining=Draining()))

    # ---- requests

    def _take(self, request: SessionRequest) -> None:
        action = request.WhichOneof("action")
        if request.id == 0 or action is None or action == "open":
            self._refuse(request.id, invalid("a request needs an id, not 0, and an action other than open"))
            return
        if request.id in self._open_ids:
            self._refuse(request.id, Refused(StatusCode.ALREADY_EXISTS, f"request {request.id} is not answered yet"))
            return
        if len(self._open_ids) >= 2 * HOLDS_PER_SESSION_MAX:
            self._refuse(request.id, Refused(StatusCode.RESOURCE_EXHAUSTED, "too many requests wait for an answer"))
            return
        self._open_ids.add(request.id)
        self._spawn(self._answer(request.id, action, request), action)

    async def _answer(self, number: int, action: str, request: SessionRequest) -> None:
        response = SessionResponse(id=number)
        try:
            if action == "acquire":
                response.granted.CopyFrom(await self._holding.acquire(request.acquire))
            elif action == "release":
                await self._holding.release(request.release)
                response.released.CopyFrom(Released())
            elif action == "keep_alive":
                await self._keep_alive()
                response.kept_alive.CopyFrom(KeptAlive())
            elif action == "proclaim":
                await self._holding.proclaim(request.proclaim)
                response.proclaimed.CopyFrom(Proclaimed())
            else:
                await self._close()
                response.released.CopyFrom(Released())
        except SessionGone as gone:
            self._refuse(number, gone)
            self._end(gone.message)
        except Superseded as superseded:
            # The client is elsewhere, or will find that it is not: nothing is lost, and nothing may be done here.
            self._refuse(number, superseded)
            self._is_over = True
            self.outbox.close()
        except Refused as refused:
            self._refuse(number, refused)
        else:
            self.outbox.put(response)
            if action == "close":
                self._is_over = True
                self.outbox.close()
        finally:
            self._open_ids.discard(number)

    def _refuse(self, number: int, refused: Refused) -> None:
        answer = RefusedAnswer(code=refused.code.value[0], message=refused.message, definite=refused.definite)
        self.outbox.put(SessionResponse(id=number, refused=answer))

    async def _keep_alive(self) -> None:
        asked_s = self._context.clock.monotonic_s()
        if asked_s - self._renewed_s > self.terms.record.ttl_s:
            # Whether kv still has the lease does not matter: the client has been told otherwise by its own clock.
            raise SessionGone("the session was not renewed in time")
        try:
            if await self._kv.renew(self.terms.mark.lease) <= 0:
                raise SessionGone("the session is over: its lease has ended")
        except KvError as error:
            raise of_kv(error) from error
        self._renewed_s = max(self._renewed_s, asked_s)

    async def _close(self) -> None:
        for grip, _ in self._holding.all_lost():
            _log.debug("released by the end of the session", extra={"lock": grip.name})
        try:
            await self._kv.revoke(self.terms.mark.lease)
        except KvError as error:
            raise of_kv(error) from error

    # ---- losses

    async def _watch_time(self) -> None:
        """Ends a session that is not renewed in time."""
        while True:
            left_s = self._renewed_s + self.terms.record.ttl_s - self._context.clock.monotonic_s()
            if left_s <= 0:
                self._end("the session was not renewed in time")
                return
            # Two clocks are at work here, and a rest of a nanosecond on the one may be none on the other.
            await asyncio.sleep(max(left_s, TIME_STEP_S))

    def _end(self, why: str) -> None:
        """The session is over: tells of every grant, and of the session."""
        if self._is_over:
            return
        self._is_over = True
        for grip, hold in self._holding.all_lost():
            self._tell(grip, hold.id, LOSS_REASON_SESSION_EXPIRED, why)
        self.outbox.put(SessionResponse(session_lost=SessionLost(detail=why)))
        self.outbox.close()

    def _on_gone(self, grip: Grip) -> None:
        holds = self._holding.lost(grip)
        self._spawn(self._explain(grip, [hold.id for hold in holds]), "loss")

    def _on_too_long(self, grip: Grip) -> None:
        for hold in self._holding.lost(grip):
            self._tell(grip, hold.id, LOSS_REASON_HELD_TOO_LONG, "it was held for as long as it may be")

    async def _explain(self, grip: Grip, holds: list[int]) -> None:
        """Tells of a loss, with its reason if it can be found quickly."""
        reason, detail = LOSS_REASON_KEY_REMOVED, "somebody removed the key"
        try:
            async with asyncio.timeout(EXPLAIN_S_MAX):
                forced = await self._forced(grip)
                if forced:
                    reason, detail = LOSS_REASON_FORCED, forced
                elif (await self._kv.time_to_live(self.terms.mark.lease)).TTL < 0:
                    self._tell_all(grip, holds, LOSS_REASON_SESSION_EXPIRED, "the session's lease has ended")
                    self._end("the session's lease has ended")
                    return
        except (TimeoutError, KvError):
            detail = "the key is gone; kv did not say why in time"
        self._tell_all(grip, holds, reason, detail)

    async def _forced(self, grip: Grip) -> str:
        """Who took it and why, if an operator did it; else empty."""
        found = await self._kv.range(
            RangeRequest(
                key=AUDIT,
                range_end=prefix_end(AUDIT),
                sort_order=RangeRequest.DESCEND,
                sort_target=RangeRequest.KEY,
                limit=AUDIT_LOOK_MAX,
            )
        )
        for pair in found.kvs:
            record = decode_audit(pair.value)
            if record is not None and (record.name, record.token) == (grip.name, grip.create_revision):
                return f"{record.who}: {record.why}"
        return ""

    def _tell_all(self, grip: Grip, holds: list[int], reason: "LossReason.ValueType", detail: str) -> None:
        for hold_id in holds:
            self._tell(grip, hold_id, reason, detail)

    def _tell(self, grip: Grip, hold_id: int, reason: "LossReason.ValueType", detail: str) -> None:
        self._context.counters.losses[_REASONS[reason]] += 1
        lost = Lost(name=grip.name, hold_id=hold_id, token=grip.create_revision, reason=reason, detail=detail)
        self.outbox.put(SessionResponse(lost=lost))

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        if self._scope is not None:
            try:
                self._scope.spawn(work, name=name)
                return
            except RuntimeError:
                # The stream is ending, and what began in it is being waited for. Who calls may be the view of a lock,
                # on behalf of all: test_a_loss_while_the_stream_ends_harms_nobody.
                pass
        work.close()
