"""orrery.lock.v1.Locks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias, TypeVar

from google.protobuf.message import Message
from grpc import StatusCode, aio

from cluster.clients.kv import KvClient
from cluster.pb.orrery.lock.v1.lock_pb2 import (
    ForceReleaseRequest,
    ForceReleaseResponse,
    InspectRequest,
    InspectResponse,
    ListForcedReleasesRequest,
    ListForcedReleasesResponse,
    ListRequest,
    ListResponse,
    SessionRequest,
    SessionResponse,
)
from cluster.pb.orrery.lock.v1.lock_pb2_grpc import LocksServicer
from services.lock.holding import Context
from services.lock.inspection import Inspection
from services.lock.refusals import Refused
from services.lock.session import Session as LockSession
from services.lock.session import open_session

CallContext: TypeAlias = "aio.ServicerContext[Message, Message]"
RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

OPEN_S_MAX = 10.0
"""How long a client may take to say what session it wants."""


async def answer(
    context: CallContext, method: Callable[[RequestT], Awaitable[ResponseT]], request: RequestT
) -> ResponseT:
    """Answers one request, with a status when it is refused."""
    try:
        return await method(request)
    except Refused as refused:
        await context.abort(refused.code, refused.message)
        raise AssertionError("abort raises") from refused


class LocksHead(LocksServicer):
    """Serves the sessions and the operators."""

    def __init__(self, kv: KvClient, context: Context, inspection: Inspection, *, sessions_max: int) -> None:
        self._kv = kv
        self._context = context
        self._inspection = inspection
        self._sessions_max = sessions_max
        self._sessions: dict[LockSession, None] = {}
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._is_draining = False

    async def Session(  # noqa: N802, D102
        self, request_iterator: AsyncIterator[SessionRequest], context: CallContext
    ) -> AsyncIterator[SessionResponse]:
        try:
            session = await self._open(request_iterator)
        except Refused as refused:
            await context.abort(refused.code, refused.message)
            raise AssertionError("abort raises") from refused
        self._sessions[session] = None
        self._none_left.clear()
        reader = asyncio.create_task(session.run(request_iterator), name="session")
        outbox = session.outbox
        try:
            while (response := await outbox.take()) is not None:
                yield response
        finally:
            # Before anything is waited for: the call may be cancelled here once more.
            del self._sessions[session]
            if not self._sessions:
                self._none_left.set()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        if not reader.cancelled() and (error := reader.exception()) is not None:
            raise error

    async def Inspect(self, request: InspectRequest, context: CallContext) -> InspectResponse:  # noqa: N802, D102
        return await answer(context, lambda asked: self._inspection.inspect(asked.name), request)

    async def List(self, request: ListRequest, context: CallContext) -> ListResponse:  # noqa: N802, D102
        return await answer(context, self._inspection.list_locks, request)

    async def ForceRelease(  # noqa: N802, D102
        self, request: ForceReleaseRequest, context: CallContext
    ) -> ForceReleaseResponse:
        return await answer(context, self._inspection.force_release, request)

    async def ListForcedReleases(  # noqa: N802, D102
        self, request: ListForcedReleasesRequest, context: CallContext
    ) -> ListForcedReleasesResponse:
        return await answer(context, self._inspection.records, request)

    async def drain(self, within_s: float) -> None:
        """Asks all clients to go on elsewhere, and waits for it."""
        self._is_draining = True
        for session in self._sessions:
            session.drain()
        try:
            async with asyncio.timeout(within_s):
                await self._none_left.wait()
        except TimeoutError:
            for session in self._sessions:
                session.outbox.close()

    async def _open(self, requests: AsyncIterator[SessionRequest]) -> LockSession:
        if self._is_draining:
            raise Refused(StatusCode.UNAVAILABLE, "this process is about to stop")
        if len(self._sessions) >= self._sessions_max:
            raise Refused(StatusCode.RESOURCE_EXHAUSTED, f"{self._sessions_max} sessions are here already")
        try:
            async with asyncio.timeout(OPEN_S_MAX):
                first = await anext(requests, None)
        except TimeoutError:
            raise Refused(StatusCode.DEADLINE_EXCEEDED, f"no open within {OPEN_S_MAX:.0f} s") from None
        if first is None or first.WhichOneof("action") != "open":
            raise Refused(StatusCode.INVALID_ARGUMENT, "the first request of a session is open")
        return LockSession(self._kv, self._context, await open_session(self._kv, first.open))
