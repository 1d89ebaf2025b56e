"""Answers on their way to one client."""

import asyncio
from collections import deque

from cluster.pb.orrery.lock.v1.lock_pb2 import SessionResponse
from services.lock.limits import ANSWERS_WAITING_MAX


class Outbox:
    """A bounded queue between a session and its stream."""

    def __init__(self) -> None:
        self._answers: deque[SessionResponse] = deque()
        self._changed = asyncio.Event()
        self.is_closed = False
        """Nothing is taken any more; what waits is still written."""
        self.has_overflowed = False
        """The client did not read for too long."""

    def put(self, answer: SessionResponse) -> None:
        """Sends an answer. One too many closes the stream."""
        if self.is_closed:
            return
        if len(self._answers) >= ANSWERS_WAITING_MAX:
            self.has_overflowed = True
            self._answers.clear()
            self.close()
            return
        self._answers.append(answer)
        self._changed.set()

    def close(self) -> None:
        """Ends the stream once what waits is written."""
        self.is_closed = True
        self._changed.set()

    async def take(self) -> SessionResponse | None:
        """The next answer; None when there will be none."""
        while not self._answers:
            if self.is_closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._answers.popleft()
