"""When each probed check is asked next.

Invariants:
- A check starts at a point of its own, drawn at random, and keeps to the grid of its interval from there: checks that
  were registered together are not asked together, and a slow answer does not shift those that follow.
- A probe that is late is not made up for: the next one is at the next point of the grid that is still to come.
- A check is never asked twice at a time: it has no deadline while it is being asked.
"""

from dataclasses import dataclass

from structures.deadline_heap import DeadlineHeap


@dataclass(slots=True)
class _Plan:
    interval_s: float
    due_s: float
    """The point of the grid that it waits for, or is being asked for."""


class Schedule:
    """Plans of all probed checks of this process, by key. Times are seconds of one clock. O(log n) each."""

    def __init__(self) -> None:
        self._plans: dict[str, _Plan] = {}
        self._heap: DeadlineHeap[str] = DeadlineHeap()
        self.skipped = 0
        """Points of grids that passed while a probe waited or ran."""

    def __len__(self) -> int:
        return len(self._plans)

    def __contains__(self, key: str) -> bool:
        return key in self._plans

    def add(self, key: str, interval_s: float, first_s: float) -> None:
        """Asks `key` at `first_s`, and every `interval_s` from then on, in place of any plan it had."""
        assert interval_s > 0
        self._plans[key] = _Plan(interval_s, first_s)
        self._heap.set(key, first_s)

    def remove(self, key: str) -> None:
        """Asks it no more; one that is not here is fine."""
        self._plans.pop(key, None)
        self._heap.remove(key)

    def next_due_s(self) -> float | None:
        """When something is to be asked next, None without anything."""
        return self._heap.next_deadline()

    def take_due(self, now_s: float, limit: int) -> list[str]:
        """The keys whose time has come, those that wait longest first; each waits for its `done` from now on."""
        return self._heap.pop_due(now_s, limit)

    def lateness_s(self, key: str, now_s: float) -> float:
        """How far behind its plan a key that was taken is."""
        plan = self._plans.get(key)
        return 0.0 if plan is None else max(0.0, now_s - plan.due_s)

    def done(self, key: str, now_s: float) -> None:
        """It was asked. One that was removed, or planned anew meanwhile, is left as it is."""
        plan = self._plans.get(key)
        if plan is None or key in self._heap:
            return
        due_s = plan.due_s + plan.interval_s
        if due_s <= now_s:
            missed = int((now_s - due_s) // plan.interval_s) + 1
            self.skipped += missed
            due_s += missed * plan.interval_s
            if due_s <= now_s:  # the sum was rounded down
                due_s += plan.interval_s
        plan.due_s = due_s
        self._heap.set(key, due_s)
