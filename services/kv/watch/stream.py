"""One Watch stream: its watchers, and the responses that are due, in the order in which they must go out.

Sans I/O: whoever owns the connection feeds requests in, waits for `wait`, and writes what `poll` returns. A watcher's
`created` goes out before its events, because what answers requests is always sent first.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from cluster.pb.etcd.etcdserverpb.rpc_pb2 import (
    ResponseHeader,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)
from services.kv.mvcc.wire import WATCH_RESPONSE_EVENTS, repeated
from services.kv.refusals import COMPACTED, TOO_MANY_WATCHERS, Refusal
from services.kv.watch.hub import Compacted, Piece, WatchHub
from services.kv.watch.watcher import Interest, Sync, Waker, Watcher

NO_WATCH_ID = -1
"""For answers that are not about one watcher."""
WATCHERS_PER_STREAM_MAX = 100_000
"""etcd has no limit here; this one keeps a client in a loop from taking all memory."""
ANSWERS_WAITING_MAX = 128
"""While more answers than this wait to be written, no further requests should be read."""
EMPTY_RANGE = "mvcc: watcher range is empty"
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"


class WatchStream(Waker):
    """The watchers that share a stream."""

    def __init__(self, hub: WatchHub, header: Callable[[int], ResponseHeader], *, fragment_bytes: int) -> None:
        """`header` makes a response's header for a revision; a response above `fragment_bytes` may be split."""
        self._hub = hub
        self._header = header
        self._fragment_bytes = fragment_bytes
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._answers: deque[WatchResponse] = deque()
        self._ready: dict[Watcher, None] = {}
        self._progress_requested = False
        self.ended: Refusal | None = None
        """Why the whole stream is to be ended by this side, once what is due has been written."""
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    # ---- in

    def handle(self, request: WatchRequest) -> None:
        """Takes a request of the client."""
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif kind == "progress_request" and self._watchers:
            self._progress_requested = True
            self._hub.on_revision[self._work.set] = None
            self._work.set()

    def wake(self, watcher: Watcher) -> None:
        """The hub has something for one of the watchers."""
        self._ready[watcher] = None
        self._work.set()

    def tick_progress(self) -> None:
        """Notifies the watchers that asked for it, and had no events since the last time, of how far they are."""
        for watcher in self._watchers.values():
            if not watcher.interest.wants_progress:
                continue
            if watcher.is_quiet and self._is_current(watcher):
                self._answer(self._response(watcher.id, self._hub.revision))
            watcher.is_quiet = True

    def end(self, reason: Refusal) -> None:
        """Asks for the end of the stream."""
        self.ended = reason
        self._work.set()

    def close(self) -> None:
        """Ends all watchers."""
        for watcher in self._watchers.values():
            self._hub.remove(watcher)
        self._watchers.clear()
        self._ready.clear()
        self._answers.clear()
        self._hub.on_revision.pop(self._work.set, None)

    async def room(self) -> None:
        """Waits until another request may be taken."""
        await self._room.wait()

    # ---- out

    async def wait(self) -> None:
        """Waits until `poll` may have something."""
        await self._work.wait()

    def poll(self) -> list[WatchResponse]:
        """The responses that are due now: all answers, then at most one piece for each watcher.

        Call it again when they have been written: what waits meanwhile stays where its memory is bounded.
        """
        responses = list(self._answers)
        self._answers.clear()
        self._room.set()
        ready, self._ready = self._ready, {}
        for watcher in ready:
            if watcher.sync is Sync.CLOSED:
                continue
            try:
                piece = self._hub.take(watcher)
            except Compacted:
                responses.append(self._end_compacted(watcher))
                continue
            if piece.events:
                watcher.is_quiet = False
                responses.extend(self._events(watcher, piece))
            if watcher.sync is Sync.BEHIND:
                self._ready[watcher] = None
        if self._progress_requested and not self._ready and all(map(self._is_current, self._watchers.values())):
            self._progress_requested = False
            self._hub.on_revision.pop(self._work.set, None)
            if self._watchers:
                responses.append(self._response(NO_WATCH_ID, self._hub.revision))
        if not self._ready:
            self._work.clear()
        return responses

    # ---- inside

    def _is_current(self, watcher: Watcher) -> bool:
        """Whether all that the watcher should see up to the newest revision has been taken."""
        return (
            watcher.sync is Sync.LIVE and not watcher.pending and self._hub.revision >= watcher.interest.start_revision
        )

    def _answer(self, response: WatchResponse) -> None:
        self._answers.append(response)
        if len(self._answers) > ANSWERS_WAITING_MAX:
            self._room.clear()
        self._work.set()

    def _response(self, watch_id: int, revision: int) -> WatchResponse:
        return WatchResponse(header=self._header(revision), watch_id=watch_id)

    def _refuse(self, reason: str) -> None:
        response = self._response(NO_WATCH_ID, self._hub.revision)
        response.created = response.canceled = True
        response.cancel_reason = reason
        self._answer(response)

    def _create(self, request: WatchCreateRequest) -> None:
        if request.start_revision < 0:
            self._refuse(COMPACTED.message)
            return
        low = request.key or b"\0"
        high: bytes | None = request.range_end or low + b"\0"
        if high == b"\0":
            high = None
        if high is not None and low >= high:
            self._refuse(EMPTY_RANGE)
            return
        if len(self._watchers) >= WATCHERS_PER_STREAM_MAX:
            self._refuse(TOO_MANY_WATCHERS.message)
            return
        watch_id = request.watch_id
        if watch_id == 0:
            while self._next_id in self._watchers:
                self._next_id += 1
            watch_id = self._next_id
            self._next_id += 1
        elif watch_id in self._watchers:
            self._refuse(DUPLICATE_ID)
            return
        interest = Interest(
            low,
            high,
            request.start_revision,
            wants_puts=WatchCreateRequest.NOPUT not in request.filters,
            wants_deletes=WatchCreateRequest.NODELETE not in request.filters,
            wants_previous=request.prev_kv,
            may_fragment=request.fragment,
            wants_progress=request.progress_notify,
        )
        watcher = self._watchers[watch_id] = Watcher(watch_id, interest, self)
        self._hub.add(watcher)
        response = self._response(watch_id, self._hub.revision)
        response.created = True
        self._answer(response)
        if watcher.sync is Sync.BEHIND:
            self.wake(watcher)

    def _cancel(self, watch_id: int) -> None:
        watcher = self._watchers.pop(watch_id, None)
        if watcher is None:
            return
        self._hub.remove(watcher)
        self._ready.pop(watcher, None)
        response = self._response(watch_id, self._hub.revision)
        response.canceled = True
        self._answer(response)

    def _end_compacted(self, watcher: Watcher) -> WatchResponse:
        del self._watchers[watcher.id]
        self._hub.remove(watcher)
        response = self._response(watcher.id, 0)  # as in etcd, there is no revision that it speaks of
        response.canceled = True
        response.compact_revision = self._hub.compact_revision
        return response

    def _events(self, watcher: Watcher, piece: Piece) -> list[WatchResponse]:
        """A piece as responses: one, unless it is large and the client can put parts together."""
        parts = [piece.events]
        if watcher.interest.may_fragment and sum(map(len, piece.events)) >= self._fragment_bytes:
            parts = _cut(piece.events, self._fragment_bytes)
        responses = []
        for number, events in enumerate(parts, 1):
            response = self._response(watcher.id, piece.revision)
            response.MergeFromString(repeated(WATCH_RESPONSE_EVENTS, events))
            response.fragment = number < len(parts)
            responses.append(response)
        return responses


EVENT_FRAME_BYTES = 6
"""Tag and length of an event within a response, at most."""


def _cut(events: list[bytes], size_max: int) -> list[list[bytes]]:
    """Events in runs of less than `size_max` bytes, each of at least one event."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for event in events:
        cost = len(event) + EVENT_FRAME_BYTES
        if parts[-1] and size + cost >= size_max:
            parts.append([])
            size = 0
        parts[-1].append(event)
        size += cost
    return parts
