"""Rounds of ReadIndex, shared by concurrent calls.

A call may only join a round that has not started: the round asks a leader what is committed *now*, and "now" must not
lie before the call. A round whose answer does not come is asked again under the same name, less and less often, and the
first answer counts, whichever question it is to: none was asked before the calls. To forget the first question instead
would mean that no read ever ends where an answer takes longer than the patience for it.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.raft.core.types import ReadState
from cluster.replica.interface import ReadTimeout, ReplicaStopped

ROUNDS_IN_FLIGHT_MAX = 4
"""Rounds that may be under way; calls that come meanwhile share the next one."""
RETRY_TICKS = 4
"""Ticks after which a round without an answer is asked again; twice as many after each time..."""
RETRY_DOUBLINGS_MAX = 4
"""...but so often only."""
WAITERS_MAX = 100_000
"""Calls that may wait at once."""

Waiter = asyncio.Future[None]


@dataclass(slots=True)
class _Round:
    """A question that was asked, and who waits for the answer."""

    waiters: list[Waiter]
    due_tick: int
    """When it is asked again."""
    asked: int = 1
    """How often."""


class ReadRounds:
    """All calls that wait for a barrier."""

    def __init__(self, incarnation: int) -> None:
        self._prefix = incarnation.to_bytes(8, "big")
        self._number = 0
        self._ticks = 0
        self._next: list[Waiter] = []
        self._in_flight: dict[bytes, _Round] = {}
        self._again: dict[bytes, None] = {}
        """Rounds in flight that are to be asked again."""
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

    @property
    def due(self) -> bool:
        """Whether `start` may have something to ask."""
        return bool(self._next or self._again)

    def start(self) -> list[bytes]:
        """The contexts to ask a leader for now: of rounds whose answers did not come, and of the next round."""
        contexts = []
        for context in self._again:
            asked = self._in_flight.get(context)
            if asked is None:
                continue
            asked.waiters = _undone(asked.waiters)
            if not asked.waiters:
                del self._in_flight[context]
                continue
            asked.due_tick = self._ticks + (RETRY_TICKS << min(asked.asked, RETRY_DOUBLINGS_MAX))
            asked.asked += 1
            contexts.append(context)
        self._again.clear()
        self.rounds += len(contexts)
        if not self._next or len(self._in_flight) >= ROUNDS_IN_FLIGHT_MAX:
            return contexts
        waiters, self._next = _undone(self._next), []
        if not waiters:
            return contexts
        self._number += 1
        self.rounds += 1
        context = self._prefix + self._number.to_bytes(8, "big")
        self._in_flight[context] = _Round(waiters, self._ticks + RETRY_TICKS)
        contexts.append(context)
        return contexts

    def confirmed(self, states: Sequence[ReadState], applied_index: int) -> None:
        """Rounds were answered. Those whose index is applied are over."""
        for index, context in states:
            found = self._in_flight.pop(context, None)
            if found is not None:
                self._confirmed.append((index, found.waiters))
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
        """Whatever is under way is asked again, and soon again after that: the leader changed."""
        for context, asked in self._in_flight.items():
            asked.asked = 0
            self._again[context] = None

    def tick(self) -> bool:
        """A tick passed. Returns whether a round is to be started."""
        self._ticks += 1
        for context, asked in self._in_flight.items():
            if asked.due_tick <= self._ticks:
                self._again[context] = None
        return self.due

    def stop(self) -> None:
        """Every call raises ReplicaStopped."""
        groups = [asked.waiters for asked in self._in_flight.values()]
        groups += [waiters for _, waiters in self._confirmed]
        waiters = [*self._next, *(waiter for group in groups for waiter in group)]
        self._next = []
        self._in_flight.clear()
        self._again.clear()
        self._confirmed.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(ReplicaStopped("the replica is stopped"))


def _undone(waiters: Iterable[Waiter]) -> list[Waiter]:
    return [waiter for waiter in waiters if not waiter.done()]


def _expire(waiter: Waiter, timeout_s: float) -> None:
    if not waiter.done():
        waiter.set_exception(ReadTimeout(f"no leader confirmed the read within {timeout_s} s"))
