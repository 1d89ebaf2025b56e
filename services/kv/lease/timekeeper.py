"""When leases end, by one clock: pure bookkeeping, driven by whoever has the clock.

Only the leader's timekeeper runs. A new leader does not know when its predecessor's clients last renewed, so it gives
every lease its whole time again, or what its last checkpoint says was left, and a grace on top. Many leases that would
then end in the same second are spread out, so that ending them does not drown everything else.
"""

from collections.abc import Iterable
from math import ceil

from services.kv.mvcc.leases import Lease
from structures.deadline_heap import DeadlineHeap

EXPIRE_BATCH_MAX = 500
"""Leases ended by one command."""
EXPIRE_RETRY_S = 3.0
"""A lease whose end was proposed, and that is still there after this, is proposed again."""
CHECKPOINT_INTERVAL_S = 300.0
"""Leases that have longer than this to go are checkpointed this often."""
CHECKPOINT_BATCH_MAX = 1000
SPREAD_FROM_LEASES = 1000
"""With fewer leases than this, promotion does not spread their ends."""
EXPIRATIONS_PER_SECOND = 750
"""How many ends promotion lets fall into one second."""


class Timekeeper:
    """The deadlines of all leases. `now_s` is always the caller's monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.is_running = False
        self._deadlines: dict[int, float] = {}
        self._due: DeadlineHeap[int] = DeadlineHeap()
        """When to look at a lease: its deadline, or when its end is to be proposed again."""
        self._checkpoints: DeadlineHeap[int] = DeadlineHeap()

    def start(self, leases: Iterable[Lease], now_s: float, grace_s: float) -> None:
        """Takes over from another leader."""
        self.stop()
        self.is_running = True
        count = 0
        ends = sorted((now_s + grace_s + (lease.remaining_ttl_s or lease.ttl_s), lease.id) for lease in leases)
        second = 0.0
        for end, lease_id in ends:
            if end >= second + 1:
                second, count = end, 0
            count += 1
            if len(ends) >= SPREAD_FROM_LEASES and count > EXPIRATIONS_PER_SECOND:
                second, count = second + 1, 1
            self._set(lease_id, max(end, second), now_s)

    def stop(self) -> None:
        """Another member keeps the time now."""
        self.is_running = False
        self._deadlines.clear()
        self._due.clear()
        self._checkpoints.clear()

    def granted(self, lease: Lease, now_s: float) -> None:
        """A lease begins."""
        if self.is_running:
            self._set(lease.id, now_s + lease.ttl_s, now_s)

    def ended(self, lease_id: int) -> None:
        """A lease is gone."""
        self._deadlines.pop(lease_id, None)
        self._due.remove(lease_id)
        self._checkpoints.remove(lease_id)

    def renew(self, lease: Lease, now_s: float) -> None:
        """A lease gets its whole time again. It must not be over."""
        assert not self.is_over(lease.id, now_s)
        self._set(lease.id, now_s + lease.ttl_s, now_s)

    def is_over(self, lease_id: int, now_s: float) -> bool:
        """Whether a lease's time has passed. Such a lease is about to be ended, and cannot be renewed any more."""
        deadline = self._deadlines.get(lease_id)
        return deadline is not None and deadline <= now_s

    def remaining_s(self, lease_id: int, now_s: float) -> float | None:
        """What a lease has left, 0 when it is over; None when it is not known."""
        deadline = self._deadlines.get(lease_id)
        return None if deadline is None else max(0.0, deadline - now_s)

    def pop_over(self, now_s: float) -> list[int]:
        """Leases to end now; each comes again after EXPIRE_RETRY_S if it is still there."""
        over = self._due.pop_due(now_s, EXPIRE_BATCH_MAX)
        for lease_id in over:
            self._due.set(lease_id, now_s + EXPIRE_RETRY_S)
        return over

    def pop_checkpoints(self, now_s: float) -> list[tuple[int, int]]:
        """(id, seconds left) of leases to checkpoint now."""
        checkpoints = []
        for lease_id in self._checkpoints.pop_due(now_s, CHECKPOINT_BATCH_MAX):
            remaining_s = self.remaining_s(lease_id, now_s)
            if remaining_s:
                checkpoints.append((lease_id, ceil(remaining_s)))
                self._plan_checkpoint(lease_id, remaining_s, now_s)
        return checkpoints

    def forgive(self, stalled_s: float) -> None:
        """This process stood still: no lease runs out for a time in which nobody could have renewed it."""
        for lease_id, deadline in self._deadlines.items():
            self._deadlines[lease_id] = deadline + stalled_s
            self._due.set(lease_id, deadline + stalled_s)

    def _set(self, lease_id: int, deadline: float, now_s: float) -> None:
        self._deadlines[lease_id] = deadline
        self._due.set(lease_id, deadline)
        self._plan_checkpoint(lease_id, deadline - now_s, now_s)

    def _plan_checkpoint(self, lease_id: int, remaining_s: float, now_s: float) -> None:
        if remaining_s > CHECKPOINT_INTERVAL_S:
            self._checkpoints.set(lease_id, now_s + CHECKPOINT_INTERVAL_S)
        else:
            self._checkpoints.remove(lease_id)
