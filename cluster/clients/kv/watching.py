"""Many watches on one stream, which goes on at another member, where it was, when its member fails.

A member that hangs, or is cut off from the others, sends no events and no error. So progress is asked for while there
is anything to watch, and a member that does not answer is left.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import Event

if TYPE_CHECKING:
    from cluster.pb.etcd.etcdserverpb.rpc_pb2_grpc import WatchAsyncStub

PROGRESS_S = 1.0
"""How often progress is asked for."""
SILENCE_S_MAX = 3.0
"""How long a member may say nothing."""
PAUSE_S = 0.1
"""Before another member is tried."""
REQUIRE_LEADER = (("hasleader", "true"),)
"""A member that loses its leader ends the stream."""


class Listener(Protocol):
    """Whoever watches."""

    def on_events(self, events: Sequence[Event], revision: int) -> None:
        """Changes in order; all up to `revision` have been told then."""
        ...

    def on_gap(self) -> None:
        """The watch is over: changes were missed, since they are compacted or the member refused. Read anew."""
        ...


class Watch:
    """One watch; `cancel` it when it is not wanted any more."""

    __slots__ = ("_watches", "id", "key", "listener", "next_revision", "range_end")

    def __init__(
        self, watches: "Watches", number: int, key: bytes, range_end: bytes, revision: int, listener: Listener
    ) -> None:
        self._watches = watches
        self.id = number
        self.key = key
        self.range_end = range_end
        self.next_revision = revision
        """The first revision that was not told yet."""
        self.listener = listener

    def cancel(self) -> None:
        """Ends it; nothing is told any more. Twice is harmless."""
        self._watches.remove(self)

    def request(self) -> WatchRequest:
        """What makes it, or makes it again."""
        return WatchRequest(
            create_request=WatchCreateRequest(
                key=self.key, range_end=self.range_end, start_revision=self.next_revision, watch_id=self.id
            )
        )


class Watches:
    """All watches of a process. `run` must run."""

    def __init__(self, stub: Callable[[], "WatchAsyncStub | None"], leave: Callable[[], None]) -> None:
        """`stub` gives the member to ask, None while none is known; `leave` says that it failed."""
        self._stub = stub
        self._leave = leave
        self._numbers = itertools.count(1)
        self._watches: dict[int, Watch] = {}
        self._outgoing: deque[WatchRequest] = deque()
        self._changed = asyncio.Event()
        self.is_streaming = False
        """Whether a stream is open, so that what changes is queued for it."""

    def add(self, key: bytes, range_end: bytes, revision: int, listener: Listener) -> Watch:
        """Begins to watch a range from a revision on."""
        watch = Watch(self, next(self._numbers), key, range_end, revision, listener)
        self._watches[watch.id] = watch
        self._send(watch.request())
        return watch

    def remove(self, watch: Watch) -> None:
        """Ends a watch."""
        if self._watches.pop(watch.id, None) is not None:
            self._send(WatchRequest(cancel_request=WatchCancelRequest(watch_id=watch.id)))

    def _send(self, request: WatchRequest) -> None:
        if self.is_streaming:
            self._outgoing.append(request)
        self._changed.set()

    async def run(self) -> None:
        """Streams for ever, and opens the stream anew when it fails."""
        while True:
            while not self._watches:
                self._changed.clear()
                await self._changed.wait()
            stub = self._stub()
            if stub is None:
                await asyncio.sleep(PAUSE_S)
                continue
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                await self._stream(stub)
            if not self._watches or self._stub() is not stub:
                continue
            self._leave()
            await asyncio.sleep(PAUSE_S)

    async def _stream(self, stub: "WatchAsyncStub") -> None:
        """One stream until it fails, ends, or another member is to be asked.

        Raises AioRpcError, and TimeoutError when it is silent for too long.
        """
        call = stub.Watch(metadata=REQUIRE_LEADER)
        self._outgoing.clear()
        self._outgoing.extend(watch.request() for watch in self._watches.values())
        self.is_streaming = True
        self._changed.set()
        tasks = [
            asyncio.create_task(self._write(call), name="watch-writer"),
            asyncio.create_task(self._ask_progress(), name="watch-progress"),
        ]
        try:
            while True:
                async with asyncio.timeout(SILENCE_S_MAX):
                    response = await call.read()
                if not isinstance(response, WatchResponse) or not self._take(response):
                    return
                if self._stub() is not stub:
                    return
        finally:
            self.is_streaming = False
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, call: "grpc.aio.StreamStreamCall[WatchRequest, WatchResponse]") -> None:
        while True:
            while self._outgoing:
                await call.write(self._outgoing.popleft())
            self._changed.clear()
            await self._changed.wait()

    async def _ask_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            if self._watches:
                self._send(WatchRequest(progress_request=WatchProgressRequest()))

    def _take(self, response: WatchResponse) -> bool:
        """Tells the listener; False when the stream is of no more use."""
        if response.watch_id < 0:
            return not response.canceled
        watch = self._watches.get(response.watch_id)
        if watch is None or response.created:
            return True
        if response.canceled:
            del self._watches[watch.id]
            watch.listener.on_gap()
        elif response.events:
            last = response.events[-1].kv.mod_revision
            watch.next_revision = last + 1
            watch.listener.on_events(response.events, last)
        return True
