"""Who runs next, among all that is ready.

asyncio promises that callbacks run in the order in which they were registered, and protocols and transports rely on
it. It runs the steps of tasks in that order, too, but code that relies on *that* breaks as soon as a packet comes a
moment later. So there are lanes: all plain callbacks of a host (`call_soon`, timers that are due, transports) form one
lane, which keeps its order; each task is a lane of its own. Which lane runs next is the schedule's choice:

- FIFO: the order in which things became ready, as uvloop has it. What production does most of the time.
- RANDOM: each lane is equally likely.
- PRIORITY: each lane draws a priority, the highest runs, and now and then one is drawn anew. A task can then be starved
  for long while others go on, which is rare under RANDOM (Burckhardt et al., "A Randomized Scheduler with Probabilistic
  Guarantees of Finding Bugs", ASPLOS 2010).
"""

import heapq
import random
from collections import deque
from enum import Enum
from typing import Protocol

from runtime.sim.handles import SimHandle
from runtime.sim.incarnation import Incarnation

REDRAW_PROBABILITY = 1 / 16
"""How often a lane of PRIORITY draws anew after it ran; without that, a task that spins would run alone for ever."""


class Schedule(Enum):
    """How the next lane is chosen; see the module."""

    FIFO = "fifo"
    RANDOM = "random"
    PRIORITY = "priority"


class Scheduler(Protocol):
    """The set of ready handles."""

    def add(self, handle: SimHandle) -> None:
        """Makes a handle ready."""
        ...

    def take(self) -> SimHandle | None:
        """Removes and gives the next handle; None when there is none."""
        ...


def make_scheduler(schedule: Schedule, source: random.Random) -> Scheduler:
    """A scheduler that draws from `source`."""
    if schedule is Schedule.FIFO:
        return FifoScheduler()
    return RandomScheduler(source) if schedule is Schedule.RANDOM else PriorityScheduler(source)


class FifoScheduler:
    """The order of registration."""

    __slots__ = ("_ready", "add")

    def __init__(self) -> None:
        self._ready: deque[SimHandle] = deque()
        self.add = self._ready.append

    def take(self) -> SimHandle | None:
        """See Scheduler."""
        return self._ready.popleft() if self._ready else None


class RandomScheduler:
    """A lane at random. Adding and taking cost O(1)."""

    __slots__ = ("_draw", "_lanes")

    def __init__(self, source: random.Random) -> None:
        self._lanes: list[SimHandle | deque[SimHandle]] = []
        self._draw = source.random

    def add(self, handle: SimHandle) -> None:
        """See Scheduler."""
        if handle.task:
            self._lanes.append(handle)
            return
        lane = handle.owner.lane
        if not lane:
            self._lanes.append(lane)
        lane.append(handle)

    def take(self) -> SimHandle | None:
        """See Scheduler."""
        lanes = self._lanes
        if not lanes:
            return None
        place = int(self._draw() * len(lanes)) if len(lanes) > 1 else 0
        chosen = lanes[place]
        if isinstance(chosen, SimHandle):
            handle = chosen
        else:
            handle = chosen.popleft()
            if chosen:
                return handle
        last = lanes.pop()
        if place < len(lanes):
            lanes[place] = last
        return handle


class PriorityScheduler:
    """The lane of the highest priority. Adding and taking cost O(log lanes)."""

    __slots__ = ("_count", "_draw", "_lanes", "_priorities")

    def __init__(self, source: random.Random) -> None:
        self._lanes: list[tuple[float, int, SimHandle | deque[SimHandle], Incarnation | None]] = []
        self._draw = source.random
        self._count = 0
        self._priorities: dict[int, float] = {}

    def add(self, handle: SimHandle) -> None:
        """See Scheduler."""
        if handle.task:
            self._push(handle.task, handle, None)
            return
        owner = handle.owner
        lane = owner.lane
        lane.append(handle)
        if len(lane) == 1:
            self._push(-owner.index, lane, owner)

    def take(self) -> SimHandle | None:
        """See Scheduler."""
        if not self._lanes:
            return None
        _, _, chosen, owner = heapq.heappop(self._lanes)
        if owner is None:
            assert isinstance(chosen, SimHandle)
            return chosen
        assert isinstance(chosen, deque)
        handle = chosen.popleft()
        if chosen:
            self._push(-owner.index, chosen, owner)
        return handle

    def _push(self, key: int, lane: SimHandle | deque[SimHandle], owner: Incarnation | None) -> None:
        # Priorities of tasks that ended stay in the table: a number each, and no task's number comes twice.
        priority = self._priorities.get(key)
        if priority is None or self._draw() < REDRAW_PROBABILITY:
            priority = self._priorities[key] = self._draw()
        self._count += 1
        heapq.heappush(self._lanes, (priority, self._count, lane, owner))
