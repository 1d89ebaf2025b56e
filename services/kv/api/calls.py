"""What all heads share: the way to the replica and back, headers, and etcd's errors."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, TypeVar

from google.protobuf.message import Message
from grpc import aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import ResponseHeader
from cluster.replica.interface import (
    Leadership,
    NoLeader,
    Overloaded,
    ReplicaError,
    ReplicaStopped,
    Replicated,
)
from services.kv import commands
from services.kv.identity import Identity
from services.kv.refusals import NO_LEADER, REQUEST_TOO_LARGE, STOPPED, TIMED_OUT, TOO_MANY_REQUESTS, Refusal, Refused
from services.kv.state_machine import KvStateMachine, Result

Context: TypeAlias = "aio.ServicerContext[Message, Message]"
RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

REQUIRE_LEADER = ("hasleader", "true")
"""Metadata with which a client asks to be refused by a member that knows no leader."""
LEADERLESS_ELECTIONS = 3
"""Streams that require a leader are ended after this many election timeouts without one: reconnecting is dear."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of the API."""

    request_bytes_max: int = 1536 * 1024
    """A command larger than this is refused (etcd: --max-request-bytes)."""
    txn_operations_max: int = 128
    """etcd: --max-txn-ops."""
    request_timeout_s: float = 7.0
    """How long the cluster may take for a request (etcd: 5 s, and two election timeouts)."""
    election_timeout_s: float = 1.0


def refusal_of(error: ReplicaError) -> Refusal:
    """The answer to a client whose request the replica could not serve."""
    if isinstance(error, NoLeader):
        return NO_LEADER
    if isinstance(error, Overloaded):
        return TOO_MANY_REQUESTS
    if isinstance(error, ReplicaStopped):
        return STOPPED
    return TIMED_OUT


class LeaderGate:
    """Tells who requires a leader when there has been none for too long."""

    def __init__(self, replica: Replicated[Result], patience_s: float) -> None:
        self._patience_s = patience_s
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Callable[[], None], None] = {}
        self.has_leader = replica.leadership.leader != 0
        replica.on_leadership(self._leadership_changed)

    def on_loss(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls back once when the leader has been missing for too long. Returns how to take that back."""
        self._waiting[callback] = None
        return lambda: self._waiting.pop(callback, None)

    def _leadership_changed(self, leadership: Leadership) -> None:
        self.has_leader = leadership.leader != 0
        if self.has_leader and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not self.has_leader and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._lost)

    def _lost(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, {}
        for callback in waiting:
            callback()


class Calls:
    """Serves requests by the replica of this member."""

    def __init__(
        self, replica: Replicated[Result], machine: KvStateMachine, identity: Identity, limits: RequestLimits
    ) -> None:
        self.replica = replica
        self.machine = machine
        self.identity = identity
        self.limits = limits
        self.proposals_failed = 0
        """Proposals whose outcome was not learnt, or that were never made."""
        self.gate = LeaderGate(replica, LEADERLESS_ELECTIONS * limits.election_timeout_s)

    def header(self, revision: int) -> ResponseHeader:
        """A header of this member's."""
        return ResponseHeader(
            cluster_id=self.identity.cluster_id,
            member_id=self.identity.member.id,
            revision=revision,
            raft_term=self.replica.leadership.term,
        )

    def fill(self, header: ResponseHeader) -> None:
        """Completes a header that has its revision; 0 becomes the newest one."""
        header.cluster_id = self.identity.cluster_id
        header.member_id = self.identity.member.id
        header.raft_term = self.replica.leadership.term
        if header.revision == 0:
            header.revision = self.machine.store.revision

    async def propose(self, tag: bytes, request: Message, answer: type[ResponseT]) -> ResponseT:
        """Has a request done by all replicas, and returns its answer. Raises Refused."""
        command = commands.encode(tag, request)
        if len(command) > self.limits.request_bytes_max:
            raise Refused(REQUEST_TOO_LARGE)
        try:
            result = await self.replica.propose(command, timeout_s=self.limits.request_timeout_s)
        except ReplicaError as error:
            self.proposals_failed += 1
            raise Refused(refusal_of(error)) from error
        if isinstance(result, Refusal):
            raise Refused(result)
        assert isinstance(result, answer), f"a command yielded {type(result)}"
        return result

    async def barrier(self) -> None:
        """Waits until this member has every write acknowledged before. Raises Refused."""
        try:
            await self.replica.read_barrier(timeout_s=self.limits.request_timeout_s)
        except ReplicaError as error:
            raise Refused(refusal_of(error)) from error

    async def may_read_locally(self) -> None:
        """Lets a serializable read pass: at once, as it may be of an old state; but not of one that a member that lost
        its disk is still rebuilding, which may lack what the same member has shown before. Raises Refused.
        """
        if self.replica.recovery:
            await self.barrier()

    async def unary(
        self, context: Context, method: Callable[[RequestT], Awaitable[ResponseT]], request: RequestT
    ) -> ResponseT:
        """Answers one request, with etcd's error when it is refused."""
        try:
            self.check_leader(context)
            return await method(request)
        except Refused as refused:
            await refuse(context, refused.refusal)

    def check_leader(self, context: Context) -> bool:
        """Whether the client requires a leader. Raises Refused when it does, and none is known."""
        required = requires_leader(context)
        if required and not self.gate.has_leader:
            raise Refused(NO_LEADER)
        return required


def requires_leader(context: Context) -> bool:
    """Whether the client wants to be refused by a member that knows no leader."""
    metadata = context.invocation_metadata()
    return metadata is not None and REQUIRE_LEADER in tuple(metadata)


async def refuse(context: Context, refusal: Refusal) -> NoReturn:
    """Ends a call with a refusal."""
    await context.abort(refusal.code, refusal.message)
    raise AssertionError("abort raises")
