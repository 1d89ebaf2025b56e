"""One life of one host: the fence around everything that it started."""

import contextvars
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.sim.handles import SimHandle, SimTask

TASKS_SWEEP_MIN = 64
"""Finished tasks are forgotten when at least this many were added since the last sweep."""


class Incarnation:
    """Owns tasks, callbacks and transports. Once it has ended, none of them does anything any more.

    The incarnation of the world itself, in which scenarios run, has index 0 and never ends.
    """

    __slots__ = (
        "_sweep_at",
        "alive",
        "context",
        "host",
        "index",
        "lane",
        "name",
        "offset_s",
        "parked",
        "paused",
        "rate",
        "running",
        "tasks",
    )

    def __init__(self, name: str, index: int, host: object | None) -> None:
        self.name = name
        """The host's name and the number of this life: `kv-1#2`."""
        self.index = index
        """Its number in the trace; no two incarnations of a run have the same."""
        self.host = host
        """The SimHost, or None for the world."""
        self.alive = True
        self.paused = False
        self.running = True
        """Alive and not paused: the one flag that the loop looks at."""
        self.parked: list[SimHandle] = []
        """What became ready while the host was paused."""
        self.lane: deque[SimHandle] = deque()
        """Plain callbacks that are ready; they run in the order in which they came."""
        self.rate = 1.0
        self.offset_s = 0.0
        """The loop's time as this host reads it is `virtual * rate + offset_s`."""
        self.tasks: dict[SimTask[Any], None] = {}
        self._sweep_at = TASKS_SWEEP_MIN
        self.context = contextvars.Context()
        self.context.run(OWNER.set, self)

    def __repr__(self) -> str:
        state = "paused" if self.paused else "alive" if self.alive else "ended"
        return f"<Incarnation {self.name} {state}>"

    def add_task(self, task: "SimTask[Any]") -> None:
        """Keeps a task, so that the end of this life can take it along."""
        tasks = self.tasks
        tasks[task] = None
        if len(tasks) >= self._sweep_at:
            self.tasks = {task: None for task in tasks if not task.done()}
            self._sweep_at = max(TASKS_SWEEP_MIN, 2 * len(self.tasks))


OWNER: contextvars.ContextVar[Incarnation] = contextvars.ContextVar("orrery_sim_owner")
"""Whose code runs. Contexts are copied into tasks and callbacks, so everything that a host starts inherits it."""
