"""Answers on their way to one client."""

import asyncio
from collections import deque

from cluster.pb.orrery.lock.v1.lock_pb2 import SessionResponse
from services.lock.limits import ANSWERS_WAITING_MAX


class Outbox:
    """The queue between a session and its stream.

    Whoever takes requests waits for `room` first: a client that does not read its answers cannot ask for more, so the
    queue is bounded by the requests under way.
    """

    def __init__(self) -> None:
        self._answers: deque[SessionResponse] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.is_closed = False
        """Nothing is taken any more; what waits is still written."""

    def put(self, answer: SessionResponse) -> None:
        """Sends an answer."""
        if self.is_closed:
            return
        self._answers.append(answer)
        self._changed.set()
        if len(self._answers) >= ANSWERS_WAITING_MAX:
            self._room.clear()

    def close(self) -> None:
        """Ends the stream once what waits is written."""
        self.is_closed = True
        self._changed.set()
        self._room.set()

    async def room(self) -> None:
        """Returns when the client has read enough, or will never be told anything any more."""
        await self._room.wait()

    async def take(self) -> SessionResponse | None:
        """The next answer; None when there will be none."""
        while not self._answers:
            if self.is_closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        answer = self._answers.popleft()
        if len(self._answers) < ANSWERS_WAITING_MAX:
            self._room.set()
        return answer
