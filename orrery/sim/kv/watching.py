"""Clients that watch all registers, or one group's key, break off, and go on elsewhere where they were."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import grpc.aio

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from cluster.pb.etcd.mvccpb.kv_pb2 import Event
from orrery.checkers.history import Json, Recorder
from orrery.sim.kv import etcd
from orrery.sim.kv.access import Access

WatchCall: TypeAlias = "grpc.aio.StreamStreamCall[WatchRequest, WatchResponse]"
PROGRESS_S = 1.0
"""How long a watch waits for the answer to its last question: how far it is."""


@dataclass(slots=True)
class Told:
    """What one stream has told."""

    events: list[Json] = field(default_factory=list)
    until: int = 0
    """It has told everything up to this revision."""
    compacted: int = 0
    since: int = 0
    """At this revision it was made, if it was to begin with what comes then."""

    def hear(self, response: WatchResponse) -> None:
        """Takes a response."""
        if response.canceled:
            self.compacted = response.compact_revision
            return
        for event in response.events:
            is_put = event.type == Event.PUT
            self.events.append(
                {
                    "type": "put" if is_put else "delete",
                    "key": event.kv.key.decode(),
                    "value": event.kv.value.decode() if is_put else None,
                    "revision": event.kv.mod_revision,
                }
            )
            self.until = max(self.until, event.kv.mod_revision)

    def as_json(self) -> dict[str, Json]:
        """For the history."""
        told: dict[str, Json] = {"events": self.events}
        if self.until:
            told["revision"] = self.until
        if self.since:
            told["since"] = self.since
        if self.compacted:
            told["compacted"] = self.compacted
        return told


class Watcher:
    """One watch, resumed again and again. `start` is the first revision wanted; 0: from now on."""

    def __init__(self, name: str, recorder: Recorder, access: Access, prefix: str, start: int) -> None:
        self._name = name
        self._recorder = recorder
        self._access = access
        self._prefix = prefix
        self.next = start
        """The first revision that the next stream asks for."""

    async def run(self, life_s: float, source: random.Random, stopping: asyncio.Event) -> None:
        """Watches until it is to stop; each stream lives for `life_s` in the mean."""
        while not stopping.is_set():
            await self.watch(source.expovariate(1 / life_s), asks_progress=source.random() < 0.5)
            await asyncio.sleep(source.uniform(0, 0.3))

    async def watch(self, life_s: float, *, asks_progress: bool, until: int | None = None) -> Told:
        """One stream, for so long, or until it has told everything up to a revision."""
        asked: dict[str, Json] = {"prefix": self._prefix, "id": 0}
        if self.next:
            asked["from"] = self.next
        invocation = self._recorder.invoke(self._name, "watch", None, asked)
        told = Told()
        error: Json = None
        # The deadline ends it wherever it hangs; a read that is cancelled would end the stream for what is asked last.
        call = self._access.watch.Watch(timeout=life_s + PROGRESS_S)
        asking = asyncio.create_task(self._ask(call, life_s if asks_progress else None))
        try:
            await call.write(self._request())
            await self._hear(call, told, until)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as failure:
            error = failure.code().name if isinstance(failure, grpc.aio.AioRpcError) else str(failure)
        finally:
            asking.cancel()
            call.cancel()
        self._recorder.info(invocation, told.as_json(), error)
        if told.compacted or told.until:
            self.next = max(self.next, told.compacted + 1, told.until + 1)
        return told

    def _request(self) -> WatchRequest:
        low, high = self._prefix.encode(), etcd.prefix_end(self._prefix)
        return WatchRequest(create_request=WatchCreateRequest(key=low, range_end=high, start_revision=self.next))

    async def _hear(self, call: WatchCall, told: Told, until: int | None) -> None:
        """Takes responses until one ends the stream, or tells how far it is."""
        while not told.compacted and (until is None or told.until < until):
            response = await call.read()
            if not isinstance(response, WatchResponse):
                return
            told.hear(response)
            if response.created:
                if not self.next:
                    # All that comes later will be told.
                    told.since = told.until = response.header.revision
                if until is not None:
                    await call.write(WatchRequest(progress_request=WatchProgressRequest()))
            elif not response.events and not response.canceled:
                told.until = max(told.until, response.header.revision)
                if until is None:
                    return

    async def _ask(self, call: WatchCall, after_s: float | None) -> None:
        """Asks how far the stream is, when its time is over."""
        if after_s is None:
            return
        await asyncio.sleep(after_s)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(WatchRequest(progress_request=WatchProgressRequest()))
