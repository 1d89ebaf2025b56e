"""A leader's queue of linearizable reads (Raft thesis, section 6.4).

A read may be served at the commit index of its arrival, once the leader knows that it was still the leader *after*
the arrival. To know it, the leader numbers rounds of heartbeats; every follower answers with the round's number. A
round that a quorum answered confirms every read that was queued before the round was sent. etcd starts a round per
read; here all reads that arrive between two Readys share one.

Round numbers only grow within a process, and answers carry the term: an answer of an older reign confirms nothing.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

ROUND_BYTES = 8


class PendingRead(NamedTuple):
    """A read that awaits its round."""

    round: int
    source: int
    index: int  # type: ignore[assignment]  # the field hides tuple.index, which nobody needs here
    context: bytes


class ReadRounds:
    """Invariant: the rounds in the queue never fall, and none is beyond `started + 1`."""

    __slots__ = ("_acknowledged", "_queue", "_started", "postponed")

    def __init__(self) -> None:
        self._queue: deque[PendingRead] = deque()
        self._started = 0
        self._acknowledged: dict[int, int] = {}
        self.postponed: list[tuple[int, bytes]] = []
        """(source, context) of reads that came before the leader committed in its term."""

    def reset(self) -> None:
        """Leadership began or ended: whoever still waits must ask again."""
        self._queue.clear()
        self._acknowledged.clear()
        self.postponed.clear()

    def add(self, source: int, index: int, context: bytes) -> None:
        """Queues a read for the next round."""
        self._queue.append(PendingRead(self._started + 1, source, index, context))

    @property
    def unsent(self) -> bool:
        """Whether a read waits for a round that was not sent yet."""
        return bool(self._queue) and self._queue[-1].round > self._started

    def start_round(self, own_id: int) -> None:
        """A round of heartbeats with `round_context` goes out now. The leader agrees with itself."""
        self._started += 1
        self._acknowledged[own_id] = self._started

    @property
    def round_context(self) -> bytes:
        """What heartbeats carry: the newest round while a read waits, so that a lost heartbeat delays it only once."""
        return self._started.to_bytes(ROUND_BYTES, "big") if self._queue else b""

    def acknowledge(self, member: int, context: bytes) -> None:
        """A follower answered a heartbeat. Contexts that no round of ours can have are ignored."""
        if len(context) != ROUND_BYTES:
            return
        number = int.from_bytes(context, "big")
        if self._acknowledged.get(member, 0) < number <= self._started:
            self._acknowledged[member] = number

    def confirmed(self, quorum: Callable[[Mapping[int, int]], int]) -> list[PendingRead]:
        """Takes the reads that are confirmed, given what round a quorum has answered."""
        queue = self._queue
        if not queue:
            return []
        reached = min(quorum(self._acknowledged), self._started)
        reads = []
        while queue and queue[0].round <= reached:
            reads.append(queue.popleft())
        return reads

    def __len__(self) -> int:
        return len(self._queue) + len(self.postponed)
