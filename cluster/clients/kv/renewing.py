"""Many leases renewed on one stream, which is opened anew at another member when its member fails.

A renewal can be sent twice without harm. So whatever has no answer when a stream ends is sent again on the next one.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from cluster.clients.kv.errors import KvUnavailable
from cluster.pb.etcd.etcdserverpb.rpc_pb2 import LeaseKeepAliveRequest, LeaseKeepAliveResponse

if TYPE_CHECKING:
    from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import LeaseAsyncStub

WAITING_MAX = 65_536
"""Leases that may wait for an answer at once."""
SILENCE_S_MAX = 2.0
"""How long a member may answer nothing while something waits."""
IDLE_S = 30.0
"""How long a stream is kept when nothing waits."""
PAUSE_S = 0.1
"""Before another member is tried."""


class Renewals:
    """All renewals of a process. `run` must run."""

    def __init__(self, stub: Callable[[], "LeaseAsyncStub | None"], leave: Callable[[], None]) -> None:
        """`stub` gives the member to ask, None while none is known; `leave` says that it failed."""
        self._stub = stub
        self._leave = leave
        self._waiting: dict[int, dict[asyncio.Future[int], None]] = {}
        """Who waits, by lease. Each has a future of its own: one who stops waiting must not stop the others."""
        self._unsent: dict[int, None] = {}
        self._changed = asyncio.Event()
        self._silence: asyncio.Timeout | None = None
        """The time that the member has for its next answer."""
        self._is_idle = False
        """Whether that time is the one for which a stream is kept without need."""

    def __len__(self) -> int:
        return len(self._waiting)

    def renew(self, lease: int, within_s: float) -> "asyncio.Future[int]":
        """Its TTL in seconds, 0 when there is none; KvUnavailable when that cannot be found out in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        waiting = self._waiting.get(lease)
        if waiting is None:
            if len(self._waiting) >= WAITING_MAX:
                message = "too many leases wait to be renewed"
                answer.set_exception(KvUnavailable(grpc.StatusCode.RESOURCE_EXHAUSTED, message, definite=True))
                return answer
            if not self._waiting and self._silence is not None and not self._silence.expired():
                self._silence.reschedule(loop.time() + SILENCE_S_MAX)
                self._is_idle = False
            waiting = self._waiting[lease] = {}
            self._unsent[lease] = None
            self._changed.set()
        waiting[answer] = None
        timer = loop.call_later(within_s, _give_up, lease, answer)
        answer.add_done_callback(lambda _: self._done(lease, answer, timer))
        return answer

    def _done(self, lease: int, answer: "asyncio.Future[int]", timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        waiting = self._waiting.get(lease)
        if waiting is not None and waiting.pop(answer, answer) is None and not waiting:
            del self._waiting[lease]
            self._unsent.pop(lease, None)

    async def run(self) -> None:
        """Streams while there is something to renew, for ever."""
        while True:
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()
            stub = self._stub()
            if stub is None:
                await asyncio.sleep(PAUSE_S)
                continue
            self._unsent = dict.fromkeys(self._waiting)
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                if await self._stream(stub):
                    continue
            if self._stub() is stub:
                self._leave()
                await asyncio.sleep(PAUSE_S)

    async def _stream(self, stub: "LeaseAsyncStub") -> bool:
        """One stream until it fails; True when it ended because nothing was to be done, or another is to be asked.

        Raises AioRpcError, and TimeoutError when the member is silent for too long.
        """
        call = stub.LeaseKeepAlive()
        writer = asyncio.create_task(self._write(call), name="lease-writer")
        try:
            while True:
                self._is_idle = not self._waiting
                try:
                    async with asyncio.timeout(IDLE_S if self._is_idle else SILENCE_S_MAX) as self._silence:
                        response = await call.read()
                except TimeoutError:
                    # What comes in the moment in which an idle stream's time is over says nothing about the member.
                    if self._waiting and not self._is_idle:
                        raise
                    return True
                if not isinstance(response, LeaseKeepAliveResponse):
                    return False
                for answer in self._waiting.pop(response.ID, ()):
                    if not answer.done():
                        answer.set_result(response.TTL)
                if not self._waiting and self._stub() is not stub:
                    return True
        finally:
            self._silence = None
            call.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, call: "grpc.aio.StreamStreamCall[LeaseKeepAliveRequest, LeaseKeepAliveResponse]") -> None:
        while True:
            while self._unsent:
                lease = next(iter(self._unsent))
                del self._unsent[lease]
                await call.write(LeaseKeepAliveRequest(ID=lease))
            self._changed.clear()
            await self._changed.wait()


def _give_up(lease: int, answer: "asyncio.Future[int]") -> None:
    if not answer.done():
        message = f"kv did not renew the lease {lease:x} in time"
        answer.set_exception(KvUnavailable(grpc.StatusCode.DEADLINE_EXCEEDED, message, definite=False))
