"""Rounds of ReadIndex, shared by concurrent calls.

A call may only join a round that has not started: the round asks a leader what is committed *now*, and "now" must not
lie before the call. A round whose answer was lost is asked again, with whoever waits by then: starting later is safe.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from cluster.raft.core.types import ReadState
from cluster.replica.interface import ReadTimeout, ReplicaStopped

ROUNDS_IN_FLIGHT_MAX = 4
"""Rounds that may be under way; calls that come meanwhile share the next one."""
RETRY_TICKS = 4
"""Ticks after which a round without an answer is asked again."""
WAITERS_MAX = 100_000
"""Calls that may wait at once."""

Waiter = asyncio.Future[None]


class ReadRounds:
    """All calls that wait for a barrier."""

    def __init__(self, incarnation: int) -> None:
        self._prefix = incarnation.to_bytes(8, "big")
        self._number = 0
        self._ticks = 0
        self._next: list[Waiter] = []
        self._in_flight: dict[bytes, tuple[int, list[Waiter]]] = {}
        self._confirmed: deque[tuple[int, list[Waiter]]] = deque()
        self.rounds = 0
        """Rounds that were started, retries included."""

    def join(self, timeout_s: float) -> Waiter:
        """A future that is done when the barrier is passed, failed, or `timeout_s` has gone by."""
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        timer = loop.call_later(timeout_s, _expire, waiter, timeout_s)
        waiter.add_done_callback(lambda _: timer.cancel())
        self._next.append(waiter)
        return waiter

    @property
    def waiting(self) -> int:
        """Calls for which no round has started."""
        return len(self._next)

    def start(self) -> list[bytes]:
        """Starts the next round, if somebody waits for one and it may. Returns its context in a list."""
        if not self._next or len(self._in_flight) >= ROUNDS_IN_FLIGHT_MAX:
            return []
        waiters, self._next = _undone(self._next), []
        if not waiters:
            return []
        self._number += 1
        self.rounds += 1
        context = self._prefix + self._number.to_bytes(8, "big")
        self._in_flight[context] = (self._ticks, waiters)
        return [context]

    def confirmed(self, states: Sequence[ReadState], applied_index: int) -> None:
        """Rounds were answered. Those whose index is applied are over."""
        for index, context in states:
            found = self._in_flight.pop(context, None)
            if found is not None:
                self._confirmed.append((index, found[1]))
        self.applied(applied_index)

    def applied(self, index: int) -> None:
        """The state machine has come to `index`."""
        confirmed = self._confirmed
        if not confirmed:
            return
        if confirmed[0][0] > index and len(confirmed) > 1:
            # A new leader may answer with a lower index than the old one promised: look at all.
            confirmed = deque(sorted(confirmed, key=lambda item: item[0]))
            self._confirmed = confirmed
        while confirmed and confirmed[0][0] <= index:
            for waiter in confirmed.popleft()[1]:
                if not waiter.done():
                    waiter.set_result(None)

    def retry(self) -> None:
        """Whatever is under way is asked again: the leader changed."""
        in_flight, self._in_flight = self._in_flight, {}
        for _, waiters in in_flight.values():
            self._next += waiters

    def tick(self) -> bool:
        """A tick passed. Returns whether a round is to be started."""
        self._ticks += 1
        for context, (started, waiters) in list(self._in_flight.items()):
            if self._ticks - started >= RETRY_TICKS:
                del self._in_flight[context]
                self._next += waiters
        return bool(self._next)

    def stop(self) -> None:
        """Every call raises ReplicaStopped."""
        self.retry()
        waiters = [*self._next, *(waiter for _, group in self._confirmed for waiter in group)]
        self._next = []
        self._confirmed.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(ReplicaStopped("the replica is stopped"))


def _undone(waiters: Iterable[Waiter]) -> list[Waiter]:
    return [waiter for waiter in waiters if not waiter.done()]


def _expire(waiter: Waiter, timeout_s: float) -> None:
    if not waiter.done():
        waiter.set_exception(ReadTimeout(f"no leader confirmed the read within {timeout_s} s"))
